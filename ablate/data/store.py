"""A content-addressed cache: a folder is built once, under a lock, and appears whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ablate.records import read_json, write_json
from ablate.records.store import sync

log = logging.getLogger(__name__)

VERSION = 2  # of the stored layout and of everything that decides the tokens; part of every key
MANIFEST = "manifest.json"


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
    for leftover in folder.parent.glob(f".{folder.name}.*"):  # of a builder that died: we hold its lock
        shutil.rmtree(leftover)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    temporary.mkdir()
    try:
        content = build(temporary)
        files = {path.name: path.stat().st_size for path in sorted(temporary.iterdir())}
        for path in temporary.iterdir():
            sync(path)
        write_json(temporary / MANIFEST, {"version": VERSION, **content, "files": files})
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(temporary, folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    manifest = finished(folder)
    assert manifest is not None
    return manifest
