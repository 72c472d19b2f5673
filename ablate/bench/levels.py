"""`ablate bench levels`: how fast every level trains beside the default, and whether its arithmetic says why.

A level is built, warmed up, timed and freed; the default is measured before, between and after them, and a
level's speed is relative to the default's measurements on both sides of it. So a machine that slows down
while two hundred levels have their turns slows both sides of every ratio.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ablate.bench.candidates import Candidate, Found, candidates
from ablate.bench.measure import step
from ablate.bench.relative import Cost, Row, Table
from ablate.bench.run import Run, circumstances, clock_of, place
from ablate.bench.subjects import changed, ours, size_of
from ablate.bench.training import require_possible
from ablate.recipe import Recipe

EVERY = 8  # levels between two measurements of the default
LAYER_DROP_STEPS = 16  # over which its draws even out


@dataclass(frozen=True, kw_only=True)
class Report(Run):
    """One run."""

    recipe: str
    compiled: bool
    micro_batch: int
    batch: int  # rows per update
    first_batch: int  # rows per update where a ramp begins
    length: int
    vocabulary: int
    rounds: int
    steps: int
    threshold: float
    default: Row
    itself: list[float]  # speeds of the default relative to its own neighbours: what a ratio can be off by
    levels: list[Row]
    not_here: dict[str, str]  # levels that this recipe, machine or device cannot have, and why
    left_out: dict[str, str]  # knobs that leave a training step's work as it is, and why


def bench(
    recipe: Recipe,
    name: str,
    only: Sequence[str] = (),
    *,
    device: str | None = None,
    rows: int = 8,
    vocabulary: int | None = None,
    rounds: int = 3,
    steps: int = 2,
    threshold: float = 0.7,
    compiled: bool | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Report:
    """Measure every level of the knobs `only`, by default of all. Raises BenchError, UnknownKnobError."""
    where = place(device, threads=1)
    if where.type == "cpu":
        compiled = bool(compiled)
    recipe = changed(recipe, compiled=compiled)
    require_possible(recipe, where)
    found = candidates(recipe, only)
    _refuse_unsupported(found, where)
    rows, words = size_of(recipe, rows, vocabulary)
    lab = _Lab(where, rows, words, steps)
    default = Candidate("the default", recipe)
    turns = [lab.turn(_order(default, found, number), found, number, tell) for number in range(rounds)]
    full, first = recipe.train.batch, recipe.train.micro_batch or recipe.train.batch
    table = Table(turns, full / rows, first / rows, threshold, lambda one: _emulated(one, where))
    return Report(
        recipe=name,
        compiled=recipe.train.compile,
        micro_batch=rows,
        batch=full,
        first_batch=first,
        length=recipe.data.length,
        vocabulary=words,
        rounds=rounds,
        steps=steps,
        threshold=threshold,
        default=table.row(default, None),
        itself=table.itself,
        levels=[table.row(one, one.name) for one in found.candidates],
        not_here=found.refused,
        left_out=found.left_out,
        **circumstances(where, lab.clock, recipe.train.precision.kind),
    )


def _refuse_unsupported(found: Found, device: torch.device) -> None:
    for one in list(found.candidates):
        support = one.recipe.train.precision.supported(device)
        if not support.ok:
            _refuse(found, one, support.reason)


def _emulated(one: Candidate, device: torch.device) -> str:
    support = one.recipe.train.precision.supported(device)
    return support.reason if support.emulated else ""


def _refuse(found: Found, one: Candidate, why: str) -> None:
    found.candidates.remove(one)
    found.refused[one.name] = why


def _order(default: Candidate, found: Found, number: int) -> list[Candidate]:
    """The default first, last, and after every few levels; every other round backwards."""
    order = [default]
    for start in range(0, len(found.candidates), EVERY):
        order += [*found.candidates[start : start + EVERY], default]
    return order if number % 2 == 0 else order[::-1]


class _Lab:
    """Where costs are measured."""

    def __init__(self, device: torch.device, rows: int, vocabulary: int, steps: int) -> None:
        self.device, self.rows, self.vocabulary, self.steps = device, rows, vocabulary, steps
        self.clock = clock_of(device)
        gc.freeze()  # what is loaded by now stays: a collection after every level need not look at it

    def turn(
        self, order: Sequence[Candidate], found: Found, number: int, tell: Callable[[str], None]
    ) -> list[tuple[str | None, Cost]]:
        """Costs in the order of time; a level that fails is refused and not tried again."""
        measured: list[tuple[str | None, Cost]] = []
        for done, one in enumerate(order):
            tell(f"round {number + 1}, {done + 1} of {len(order)}: {one.name}")
            default = one is order[0]
            try:
                measured.append((None if default else one.name, self.cost(one.recipe, seed=number)))
            except (RuntimeError, NotImplementedError) as error:  # an operation that this device has not
                if default:
                    raise
                _refuse(found, one, f"failed: {str(error).strip().splitlines()[0]}")
        return measured

    def cost(self, recipe: Recipe, seed: int) -> Cost:
        """Of a recipe that is built, warmed up, timed and freed."""
        torch.manual_seed(seed)
        # A length curriculum is measured where rows are shortest.
        subject = ours(recipe, self.rows, self.vocabulary, self.device, progress=0.0)
        try:
            # Most optimizers make their state in the first step; some begin with another first step.
            for _ in range(1 if recipe.train.optimizer.kind == "adamw" else 2):
                subject.step()
            steps = max(self.steps, getattr(recipe.train.optimizer, "every", 1))
            if recipe.model.layer_drop:
                steps = max(steps, LAYER_DROP_STEPS)
            parts = [step(subject, self.clock) for _ in range(steps)]
            gradient, update = (statistics.mean(part) for part in zip(*parts, strict=True))
            return Cost(
                gradient,
                update,
                subject.tokens,
                subject.flops_per_token,
                subject.parameters,
                recipe.train.optimizer.second_order,
            )
        finally:
            del subject
            if recipe.train.compile:
                torch._dynamo.reset()  # or the ninth compiled model would no longer be compiled
            gc.collect()


# --- for people --------------------------------------------------------------------------------------


def markdown(report: Report) -> str:
    """For a terminal and for documents."""
    unit = "CPU-s" if report.clock == "cpu" else "s"
    lines = [
        f"| level | tokens/{unit} | ratio | ± | first steps | FLOPs | per FLOP | parameters | update | |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|--:|:--|",
        *(_line(row, report.threshold) for row in [report.default, *report.levels]),
    ]
    return "\n".join([*lines, "", *(f"{fact}\n" for fact in _facts(report))]).rstrip("\n")


def _middle(values: Sequence[float]) -> str:
    """Where half of the values lie, and where all do."""
    if len(values) < 2:
        return "not measured"
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    half, every = f"{low:.2f} to {high:.2f}", f"{min(values):.2f} to {max(values):.2f}"
    return f"{half} in the middle half of {len(values)} measurements, {every} in all"


def _line(row: Row, threshold: float) -> str:
    notes = [
        f"with {row.beside}" if row.beside else "",
        f"does {row.flops:.1f}× the arithmetic" if row.below == "arithmetic" else "",
        f"micro-batches of {row.tokens} tokens" if row.below == "few tokens" else "",
        "its second derivatives are not in the FLOPs" if row.below == "second derivatives" else "",
        "emulated" if row.emulated else "",
        "**unexplained**" if row.below == "unexplained" else "",
    ]
    ratio, first = (f"**{x:.2f}**" if x < threshold else f"{x:.2f}" for x in (row.ratio, row.first_steps))
    return (
        f"| {row.level} | {row.tokens_per_second:,.0f} | {ratio} | {row.spread:.2f} | {first} | "
        f"{row.flops:.2f} | {row.ratio_per_flop:.2f} | {row.parameters / 1e6:.2f} M | "
        f"{row.update_seconds * 1e3:.0f} ms | {'; '.join(note for note in notes if note)} |"
    )


def _facts(report: Report) -> list[str]:
    clock = "CPU seconds, one thread" if report.clock == "cpu" else "wall seconds"
    machine = report.provenance["hardware"]["cpu"] if report.device == "cpu" else report.device
    how = "compiled" if report.compiled else "eager"
    knobs: dict[str, list[str]] = {}
    for name, why in report.left_out.items():
        knobs.setdefault(why, []).append(name)
    return [
        f"`{report.command}`: {report.recipe}, {report.precision}, {how}, micro-batch {report.micro_batch} × "
        f"{report.length}, an update every {report.batch} rows (first steps: {report.first_batch}), "
        f"vocabulary {report.vocabulary}; {machine}, load {report.load[0]:g}, {report.date}; medians of "
        f"{report.rounds} rounds in turns, {clock}. The default against its own neighbours: "
        f"{_middle(report.itself)}. Bold: below {report.threshold:g}.",
        *(f"Not here: {name}: {why}." for name, why in report.not_here.items()),
        *(f"Left out ({why}): {', '.join(names)}." for why, names in knobs.items()),
    ]
