"""The trial process: `python -m ablate.scheduling.trial <trial folder>` does what task.json asks, once.

Whatever happens becomes data: this is the one place that catches every exception, and it records what it
caught. It ends with 0 when a record is written (of success or failure), with RESUMABLE when it was asked to
stop and left a checkpoint, with HELD when another process is already at this trial.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from ablate.records import Record, TrialPaths, read_json, write_json
from ablate.scheduling import processes
from ablate.scheduling.attempts import attempts, now
from ablate.scheduling.executors.base import DISK_FULL, HELD, RESUMABLE
from ablate.scheduling.heartbeat import Heartbeat
from ablate.scheduling.lock import HeldError, Lock
from ablate.streams import replica, streams

_FROM_TASK = ("study", "trial", "arm", "block", "seed", "recipe", "budget", "charge")

_BORN = time.monotonic()  # what comes before is the interpreter's own start, 0.1 s


class InterruptedTrial(BaseException):
    """The trial was asked to stop. Not an Exception: nothing between here and `main` may swallow it."""


@dataclass
class Outcome:
    """What the record will say; filled as the work goes on, so a failure keeps what was measured before."""

    state: str = "complete"
    reason: str = ""
    retry: bool = True
    spent: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    scores: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)
    tracking: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


Work = Callable[[Mapping[str, Any], TrialPaths, "Live", Outcome], None]


class Live:
    """The trial's side of the coordinator: heartbeats out, requests to stop in."""

    def __init__(self, paths: TrialPaths, trial: str) -> None:
        self.heart = Heartbeat(
            paths.progress, trial=trial, pid=os.getpid(), host=socket.gethostname(), started=now()
        )
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's

    def __call__(self, progress: Any) -> None:
        """Take a `training.Progress`; raises InterruptedTrial where stopping loses nothing."""
        self.heart.tell(progress.to_dict())
        if not self.asked:
            return
        if self.heart.phase == "pretrain":
            # Training checkpoints by itself on SIGTERM; one that came before it listened is sent again.
            signal.raise_signal(signal.SIGTERM)
        else:
            raise InterruptedTrial

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self.heart.phase in ("starting", "data"):
            raise InterruptedTrial  # preparing is atomic: what is whole stays, the rest is done again


def main(folder: str | None = None, work: Work | None = None) -> int:
    """Run the trial of a folder; the exit status. `work` stands in for training and evaluating."""
    processes.settle()
    paths = TrialPaths(Path(folder or sys.argv[1]))
    try:
        lock = Lock(paths.lock, slot=int(os.environ.get("ABLATE_SLOT", "0")))
    except HeldError as error:
        print(f"not started: {error}", file=sys.stderr)
        return HELD
    with lock:
        return _run(paths, work or pretrain_and_evaluate)


def _run(paths: TrialPaths, work: Work) -> int:
    started = now()
    task = read_json(paths.task)
    live, outcome = Live(paths, task["trial"]), Outcome()
    try:
        work(task, paths, live, outcome)
    except (InterruptedTrial, SystemExit):
        if not live.asked:
            raise
        live.heart.tell({**live.heart.state, "stopped": True})
        print("stopped on request; resumes from its checkpoint", file=sys.stderr)
        return RESUMABLE
    except Exception as error:  # noqa: BLE001  the one place: a failed trial is a record, never a gap
        _print_traceback()
        if _disk_full(error):
            return DISK_FULL
        outcome.state, outcome.reason = _failure(error)
        outcome.retry = not _ours(error)
        if outcome.state == "out-of-memory":
            outcome.retry = _can_halve(error, task, outcome)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the work is done; nothing is worth stopping for
    outcome.spent = outcome.spent or live.heart.state.get("spent") or {}
    try:
        write_json(paths.record, _record(task, paths, outcome, started))
    except OSError as error:
        _print_traceback()
        if _disk_full(error):
            return DISK_FULL
        raise
    return 0


def _record(task: Mapping[str, Any], paths: TrialPaths, outcome: Outcome, started: str) -> Record:
    from ablate.records.provenance import provenance

    tried = outcome.attempts or attempts(paths)
    if tried and tried[-1].get("ended") is None:
        reason = outcome.state if outcome.state != "complete" else "finished"
        tried = [*tried[:-1], {**tried[-1], "ended": now(), "reason": reason}]
    return Record.model_validate(
        {
            "schema": 1,
            **{key: task[key] for key in _FROM_TASK},
            "streams": streams(task["seed"]),
            "started": tried[0]["started"] if tried else started,
            "finished": now(),
            **{**vars(outcome), "attempts": tried},
            "threads": task.get("threads"),
            "replicate": task.get("replicate", 0),
            **provenance(),
        }
    )


def _failure(error: Exception) -> tuple[str, str]:
    """State and reason of what went wrong, for people: the message; for surprises also the place."""
    name, text = type(error).__name__, str(error)
    if (
        isinstance(error, MemoryError)
        or name in ("OutOfMemoryError", "GpuMemoryError")
        or "not enough memory" in text
    ):
        return "out-of-memory", f"{name}: {text}"
    if name == "EvaluationError":
        return "evaluation-error", text
    if _ours(error):
        return "failed", text  # our own errors say the rule, the fact and the way out
    frames = traceback.extract_tb(error.__traceback__)
    where = "; ".join(f"{Path(f.filename).name}:{f.lineno} in {f.name}" for f in frames[-3:])
    return "failed", f"{name}: {text} (at {where})"


def _print_traceback() -> None:
    with contextlib.suppress(OSError):  # the log lies on the disk that may be full
        traceback.print_exc()


def _disk_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def _can_halve(error: Exception, task: Mapping[str, Any], outcome: Outcome) -> bool:
    """Whether a smaller micro-batch may help: a GPU ran out of memory in training, for the first time."""
    used = getattr(error, "micro_batch", None)
    if used is None:
        return False
    outcome.chosen["train.micro_batch"] = used
    return used > 1 and "micro_batch" not in task


def _ours(error: Exception) -> bool:
    """An error of this package about its input: the same input fails the same way again."""
    return isinstance(error, ValueError) and type(error).__module__.startswith("ablate.")


def pretrain_and_evaluate(task: Mapping[str, Any], paths: TrialPaths, live: Live, outcome: Outcome) -> None:
    """The real work: prepare the data, train under the budget, evaluate."""
    with live.heart.beating("starting"):
        import torch

        from ablate.budget import Budget
        from ablate.data import prepare
        from ablate.evaluation import EvaluateSpec, evaluate
        from ablate.recipe import Recipe
        from ablate.tracking import Composite, Kept, LiveFile, RunInfo, make_tracker
        from ablate.tracking.names import final
        from ablate.training import train
        from ablate.training.meters import measured_peak

        if task.get("threads"):
            torch.set_num_threads(int(task["threads"]))
        peak_flops = task.get("peak_flops") or measured_peak()
        recipe = Recipe.model_validate(task["recipe"])
    with live.heart.beating("data"):
        cache = Path(task["data_cache"])
        data = prepare(recipe.data, cache)
        outcome.data = dict(data.manifest)
        outcome.warnings += data.warnings
        run = RunInfo.of_trial(
            **{key: task[key] for key in ("study", "trial", "arm", "block")},
            created=task.get("created", ""),
            directory=paths.root,
            config={**task["recipe"], "budget": task["budget"], "seed": task["seed"], "block": task["block"]},
            tags=(task.get("phase", "confirm"),),
        )
        tracker = Composite(LiveFile(paths.live), make_tracker(task.get("track"), run))
    try:
        live.heart.state["phase"] = "pretrain"
        trained = train(
            recipe,
            seed=task["seed"],
            budget=Budget(**task["budget"]),
            charge=task["charge"],
            data=data,
            paths=paths,
            tracker=tracker,
            on_progress=live,
            checkpoint_seconds=float(task.get("checkpoint_seconds", 60.0)),
            replicate=int(task.get("replicate", 0)),
            occupied=time.monotonic() - _BORN,
            micro_batch=task.get("micro_batch"),
            peak_flops=peak_flops,
        )
        outcome.state, outcome.reason = trained.state, trained.reason
        outcome.chosen = trained.chosen
        outcome.spent, outcome.attempts = trained.spent.to_dict(), list(trained.attempts)
        outcome.metrics |= trained.metrics
        outcome.data["epochs"] = trained.epochs
        outcome.warnings += trained.warnings
        if trained.state == "complete":
            before = time.monotonic()
            found = evaluate(
                trained.model,
                recipe,
                data.tokenizer,
                EvaluateSpec.model_validate(task["evaluate"]),
                seed=replica(task["seed"], int(task.get("replicate", 0))),
                paths=paths,
                cache=cache / "tasks",
                on_progress=live,
            )
            outcome.spent["evaluation"] = time.monotonic() - before
            outcome.metrics |= found.metrics
            outcome.scores = found.scores
            outcome.warnings += found.warnings
        if torch.cuda.is_available():  # one GPU per trial, held from start to end
            held = outcome.spent["occupied"] + outcome.spent.get("evaluation", 0.0)
            outcome.metrics["cost/gpu_hours"] = held / 3600
        tracker.summary(final(outcome.metrics, outcome.scores, outcome.spent))
        tracker.keep(Kept(paths.predictions, paths.checkpoint, outcome.data))
    finally:
        tracker.finish(_last_word(sys.exc_info()[1], outcome))
        outcome.tracking = tracker.describe()
        outcome.warnings += tracker.warnings


def _last_word(error: BaseException | None, outcome: Outcome) -> str:
    """The state that the live view ends in."""
    if error is None:
        return outcome.state
    return _failure(error)[0] if isinstance(error, Exception) else "interrupted"


if __name__ == "__main__":
    sys.exit(main())
