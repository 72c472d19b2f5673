"""How processes beside this one begin."""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from typing import Any


def reporting() -> Any:
    """The `multiprocessing` context of those that score and draw for a report; called again, the same.

    Not forked from this process, for whoever writes a report may have threads, but where that is possible
    from one that has imported everything once and begins no threads. It is told to begin, not waited for.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ablate.cli", "ablate.report.beside", "ablate.report.paper"])
    forkserver.ensure_running()
    return context
