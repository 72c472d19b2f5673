"""Mapping over shards: in this process, over several, or through Ray; the same function, the same bytes.

A mapper is called with a picklable function and items and yields the results as they come, in any order. What
is written depends on the item alone, so the number of workers and their order never show in the result.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

# A worker holds the text of one shard and its encodings, some 300 MiB.
MOST = 32


class Mapper(Protocol):
    """Applies a function to items, wherever that happens."""

    def __call__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]: ...


def here(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """One item after the other, in this process; `tokenizers` may still use several threads."""
    return map(function, items)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Processes:
    """Worker processes on this machine, one thread each; by default one per core."""

    workers: int | None = None

    def __call__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        workers = min(self.workers or cores(), len(items), MOST)
        if workers < 2:  # not worth a process
            yield from here(function, items)
            return
        from joblib import Parallel, delayed
        from joblib.externals.loky import get_reusable_executor

        try:
            # Not multiprocessing's own pools: those import the caller's main module again in every worker.
            parallel = Parallel(n_jobs=workers, return_as="generator_unordered", max_nbytes=None)
            yield from parallel(delayed(single_threaded)(function, item) for item in items)
        finally:
            get_reusable_executor().shutdown(wait=True)  # idle workers would keep their memory for minutes


@dataclass(frozen=True)
class OnRay:
    """Tasks on a Ray cluster: the one that RAY_ADDRESS or `address` names, else a local one.

    The cache must lie on a file system that every node sees.
    """

    address: str | None = None

    def __call__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        import ray

        ours = not ray.is_initialized()
        if ours:
            ray.init(address=self.address, log_to_driver=False, include_dashboard=False)
        try:
            yield from _through_ray(ray, function, items)
        finally:
            if ours:
                ray.shutdown()


def _through_ray(ray: Any, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    task = ray.remote(single_threaded).options(max_retries=3)
    shared = ray.put(function)  # holds what all items share; sent to every node once
    # Not all at once: the results of a corpus of ten thousand shards need not lie in the object store.
    most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting = list(items)[::-1]
    running: list[Any] = []
    while waiting or running:
        while waiting and len(running) < most:
            running.append(task.remote(shared, waiting.pop()))
        done, running = ray.wait(running)
        yield from ray.get(done)


def single_threaded(function: Callable[[Any], Any], item: Any) -> Any:
    """Apply a function where neighbours use the other cores."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    return function(item)
