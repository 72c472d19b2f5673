"""`ablate plan`: from a study file, the records there are and a pilot to a plan.

A study that was frozen from the same file is planned from `study.json`, without recipe types or torch.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.records import FrozenStudy, StudyPaths, load_records, read_study
from ablate.scheduling.find import unchanged
from ablate.scheduling.foresight import Foresight, foresight, observed
from ablate.scheduling.plan import Plan, SpreadOf, make_plan, pilot_spread
from ablate.speed.saved import Machine, load

if TYPE_CHECKING:
    from ablate.scheduling.executors import LocalExecutor
    from ablate.study import Study

PILOT = "-pilot"
PILOT_SEED = 2_000_000  # far from the study's own blocks: what is learnt here must not be used twice


def plan_study(
    study_file: Path, runs: Path, workers: int | None = None, *, spread: float | None = None
) -> Plan:
    """The plan of a study file. Raises StudyError with everything wrong with it."""
    frozen = unchanged(study_file, runs) or _frozen(study_file)
    records, _ = load_records(runs / frozen.name)
    stated = spread or frozen.outcome.get("spread")
    known = SpreadOf(float(stated), "stated") if stated else read_pilot(runs, frozen.name)
    run = frozen.run
    here = _local_executor(run, None if workers else run.get("workers"))
    elsewhere = (run.get("executor") or {}).get("kind", "local") != "local" or run.get("gpus_per_trial")
    many = int(workers or (elsewhere and run.get("workers")) or here.workers)
    plan = make_plan(
        frozen,
        records,
        workers=many,
        rate_per_hour=run.get("rate_per_hour"),
        watts=run.get("watts"),
        pilot=known,
        foresight=None if elsewhere else _foresight(frozen, here, many, observed(frozen, records)),
    )
    if elsewhere:
        return plan  # it trains elsewhere: this machine's CPU does not matter
    refused = [f"{told} (`ablate run` refuses the study on this machine)" for told in here.refusals(frozen)]
    return replace(plan, warnings=[*plan.warnings, *refused, *here.cautions(frozen)])


def _foresight(frozen: FrozenStudy, here: LocalExecutor, workers: int, seen: Container[str]) -> Foresight:
    """By the speeds of what trials of this machine have: a GPU, or their share of the cores."""
    machine = Machine.gpu() if here.gpus else Machine.cpu(replace(here, workers=workers).threads_each)
    return foresight(frozen, machine, *load(machine), seen)


def _frozen(study_file: Path) -> FrozenStudy:
    from ablate.scheduling.run import asked
    from ablate.study import Study  # loads the recipe types, and with them torch

    return asked(Study.load(study_file))[0]


def _local_executor(run: dict[str, Any], workers: int | None) -> LocalExecutor:
    """As `run` would have it here, but for refusals: what insists on GPUs is planned without one, too."""
    from ablate.scheduling.executors import LocalSpec, Places

    gpus = 0 if run.get("gpus_per_trial") == 0 else None
    pin = bool(run.get("pin", True))
    return LocalSpec().build(Places(workers, gpus, run.get("threads"), pin=pin, at_most=True))


# --- the pilot -----------------------------------------------------------------------------------------


def read_pilot(runs: Path, name: str) -> SpreadOf | None:
    """The spread that a study's pilot measured."""
    root = runs / (name + PILOT)
    if not StudyPaths(root).study.exists():
        return None
    return pilot_spread(read_study(root), load_records(root)[0])


def run_pilot(study_file: Path, runs: Path, blocks: int, workers: int | None = None) -> int:
    """Run the baseline against itself with other weights on a few blocks of its own; the exit code."""
    from ablate.scheduling.run import run_loaded
    from ablate.study import Study

    return run_loaded(pilot_of(Study.load(study_file), blocks), runs, workers)


def pilot_of(study: Study, blocks: int) -> Study:
    """The A/A study of a study's baseline."""
    from ablate.design.config import Design

    design = Design(replicates=2, blocks=blocks, seed=study.file.design.seed + PILOT_SEED)
    question = f"How far apart are two baselines of {study.name} on the same block?"
    file = study.file.model_copy(
        update={"design": design, "question": question, "title": f"A/A pilot of {study.name}",
                "tradeoff": None}
    )  # fmt: skip
    return replace(study, name=study.name + PILOT, file=file, sha256="")
