"""What `ablate sync` has to send, and which trials it last saw whole on the server, so that `ablate status`
need not ask one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.records import FrozenStudy, TrialPaths, read_json, write_json
from ablate.records.store import RecordError

_FILE = "wandb-online.json"  # in the run folder


def tracked(study: FrozenStudy) -> bool:
    """Whether the study asks for W&B at all."""
    spec = study.track.get("wandb")
    return spec is not None and spec.get("mode") != "disabled"


def has_run(study: FrozenStudy, paths: TrialPaths) -> bool:
    """Whether a trial has left anything that `ablate sync` sends: a row, a record or files of the SDK."""
    return tracked(study) and any(left.exists() for left in (paths.record, paths.live, paths.wandb))


def mark(paths: TrialPaths, finished: str | None) -> str:
    """How far a trial has come: when its record was `finished`; without one, how many bytes of rows."""
    if finished is not None:
        return finished
    return f"{paths.live.stat().st_size if paths.live.exists() else 0} bytes of rows"


def looks_whole(tracking: Mapping[str, Any], mark: str, seen: str | None) -> bool:
    """Whether the server has all of a trial: a sync `seen` it so at this mark, or its tracker was told so.

    `tracking` is what the record holds of it: nothing where the trial was killed before it could write one.
    """
    said = tracking.get("wandb", {}).get("mode") == "online" and not tracking.get("sync")
    return said or mark == seen


def seen_online(root: Path) -> dict[str, str]:
    """Trial → the mark at which it was whole on the server; empty before the first sync."""
    try:
        kept = read_json(root / _FILE).get("trials")
    except RecordError:
        return {}
    return {str(k): str(v) for k, v in kept.items()} if isinstance(kept, dict) else {}


def note_online(root: Path, marks: Mapping[str, str]) -> None:
    """Keep that these trials are whole on the server as of their marks."""
    if marks != seen_online(root):
        write_json(root / _FILE, {"trials": dict(marks)})
