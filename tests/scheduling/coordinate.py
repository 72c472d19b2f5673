"""A coordinator process over stand-in trials: `python coordinate.py <run folder> <workers> [<options as JSON>]`.

Ends as `ablate run` does. Options: `executor` as in a study file, `storage`, `memory_gib`, `silence` and `grace`
in seconds, `free_mib`, `again`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ablate.records import StudyPaths, read_study
from ablate.scheduling import RefusedError
from ablate.scheduling.coordinator import Coordinator, stop_on_signals
from ablate.scheduling.executors import Executor, ExecutorSpec, Places
from ablate.scheduling.live import showing
from ablate.scheduling.run import INTERRUPTED, coordinator_lock
from ablate.scheduling.storage import Queue, sqlite
from ablate.scheduling.watchdog import Limits

STANDIN = (sys.executable, str(Path(__file__).with_name("standin.py")))


def executor_of(workers: int, options: dict[str, Any]) -> Executor:
    spec: Any = TypeAdapter(ExecutorSpec).validate_python(options.get("executor", "local"))
    places = Places(
        workers, gpus_per_trial=0, threads=1, pin=False, command=STANDIN, memory_gib=options.get("memory_gib")
    )
    return spec.build(places)


def coordinate(root: Path, workers: int, options: dict[str, Any], executor: Executor | None = None) -> int:
    try:
        lock = coordinator_lock(root)
        frozen = read_study(root)
        queue = Queue(frozen, options.get("storage") or sqlite(StudyPaths(root).storage), root=root)
        executor = executor or executor_of(workers, options)
    except RefusedError as error:
        print(error, file=sys.stderr)
        return 2
    with lock:
        memory = options.get("memory_gib")
        coordinator = Coordinator(
            frozen,
            root,
            executor,
            queue,
            poll_seconds=options.get("poll", 0.05),
            grace_seconds=options.get("grace", 60.0),
            free_bytes=int(options.get("free_mib", 0) * 2**20),
            again=options.get("again", False),
            limits=Limits(
                silence_seconds=options.get("silence", 900.0),
                memory_bytes=None if memory is None else int(memory * 2**30),
            ),
        )
        coordinator.on_alive = lock.touch
        with stop_on_signals(coordinator), showing(coordinator):
            coordinator.run()
        executor.close()
        queue.close()
        if coordinator.stopping:
            print(f"stopped ({coordinator.stopping})", file=sys.stderr)
    return INTERRUPTED if coordinator.stopping else 1 if coordinator.failed else 0


if __name__ == "__main__":
    given = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    sys.exit(coordinate(Path(sys.argv[1]), int(sys.argv[2]), given))
