"""The attempts of a trial: when each began and ended, and what a lost one had spent in vain.

A killed process cannot write its own end, so a running attempt notes its charge about once a second. The next
attempt closes it: what was charged after the checkpoint it goes on from is refunded, once, because an entry
whose refund is settled is not touched again.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from pathlib import Path
from typing import Any

from ablate.records.store import RecordError, read_json, write_json


class Attempts:
    """The list kept in `checkpoint/attempts.json`; the last one is the running one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.entries: list[dict[str, Any]] = list(read_json(path)["attempts"]) if path.exists() else []
        except (RecordError, KeyError, TypeError):
            self.entries = []  # a torn note costs the history of attempts, never the trial

    def begin(self, charged: float) -> None:
        """Settle what came before against the `charged` seconds that this one goes on from, and open it."""
        self._settle(charged)
        self.entries.append({
            "started": _now(), "seen": _now(), "ended": None, "reason": "", "refunded_seconds": None,
            "resumed_at_seconds": charged, "charged_seconds": charged,
        })  # fmt: skip
        self._write()

    def _settle(self, charged: float) -> None:
        for entry in self.entries:
            if entry.get("refunded_seconds") is None:
                entry["refunded_seconds"] = max(0.0, float(entry.get("charged_seconds", 0.0)) - charged)
            if entry.get("ended") is None:
                entry |= {"ended": entry.get("seen"), "reason": "lost"}

    def beat(self, charged: float) -> None:
        """Note what has been charged. Not synced: losing a second of this note loses nothing else."""
        self.entries[-1] |= {"seen": _now(), "charged_seconds": charged}
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps({"attempts": self.entries}))
            os.replace(temporary, self.path)

    def end(self, reason: str, charged: float, *, kept: bool = False) -> None:
        """Close the running attempt; `kept` says that all of its work is in a checkpoint or in the result."""
        self.entries[-1] |= {"seen": _now(), "ended": _now(), "reason": reason, "charged_seconds": charged}
        if kept:
            self._settle(charged)
        self._write()

    def finished(self, charged: float) -> None:
        """Settle an attempt that was lost after its last checkpoint had been written."""
        self._settle(charged)
        self._write()

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # a full disk must not end a trial
            write_json(self.path, {"attempts": self.entries})


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
