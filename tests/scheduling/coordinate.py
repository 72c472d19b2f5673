"""A coordinator process over stand-in trials: `python coordinate.py <run folder> <workers>`; ends as `ablate run` does."""

from __future__ import annotations

import sys
from pathlib import Path

from ablate.records import StudyPaths, read_study
from ablate.scheduling import RefusedError
from ablate.scheduling.coordinator import Coordinator, stop_on_signals
from ablate.scheduling.executors import LocalExecutor
from ablate.scheduling.live import showing
from ablate.scheduling.run import INTERRUPTED, coordinator_lock
from ablate.scheduling.storage import Queue, sqlite

STANDIN = (sys.executable, str(Path(__file__).with_name("standin.py")))


def coordinate(root: Path, workers: int) -> int:
    try:
        lock = coordinator_lock(root)
    except RefusedError as error:
        print(error, file=sys.stderr)
        return 2
    with lock:
        frozen = read_study(root)
        queue = Queue(frozen, sqlite(StudyPaths(root).storage))
        coordinator = Coordinator(
            frozen, root, LocalExecutor(workers, command=STANDIN), queue, poll_seconds=0.05, free_bytes=0
        )
        with stop_on_signals(coordinator), showing(coordinator):
            coordinator.run()
    return INTERRUPTED if coordinator.stopping else 1 if coordinator.failed else 0


if __name__ == "__main__":
    sys.exit(coordinate(Path(sys.argv[1]), int(sys.argv[2])))
