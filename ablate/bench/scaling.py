"""`ablate bench scaling`: tokens/s against micro-batch, length, depth, width and vocabulary; trials side by
side; and the cost model that `ablate plan` predicts with, held against recipes that it was not fitted to.

A step is taken apart into micro-batch (forward and backward) and update (clipping and the optimizer), because
trials accumulate many of one before one of the other.
"""

from __future__ import annotations

import contextlib
import datetime
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import mean, median
from typing import Any

import psutil
import torch

from ablate.bench.errors import BenchError
from ablate.bench.measure import spread, step
from ablate.bench.points import Point, points
from ablate.bench.run import Run, circumstances, clock_of, command, place
from ablate.bench.sidebyside import Parallel, parallel
from ablate.bench.subjects import Subject, changed, ours
from ablate.bench.training import require_possible
from ablate.model.size import parameters
from ablate.recipe import Recipe
from ablate.records.provenance import provenance
from ablate.speed.model import SpeedModel, fit, sizes
from ablate.speed.saved import Machine
from ablate.speed.work import Work, work

BYTES = 24  # per parameter of a subject in memory: weights, gradients, two moments and its activations
LEAST = 0.25  # seconds of each visit to a recipe
ROOM = 0.5  # share of what is free that subjects may take, so that all of them can take turns


@dataclass(frozen=True)
class Row:
    """One recipe, measured."""

    axis: str
    level: str
    fitted: bool
    changes: dict[str, Any]  # sizes, as the cost model knows them
    parameters: int
    tokens: int  # of a step: one micro-batch and one update
    micro: float  # seconds, median over rounds
    update: float
    spread: float  # half the quartile distance of a micro-batch's seconds over their median
    tokens_per_second: float
    flops_per_second: float
    predicted: float  # tokens per second by the fitted model

    @property
    def error(self) -> float:
        """Of the predicted seconds, relative to the measured ones: 0.1 is 10 % too slow."""
        return self.tokens_per_second / self.predicted - 1


@dataclass(frozen=True, kw_only=True)
class Report(Run):
    """One run of the bench."""

    recipe: str
    compiled: bool
    rounds: int
    steps: int
    rows: list[Row]
    left_out: list[str]
    model: SpeedModel
    parallel: Parallel | None = None

    @property
    def held_out(self) -> list[Row]:
        return [row for row in self.rows if not row.fitted]

    def to_dict(self) -> dict[str, Any]:
        plain = {
            key: value for key, value in self.__dict__.items() if key not in ("rows", "model", "parallel")
        }
        return {
            **plain,
            "rows": [{**asdict(row), "error": row.error} for row in self.rows],
            "model": self.model.model_dump(),
            "parallel": self.parallel.to_dict() if self.parallel else None,
        }


@dataclass
class Measured:
    """A recipe under measurement: seconds of its parts, one entry per round."""

    recipe: Recipe
    work: Work
    parameters: int
    micro: list[float] = field(default_factory=list)
    update: list[float] = field(default_factory=list)


def bench(
    recipe: Recipe,
    name: str,
    *,
    device: str | None = None,
    precision: str | None = None,
    threads: int = 1,
    rounds: int = 3,
    steps: int = 1,
    side_by_side: bool = True,
    loop: Callable[[], float] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Report:
    """Measure the recipes around one, fit the cost model and hold it against those held out.

    `loop` measures the seconds that a trial's own loop adds to a micro-batch. Raises BenchError.
    """
    where = place(device, threads)
    recipe = changed(recipe, precision=precision)
    require_possible(recipe, where)
    if getattr(recipe.data.tokenizer, "vocabulary", None) is None:
        raise BenchError(
            "scaling varies the vocabulary, and this recipe's is known only once its file is read; take a "
            "recipe whose data.tokenizer states a vocabulary"
        )
    on_cpu = where.type == "cpu"
    # Several threads add up to more CPU seconds than a step takes.
    clock = clock_of(where) if threads == 1 else "wall"
    found = points(recipe)
    unique = _unique(found)
    with _all_compiled(len(unique)) if recipe.train.compile else contextlib.nullcontext():
        left_out = _measure(unique, where, clock, rounds, steps, tell)
    usable = [(p, one) for p in found for one in unique if one.micro and one.recipe == p.recipe]
    machine = Machine.cpu(threads) if on_cpu else Machine.gpu()
    fitted = [one for one in unique if any(one is other and p.fitted for p, other in usable)]
    micro = fit([one.work.micro for one in fitted], [median(one.micro) for one in fitted])
    update = fit([one.work.update for one in fitted], [median(one.update) for one in fitted])
    model = SpeedModel(
        device=machine.device,
        threads=machine.threads,
        precision=recipe.train.precision.kind,
        compiled=recipe.train.compile,
        clock=clock,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command(),
        versions=provenance()["versions"],
        recipe=recipe.model_dump(mode="json"),
        micro=micro,
        update=update,
        sizes=_ranges(fitted),
    )
    rows = [_row(point, one, model) for point, one in usable]
    held_out = {row.level: row.error for row in rows if not row.fitted}
    tell("what a trial's loop adds")
    model = model.model_copy(update={"held_out": held_out, "loop": loop() if loop and on_cpu else 0.0})
    return Report(
        recipe=name,
        compiled=model.compiled,
        rounds=rounds,
        steps=steps,
        rows=rows,
        left_out=left_out,
        model=model,
        parallel=parallel(recipe, rounds, tell) if side_by_side and on_cpu else None,
        **circumstances(where, clock, model.precision),
    )


def _unique(found: Sequence[Point]) -> list[Measured]:
    kept: list[Measured] = []
    for point in found:
        if not any(one.recipe == point.recipe for one in kept):
            size = {"vocabulary": point.recipe.data.tokenizer.vocabulary, "length": point.recipe.data.length}  # type: ignore[union-attr]
            count = parameters(point.recipe.model, **size)
            kept.append(Measured(point.recipe, work(point.recipe.model_dump(mode="json"), count), count))
    return kept


def _ranges(fitted: Sequence[Measured]) -> dict[str, tuple[float, float]]:
    each = [sizes(one.recipe.model_dump(mode="json"), one.work) for one in fitted]
    return {name: (min(s[name] for s in each), max(s[name] for s in each)) for name in each[0]}


def _row(point: Point, one: Measured, model: SpeedModel) -> Row:
    micro, update = median(one.micro), median(one.update)
    speed = one.work.tokens / (micro + update)
    return Row(
        axis=point.axis,
        level=point.level,
        fitted=point.fitted,
        changes=sizes(one.recipe.model_dump(mode="json"), one.work),
        parameters=one.parameters,
        tokens=one.work.tokens,
        micro=micro,
        update=update,
        spread=spread(one.micro),
        tokens_per_second=speed,
        flops_per_second=speed * one.work.flops_per_token,
        predicted=one.work.tokens / (model.micro_seconds(one.work) + model.update_seconds(one.work)),
    )


# --- measuring -----------------------------------------------------------------------------------------


def _measure(
    unique: Sequence[Measured],
    device: torch.device,
    clock: str,
    rounds: int,
    steps: int,
    tell: Callable[[str], None],
) -> list[str]:
    """Fill in the seconds; what ran out of memory is told and left empty."""
    left_out: list[str] = []
    for group in groups(unique, _room(device)):
        subjects: list[tuple[Measured, Subject]] = []
        tell(f"first steps of {len(group)} recipes")
        for one in group:
            vocabulary = one.recipe.data.tokenizer.vocabulary  # type: ignore[union-attr]
            rows = one.work.rows
            try:
                subject = ours(one.recipe, rows, vocabulary, device)
                subject.step()
                subject.synchronize()
            except torch.OutOfMemoryError:
                left_out.append(
                    f"{one.parameters / 1e6:.0f} M parameters at {rows} × {one.work.length}: out of memory"
                )
                continue
            subjects.append((one, subject))
        # In turns, in an order of each round's own: forwards and backwards, all points of an axis stood in
        # the same minutes of a busy machine, and were 6 to 12 % slower than variants with more work.
        for turn in range(rounds):
            tell(f"round {turn + 1} of {rounds}")
            for one, timed in random.Random(turn).sample(subjects, len(subjects)):
                micro, update = parts(timed, clock, steps)
                one.micro.append(micro)
                one.update.append(update)
    return left_out


def _all_compiled(models: int) -> contextlib.AbstractContextManager[Any]:
    """On the ninth model of the same code the compiler goes on without compiling: here it must not."""
    return torch._dynamo.config.patch(
        recompile_limit=16 * models,
        accumulated_recompile_limit=64 * models,
        fail_on_recompile_limit_hit=True,
    )


def parts(subject: Subject, clock: str, steps: int, least: float = LEAST) -> tuple[float, float]:
    """Seconds of a micro-batch, the mean of `steps` that are accumulated, and of the update after them.

    Short ones are taken again for `least` seconds, their first time aside: it finds the caches full of what
    the recipe before it computed, which a trial never does.
    """
    found = [step(subject, clock, steps)]
    while sum(steps * micro + update for micro, update in found) < least:
        found.append(step(subject, clock, steps))
    warm = found[1:] or found
    return mean(micro for micro, _ in warm), mean(update for _, update in warm)


def groups(unique: Sequence[Measured], room: float) -> list[list[Measured]]:
    """Those that fit into memory together take turns: as few groups as their order allows."""
    found: list[list[Measured]] = [[]]
    taken = 0.0
    for one in unique:
        need = one.parameters * BYTES
        if found[-1] and taken + need > room:
            found.append([])
            taken = 0.0
        found[-1].append(one)
        taken += need
    return found


def _room(device: torch.device) -> float:
    """Bytes that subjects may take."""
    if device.type == "cuda":
        return ROOM * torch.cuda.mem_get_info(device)[0]
    return ROOM * psutil.virtual_memory().available
