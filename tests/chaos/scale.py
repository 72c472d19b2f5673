"""Scale figures: `python -m tests.chaos.scale status|plan|overhead|ray [--storage URL]`; prints one line each.

status     a study of 10,000 finished trials with records as large as real ones: seconds of `ablate status`
plan       10,000 finished trials of a study file with an arm to five of them: seconds of `ablate plan`
overhead   seconds that a coordinator spends on a trial that takes no time at all, of 10,000 and of 500
ray        200 stand-in trials through Ray on this machine, each waiting until all of them run
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.recipe import Recipe
from ablate.records import FrozenStudy, Record, StudyPaths, TrialPaths, load_records, write_json
from ablate.records import store as records_store
from ablate.scheduling import attempts
from ablate.scheduling.coordinator import Coordinator
from ablate.scheduling.executors import Executor, Job
from ablate.scheduling.executors.base import Places
from ablate.scheduling.executors.ray import RaySpec
from ablate.scheduling.run import asked, freeze
from ablate.scheduling.storage import Queue, sqlite
from ablate.study import Study
from tests.scheduling.conftest import study
from tests.scheduling.coordinate import STANDIN

LEVELS: tuple[tuple[str, Any], ...] = (
    ("model.layers", 12), ("model.layer_drop", 0.1), ("model.linear_bias", True), ("model.tied", False),
    ("model.norm", "rmsnorm"), ("model.norm_placement", "post"), ("model.position", "rope"),
    ("model.activation", "relu"), ("model.first_norm", False),
)  # fmt: skip


def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="scale-")) / "runs" / "faults"


def wide(root: Path, trials: int) -> FrozenStudy:
    """A study of ten arms with real recipes, each with another knob changed."""
    from ablate.knobs import differences, replace, show
    from ablate.recipe import preset

    baseline = preset("crammed-bert")
    recipes = {
        "baseline": baseline,
        **{f"arm-{n}": replace(baseline, {p: v}) for n, (p, v) in enumerate(LEVELS)},
    }
    frozen = study(root, {name: {} for name in recipes}, blocks=trials // len(recipes))
    for name, arm in zip(recipes, frozen.arms, strict=True):
        changes = {path: [show(a), show(b)] for path, (a, b) in differences(baseline, recipes[name]).items()}
        real = {"recipe": recipes[name].model_dump(mode="json"), "changes": changes}
        frozen.arms[frozen.arms.index(arm)] = arm.model_copy(update=real)
    write_json(StudyPaths(root).study, frozen)
    return frozen


def record_of(frozen: FrozenStudy, trial: str) -> Record:
    name, block = frozen.trials[trial]
    arm = next(a for a in frozen.arms if a.name == name)
    return Record.model_validate({
        "schema": 1, "study": frozen.name, "trial": trial, "arm": name, "block": block, "seed": block,
        "state": "complete", "recipe": arm.recipe, "budget": arm.budget,
        "spent": {"seconds": 10.0, "occupied": 11.0, "tokens": 1e6, "steps": 100, "flops": 1e12},
        "metrics": {"test/score": 1.0, "pretrain/loss": 2.0, "throughput/tokens_per_second": 1e5},
        "attempts": [{"started": "2025-01-01T00:00:00+00:00", "ended": "2025-01-01T00:00:11+00:00"}],
    })  # fmt: skip


def finish(paths: TrialPaths, record: Record) -> None:
    write_json(paths.record, record)
    write_json(paths.progress, {"phase": "evaluate", "progress": 1.0, "spent": record.spent})
    paths.lock.touch()


@dataclass
class Done(Job):
    slot: int

    def poll(self) -> int | None:
        return 0

    def stop(self) -> None: ...

    def kill(self) -> None: ...


@dataclass
class Instant(Executor):
    """Trials that are done when they start: what is left is the coordinator's own time."""

    frozen: FrozenStudy
    workers: int = 8
    threads_each: int = 1
    trials_took: float = 0.0

    def submit(self, paths: TrialPaths, slot: int) -> Job:
        before = time.perf_counter()
        finish(paths, record_of(self.frozen, paths.root.name))
        self.trials_took += time.perf_counter() - before
        return Done(slot)

    def adopt(self, paths: TrialPaths) -> Job | None:
        return None

    def describe(self) -> str:
        return "instant"


def finished(frozen: FrozenStudy, root: Path) -> None:
    """All trials of a study done, without the disk's own time."""
    synced, records_store.os.fsync = records_store.os.fsync, lambda descriptor: None  # type: ignore[attr-defined]
    for trial in frozen.trials:
        paths = StudyPaths(root).trial(trial)
        attempts.begin(paths)
        finish(paths, record_of(frozen, trial))
        attempts.end(paths, "complete", "")
    records_store.os.fsync = synced  # type: ignore[attr-defined]


def timed(*command: str) -> tuple[str, bytes]:
    """What three runs of an `ablate` command took, and what the last one said."""
    took = []
    for _ in range(3):
        before = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "ablate", *command], capture_output=True, check=True)
        took.append(time.perf_counter() - before)
    return f"best {min(took):.2f} s of {', '.join(f'{t:.2f}' for t in took)}", done.stdout


def status(trials: int) -> str:
    root = folder()
    frozen = wide(root, trials)
    finished(frozen, root)
    took, said = timed("status", str(root), "--format", "json")
    size = next(iter((root / "trials").glob("*/record.json"))).stat().st_size
    return f"status of {trials} finished trials ({size / 1024:.1f} KiB a record): {took}; {json.loads(said)['counts']}"


def plan(trials: int) -> str:
    root = folder()
    rates = [round(1e-3 * 1.001**n, 9) for n in range(1, trials // 5)]
    root.parent.mkdir(parents=True)
    (file := root.parent.parent / "faults.yaml").write_text(f"""
name: faults
question: Which rate?
baseline: {{preset: crammed-bert}}
budget: 1d
design: {{kind: one-factor, blocks: 5, factors: {{train.lr: {rates}}}}}
outcome: {{metric: eval/mlm_loss, margin: 0.02}}
""")
    frozen = freeze(*asked(Study.load(file)), root)
    finished(frozen, root)
    took, said = timed("plan", str(file), "--runs", str(root.parent))
    return f"plan of {len(frozen.trials)} finished trials of {len(frozen.arms)} arms: {took}\n{said.decode()[:400]}"


def overhead(trials: int, storage: str | None) -> str:
    root = folder()
    frozen = wide(root, trials)
    if storage:
        frozen = frozen.model_copy(update={"name": f"scale-{os.getpid()}-{trials}"})
        write_json(StudyPaths(root).study, frozen)
    executor = Instant(frozen)
    before = time.perf_counter()
    cpu = time.process_time()
    queue = Queue(frozen, storage or sqlite(StudyPaths(root).storage), Recipe, root=root)
    Coordinator(frozen, root, executor, queue, poll_seconds=0.0, free_bytes=0).run()
    own = time.perf_counter() - before - executor.trials_took
    cpu = time.process_time() - cpu
    queue.close()
    kind = "PostgreSQL" if storage else "SQLite"
    return f"coordinator with {kind}, {trials} trials: {1000 * own / trials:.1f} ms a trial ({1000 * cpu / trials:.1f} ms CPU)"


def ray(trials: int) -> str:
    from ray.cluster_utils import Cluster

    # A node that says it has a core for each: they wait for one another and compute nothing.
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": trials, "include_dashboard": False})
    root = folder()
    frozen = study(root, {"baseline": {"steps": 3, "seconds": 0.02, "waits_at": 1}}, blocks=trials)
    executor = RaySpec(address=cluster.address).build(
        Places(trials, gpus_per_trial=0, threads=1, command=STANDIN)
    )
    before = time.perf_counter()
    most = [0]

    def look() -> None:
        running = sum(1 for t in frozen.trials if (StudyPaths(root).trial(t).root / "steps.txt").exists())
        most[0] = max(most[0], running)
        if running == trials:
            (root / "go").touch()

    coordinator = Coordinator(
        frozen,
        root,
        executor,
        Queue(frozen, sqlite(StudyPaths(root).storage)),
        free_bytes=0,
        poll_seconds=1.0,
    )
    coordinator.on_tick = look
    coordinator.run()
    executor.close()
    cluster.shutdown()
    states = Counter(r.state for r in load_records(root)[0])
    return f"Ray, {trials} trials, {most[0]} at once: {dict(states)} in {time.perf_counter() - before:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["status", "plan", "overhead", "ray"])
    parser.add_argument("--trials", type=int)
    parser.add_argument("--storage")
    given = parser.parse_args()
    runs: dict[str, Any] = {
        "status": lambda: status(given.trials or 10_000),
        "plan": lambda: plan(given.trials or 10_000),
        "overhead": lambda: overhead(given.trials or 1_000, given.storage),
        "ray": lambda: ray(given.trials or 200),
    }
    print(runs[given.what]())


if __name__ == "__main__":
    main()
