"""How processes beside this one begin."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing import forkserver
from typing import Any

PRELOADED = ["ablate.collecting", "ablate.cli", "ablate.report.beside", "ablate.report.paper"]


def reporting() -> Any:
    """The `multiprocessing` context of those that score and draw for a report; called again, the same.

    Not forked from this process, for whoever writes a report may have threads, but where that is possible
    from one that has imported everything once and begins no threads. It is told to begin, not waited for.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with _one_thread():
        forkserver.ensure_running()
    return context


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """What begins meanwhile has NumPy multiply in one thread, unless the user says how many.

    Several processes of several threads wait for one another without pause: 2 of 24 s of CPU time.
    """
    said = "OMP_NUM_THREADS" in os.environ
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        yield
    finally:
        if not said:
            del os.environ["OMP_NUM_THREADS"]
