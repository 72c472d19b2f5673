"""`progress.json`, rewritten about once a second by the trial process: live state and sign of life."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class Heartbeat:
    """Writes the live state. Not synced to disk: losing a second of it loses nothing."""

    def __init__(self, path: Path, **identity: Any) -> None:
        self.path, self.identity = path, identity
        self.state: dict[str, Any] = {"phase": "starting", "progress": 0.0}
        self._lock = threading.Lock()

    @property
    def phase(self) -> str:
        return str(self.state["phase"])

    def tell(self, state: Mapping[str, Any]) -> None:
        """Replace the live state, keeping what was spent when the new one does not know it."""
        spent = state.get("spent") or {}
        # Evaluation spends nothing of the budget and reports zeros.
        kept = spent if any(spent.values()) else self.state.get("spent", spent)
        self.state = {**state, "spent": kept}
        self.write()

    def write(self) -> None:
        """Rewrite the file; on a full disk touch it, so that the trial is not taken for dead."""
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        content = json.dumps({**self.identity, **self.state, "updated": time.time()}, default=str)
        with self._lock:
            try:
                temporary.write_text(content)
                os.replace(temporary, self.path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.utime(self.path)

    @contextlib.contextmanager
    def beating(self, phase: str, every: float = 1.0) -> Iterator[None]:
        """Keep beating from a thread through a phase that reports nothing itself (imports, data)."""
        self.state = {**self.state, "phase": phase, "progress": 0.0}
        over = threading.Event()

        def beat() -> None:
            self.write()
            while not over.wait(every):
                self.write()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
