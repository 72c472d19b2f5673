"""Which trials `ablate sync` last saw whole on the server, so that `ablate status` need not ask one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ablate.records import read_json, write_json
from ablate.records.store import RecordError

_FILE = "wandb-online.json"  # in the run folder


def seen_online(root: Path) -> dict[str, str]:
    """Trial → when the record was finished that was whole on the server; empty before the first sync."""
    try:
        kept = read_json(root / _FILE).get("trials")
    except RecordError:
        return {}
    return {str(k): str(v) for k, v in kept.items()} if isinstance(kept, dict) else {}


def note_online(root: Path, finished: Mapping[str, str]) -> None:
    """Keep that the records of these trials, `finished` then, are whole on the server."""
    if finished != seen_online(root):
        write_json(root / _FILE, {"trials": dict(finished)})
