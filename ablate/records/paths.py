"""Where everything of a study lies on disk; the only place that spells these names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Key in the metadata of a file of predictions: the number of its fine-tuning seeds, when its rows come by
# seed and then by row of the split, the same rows for every seed.
SEEDS_IN_ORDER = b"ablate.seeds_in_order"
LABELS = b"ablate.labels"  # beside it: a digest of their labels, which every trial of a study shares


@dataclass(frozen=True)
class TrialPaths:
    """`runs/<study>/trials/<id>/`."""

    root: Path

    @property
    def task(self) -> Path:
        """What the coordinator asks of the trial process."""
        return self.root / "task.json"

    @property
    def record(self) -> Path:
        return self.root / "record.json"

    @property
    def progress(self) -> Path:
        """Rewritten about once a second by the trial process: the live state, and its heartbeat."""
        return self.root / "progress.json"

    @property
    def lock(self) -> Path:
        """Held by the trial process for as long as it lives."""
        return self.root / "trial.lock"

    @property
    def attempts(self) -> Path:
        """Every start of the trial and how it ended; written by the coordinator alone."""
        return self.root / "attempts.json"

    @property
    def placement(self) -> Path:
        """Which job of which cluster the trial is; written by the coordinator, not by `local`."""
        return self.root / "placement.json"

    @property
    def supervisor(self) -> Path:
        """Host, process and end of the trial on its node; refreshed by what looks after it there."""
        return self.root / "supervisor.json"

    @property
    def request(self) -> Path:
        """`stop` or `kill`: what the coordinator asks of the supervisor."""
        return self.root / "request.txt"

    @property
    def curve(self) -> Path:
        return self.root / "curve.parquet"

    @property
    def live(self) -> Path:
        """The curve so far, a line per logged row, for pages that watch the trial."""
        return self.root / "live.jsonl"

    @property
    def predictions(self) -> Path:
        return self.root / "predictions"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint"

    @property
    def log(self) -> Path:
        return self.root / "log.txt"

    @property
    def wandb(self) -> Path:
        return self.root / "wandb"


@dataclass(frozen=True)
class StudyPaths:
    """`runs/<study>/`."""

    root: Path

    @property
    def study(self) -> Path:
        return self.root / "study.json"

    @property
    def grown(self) -> Path:
        """Arms and trials that were added while the study ran, one addition a line."""
        return self.root / "grown.jsonl"

    @property
    def lock(self) -> Path:
        return self.root / "coordinator.lock"

    @property
    def storage(self) -> Path:
        return self.root / "optuna.db"

    @property
    def trials(self) -> Path:
        return self.root / "trials"

    @property
    def report(self) -> Path:
        return self.root / "report"

    @property
    def data(self) -> Path:
        """Prepared data is shared by every study below one runs folder."""
        return self.root.parent / "_data"

    @property
    def jobs(self) -> Path:
        """What submitit keeps of its jobs."""
        return self.root / "jobs"

    def trial(self, trial: str) -> TrialPaths:
        return TrialPaths(self.trials / trial)


def told_path(path: Path) -> str:
    """A file's path as a reader can use it: relative to the working folder, or to the repository it lies in.

    As it was given where it lies in neither.
    """
    whole = path.resolve()
    if not path.is_absolute() and ".." not in path.parts:
        return path.as_posix()
    for root in (Path.cwd().resolve(), repository(whole)):
        if root is not None and whole.is_relative_to(root):
            return whole.relative_to(root).as_posix()
    return path.as_posix()


def repository(path: Path) -> Path | None:
    """The root of the Git repository that a path lies in."""
    return next((folder for folder in path.resolve().parents if (folder / ".git").exists()), None)
