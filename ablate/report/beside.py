"""What takes longest in a report, done by processes of their own while this one counts and writes pages.

Figures for papers take longer than all pages (16 renderings with matplotlib). So do predictions, which are
scored task by task: of 1,000 trials on all of GLUE 120 million rows.
"""

from __future__ import annotations

import functools
import logging
import pickle
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ablate.analysis import Findings, tasks
from ablate.analysis.evidence import Evidence, read_predictions, scored
from ablate.analysis.tasks import TaskFindings
from ablate.processes import reporting
from ablate.records import Record, StudyPaths, load_records, read_study
from ablate.records.store import write_bytes

log = logging.getLogger(__name__)

HANDS = 2  # one scores and draws 1,000 trials in 11 s of CPU time, the rest takes 5
FIGURES = ("forest", "tasks", "curves", "mechanism", "speed", "best-of-k", "pareto")  # the longest first


class Hands:
    """Processes that get ready when this begins; its end waits for what they were given to draw.

    Whoever gives them work before they are ready waits for it: a second and a half after the start.
    """

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(HANDS, reporting())
        self._drawn: list[Future[set[str]]] = []

    def score(self, root: Path, records: Iterable[Record]) -> list[Future[tuple[TaskFindings, list[str]]]]:
        """Begin to score the predictions of every task; of each its findings and what could not be read."""
        return [self._pool.submit(_score, root, metric) for metric in _largest_first(root, records)]

    def draw(self, folder: Path, found: Findings, shown: tuple[Any, ...]) -> None:
        """Begin to draw what `paper.drawings(found, *shown)` makes into a folder."""
        work = pickle.dumps((found, shown))
        self._drawn += [self._pool.submit(_draw, folder, work, name) for name in FIGURES]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the last figure; raises what went wrong with it."""
        self._pool.shutdown(cancel_futures=error is not None)
        if error is None:
            _tell_of({letter for done in self._drawn for letter in done.result()})


def _tell_of(lost: set[str]) -> None:
    if lost:
        log.warning(
            "figures for papers: no installed font has %s, so PDF and PNG show boxes; "
            "install one that has, such as Noto Sans CJK",
            "".join(sorted(lost)),
        )


def _largest_first(root: Path, records: Iterable[Record]) -> list[str]:
    """The metrics that trials have predictions of, by the size of the first trial's file."""
    sizes: dict[str, int] = {}
    for record in records:
        if record.state != "complete":
            continue
        folder = StudyPaths(root).trial(record.trial).predictions
        for metric, task, _ in scored(record):
            path = folder / f"{task}.parquet"
            if metric not in sizes and path.exists():
                sizes[metric] = path.stat().st_size
    return sorted(sizes, key=lambda metric: -sizes[metric])


# --- in a process of its own ---------------------------------------------------------------------------


def _score(root: Path, metric: str) -> tuple[TaskFindings, list[str]]:
    records, score = _study(root)
    predictions, problems = read_predictions(root, records, {metric})
    return score(Evidence(predictions)), problems


@functools.cache  # for all tasks, one after the other
def _study(root: Path) -> tuple[list[Record], Callable[[Evidence], TaskFindings]]:
    records = load_records(root)[0]
    return records, tasks.scored(read_study(root), records)


def _draw(folder: Path, work: bytes, name: str) -> set[str]:
    """Draw one figure; the letters that no font has."""
    from ablate.report import paper

    lost: set[str] = set()

    found, shown = _shown(work)
    drawn: Mapping[str, Any] = paper.drawings(found, *shown)
    for file, content in paper.render({n: draw for n, draw in drawn.items() if n == name}, lost):
        write_bytes(folder / file, content)
    return lost


@functools.lru_cache(maxsize=1)
def _shown(work: bytes) -> tuple[Findings, tuple[Any, ...]]:
    found, shown = pickle.loads(work)
    return found, shown
