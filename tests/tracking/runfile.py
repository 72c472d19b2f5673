"""Reads a `.wandb` file back: LevelDB's log format around the SDK's own protobuf records."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_BLOCK = 32768
_FULL, _LAST = 1, 4


def records(path: Path) -> Iterator[Record]:
    """Every record of a run file, in order."""
    content = path.read_bytes()
    assert content[:4] == b":W&B", "not a run file"
    at, parts = 7, b""
    while at + 7 <= len(content):
        left = _BLOCK - at % _BLOCK
        if left < 7:  # a block's tail that cannot hold a header is padding
            at += left
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        if kind == 0:
            return
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (_FULL, _LAST):
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def contents(folder: Path, *, patience_seconds: float = 20.0) -> dict[str, Any]:
    """The run of a folder as `wandb sync` would upload it: names, config, history rows, summary, exit code.

    The SDK's service writes the file's end shortly after `finish` has returned, so this waits for it.
    """
    (path,) = folder.glob("run-*.wandb")
    deadline = time.monotonic() + patience_seconds
    while (found := _read(path))["exit"] is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"history": [], "summary": {}, "exit": None}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found |= {
                "id": run.run_id, "project": run.project, "group": run.run_group, "job_type": run.job_type,
                "name": run.display_name, "tags": list(run.tags), "entity": run.entity,
                "config": _items(run.config.update), "git": run.git.commit,
            }  # fmt: skip
        elif kind == "history":
            found["history"].append(_items(record.history.item))
        elif kind == "summary":
            found["summary"] |= _items(record.summary.update)
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
    return found


def _items(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
