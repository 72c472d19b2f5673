"""A made-up study with a known truth: frozen study, records and curves on disk, without training anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ablate.records import FrozenArm, FrozenStudy, Record, StudyPaths, write_json

METRIC = "grammar/average"
TASKS = ("grammar/acceptability", "grammar/sentiment")
EFFECTS = {"model.position=none": -8.0, "model.position=rope": 1.5, "model.norm=rmsnorm": 0.0}


def study(
    arms: Sequence[str] = tuple(EFFECTS),
    *,
    blocks: int = 5,
    metric: str = METRIC,
    margin: float | None = 0.5,
    higher_is_better: bool = True,
    **more: Any,
) -> FrozenStudy:
    """A frozen one-factor study; an arm called `knob=level` changes that knob."""
    names = ["baseline", *arms]
    frozen = [_arm(name, reference=None if name == "baseline" else "baseline") for name in names]
    fields: dict[str, Any] = {
        "name": "synthetic",
        "title": "Synthetic study",
        "question": "Which changes to the encoder matter?",
        "created": "2026-01-01T00:00:00+00:00",
        "source": "synthetic.yaml",
        "outcome": {"metric": metric, "margin": margin, "higher_is_better": higher_is_better},
        "family": list(arms),
        "design": "one-factor",
        "budget": {"unit": "seconds", "amount": 90.0},
        "blocks": list(range(blocks)),
        "arms": frozen,
        "scale": {"majority": {task: 50.0 for task in TASKS}, "tf-idf": {task: 61.5 for task in TASKS}},
        "claims": {
            "model.position": {"meaning": "how tokens know their place", "paper": "4.1: no difference found"}
        },
        "trials": {trial_id(name, block): [name, block] for block in range(blocks) for name in names},
    }
    return FrozenStudy(**{**fields, **more})


def _arm(name: str, reference: str | None) -> FrozenArm:
    knob, _, level = name.partition("=")
    changes = {knob: ["scaled-sinusoidal", level]} if level else {}
    group = knob if level else None
    budget = {"unit": "seconds", "amount": 90.0}
    return FrozenArm(
        name=name, changes=changes, recipe={"model": {"layers": 2}}, budget=budget, group=group,
        reference=reference, parameters=1_234_567,
    )  # fmt: skip


def trial_id(arm: str, block: int) -> str:
    return f"{arm.replace('=', '-').replace(' ', '-')}-{block}"


def record(arm: str, block: int, metrics: Mapping[str, float] | None = None, **more: Any) -> Record:
    """One complete record; `more` overrides any field."""
    fields: dict[str, Any] = {
        "study": "synthetic",
        "trial": trial_id(arm, block),
        "arm": arm,
        "block": block,
        "seed": block,
        "state": "complete",
        "recipe": {"model": {"layers": 2}},
        "budget": {"unit": "seconds", "amount": 90.0},
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:02:00+00:00",
        "attempts": [{"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:02:00+00:00"}],
        "spent": {"seconds": 90.0, "occupied": 110.0, "steps": 900, "tokens": 1.1e6, "flops": 2e13},
        "metrics": dict(metrics or {}),
        "hardware": {"cpu": "Test CPU", "cores": 2},
        "versions": {"torch": "2.13.0", "python": "3.11.9"},
        "git": {"revision": "0123456789abcdef"},
        "data": {"source": "grammar", "fingerprint": "feedfacecafebeef", "tokens": 2_000_000},
    }
    return Record(**{**fields, **more})


def records(
    frozen: FrozenStudy,
    *,
    effects: Mapping[str, float] | None = None,
    noise: float = 0.2,
    between: float = 1.0,
    seed: int = 0,
) -> list[Record]:
    """Normal noise around 70 points: `between` shared within a block, `noise` of every trial on its own."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, between, len(frozen.blocks))
    effects = EFFECTS if effects is None else effects
    return [
        record(arm.name, block, scores(frozen, 70 + shared[block] + effects.get(arm.name, 0.0), noise, rng))
        for block in range(len(frozen.blocks))
        for arm in frozen.arms
    ]


def scores(frozen: FrozenStudy, level: float, noise: float, rng: np.random.Generator) -> dict[str, float]:
    """The outcome and what usually comes with it."""
    found = {task: level + rng.normal(0, noise) for task in TASKS}
    found[METRIC] = sum(found.values()) / len(found)
    found["eval/mlm_loss"] = 4.0 - level / 50 + rng.normal(0, 0.01)
    found["throughput/tokens_per_second"] = 12_000 + rng.normal(0, 100)
    found.setdefault(str(frozen.outcome["metric"]), level + rng.normal(0, noise))
    return found


def of(frozen: FrozenStudy, values: Mapping[str, Iterable[float]]) -> list[Record]:
    """Records whose outcome is exactly what is given: arm → one number per block."""
    metric = str(frozen.outcome["metric"])
    return [
        record(arm, block, {metric: float(value)})
        for arm, numbers in values.items()
        for block, value in enumerate(numbers)
    ]


def write(root: Path, frozen: FrozenStudy, found: Iterable[Record], *, curves: bool = True) -> Path:
    """Put the study below `root` as a run would; returns `root`."""
    paths = StudyPaths(root)
    write_json(paths.study, frozen)
    for item in found:
        trial = paths.trial(item.trial)
        write_json(trial.record, item)
        if curves:
            write_curve(trial.curve, seed=item.seed, slow=item.arm.endswith("none"))
    return root


def write_curve(path: Path, *, seed: int, slow: bool = False, steps: int = 300) -> None:
    """A loss that falls as training losses do."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    step = np.arange(1, steps + 1)
    floor = 4.5 if slow else 3.2
    loss = floor + 6 * np.exp(-step / 60) + rng.normal(0, 0.08, steps)
    columns = {
        "step": step, "tokens": step * 4096, "seconds": step * 0.3, "flops": step * 1e9, "loss": loss,
        "lr": np.full(steps, 1e-3), "batch": np.full(steps, 32), "grad_norm": np.ones(steps),
        "tokens_per_second": np.full(steps, 13_600.0),
    }  # fmt: skip
    pq.write_table(pa.table(columns), path)
