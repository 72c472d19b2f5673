"""A content-addressed cache: a folder is built once, under a lock, and appears whole or not at all.

A folder of shards is built shard by shard in a place that outlives the process: a build that was killed goes
on with the first shard that lacks its result. A result is written after its files are on disk, so a file
without one is of no account.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ablate.data.errors import DataError, ReadingError
from ablate.data.mapping import Mapper
from ablate.records import read_json, write_json
from ablate.records.store import sync

log = logging.getLogger(__name__)

VERSION = 4  # of the stored layout and of everything that decides the tokens; part of every key
MANIFEST = "manifest.json"
RESULT = ".result.json"  # the end of the name of a shard's result

Job = Callable[[Path], Mapping[str, Any]]  # writes the files of one shard into a folder; returns its result


def key_of(value: Mapping[str, Any]) -> str:
    """A name for what determines a folder's content: 20 hexadecimal digits."""
    text = json.dumps({"version": VERSION, **value}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def obtain(folder: Path, build: Callable[[Path], Mapping[str, Any]]) -> dict[str, Any]:
    """The manifest of a finished folder; `build` fills it first when there is none.

    `build` writes into an empty folder of another name and returns the manifest's content. Of several
    processes that ask at once one builds and the others wait. A folder without a manifest, of another
    version or with a file of the wrong size counts as absent and is built again.
    """
    manifest = finished(folder)
    if manifest is not None:
        return manifest
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / "locks" / f"{folder.name}.lock"):
        manifest = finished(folder)  # another process may have built it while this one waited
        return _build(folder, build) if manifest is None else manifest


def finished(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder that is complete and of this version, else None."""
    try:
        manifest = read_json(folder / MANIFEST)
        sizes = {name: (folder / name).stat().st_size for name in manifest["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return manifest if manifest.get("version") == VERSION and sizes == manifest["files"] else None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; it is released when the process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process is preparing %s; waiting for it", path.stem)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(folder: Path, build: Callable[[Path], Mapping[str, Any]]) -> dict[str, Any]:
    temporary = folder.with_name(f".{folder.name}.partial")  # ours alone: we hold the lock
    try:
        left = read_json(temporary / MANIFEST).get("version")
    except (OSError, ValueError):
        left = None
    if left != VERSION:  # the leftovers of another version
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        write_json(temporary / MANIFEST, {"version": VERSION})
    try:
        content = build(temporary)
    except ReadingError:
        raise
    except DataError:  # would come again; after anything else the finished shards are worth keeping
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _finish(temporary, content)
    if folder.exists():
        shutil.rmtree(folder)
    os.rename(temporary, folder)
    sync(folder.parent)
    manifest = finished(folder)
    assert manifest is not None
    return manifest


def _finish(place: Path, content: Mapping[str, Any]) -> None:
    half_written = place.glob(".*.tmp")  # by a process that was killed
    for used in (*place.glob(f"*{RESULT}"), *half_written):
        used.unlink()
    (place / MANIFEST).unlink()
    files = {path.name: path.stat().st_size for path in sorted(place.iterdir())}
    for path in place.iterdir():
        sync(path)
    write_json(place / MANIFEST, {"version": VERSION, **content, "files": files})


# --- shards ------------------------------------------------------------------------------------------


def build_shards(place: Path, jobs: Mapping[str, Job], mapper: Mapper) -> dict[str, dict[str, Any]]:
    """The result of every job by its name, in the order of `jobs`; those with one already are not run."""
    found = {name: result for name in jobs if (result := result_of(place, name)) is not None}
    left = [(name, job) for name, job in jobs.items() if name not in found]
    if found:
        log.info("%d of %d shards of %s are there already", len(found), len(jobs), place.name)
    found |= mapper(partial(_run, place), left)
    return {name: found[name] for name in jobs}


def _run(place: Path, item: tuple[str, Job]) -> tuple[str, dict[str, Any]]:
    name, job = item
    return name, keep_result(place, name, job(place))


def result_of(place: Path, name: str) -> dict[str, Any] | None:
    """The result of a shard that is complete, else None."""
    try:
        result = read_json(place / f"{name}{RESULT}")
        sizes = {file: (place / file).stat().st_size for file in result["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return result if sizes == result["files"] else None


def keep_result(place: Path, name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Write a shard's result, which makes it complete; `result["files"]` names its files."""
    names: Sequence[str] = result["files"]
    for file in names:
        sync(place / file)
    kept = {**result, "files": {file: (place / file).stat().st_size for file in names}}
    write_json(place / f"{name}{RESULT}", kept)
    return kept
