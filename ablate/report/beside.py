"""Figures for papers, drawn by processes of their own while this one reads, counts and writes pages.

They take longer than all pages (16 renderings with matplotlib) and need none of what the pages need.
"""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ablate.analysis.findings import Findings
from ablate.records.store import write_bytes

HANDS = 2  # one draws 1,000 trials' figures in 4 s, the pages take 2.5


class Drawing:
    """Processes that load matplotlib when this begins and draw when they are told what; its end waits."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "ablate.report.beside"]
        self._hands = [
            subprocess.Popen([*command, str(hand)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
            for hand in range(HANDS)
        ]

    def draw(self, folder: Path, found: Findings, shown: tuple[Any, ...]) -> None:
        """Begin to draw what `paper.drawings(found, *shown)` makes into a folder."""
        work = pickle.dumps((folder, found, shown))
        for hand in self._hands:
            assert hand.stdin is not None
            with contextlib.suppress(BrokenPipeError), hand.stdin:  # why it is gone is told at the end
                hand.stdin.write(work)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the last figure. Raises RuntimeError with the words of a process that failed."""
        failures = []
        for hand in self._hands:
            if error is not None:
                hand.kill()
            assert hand.stdin is not None
            assert hand.stderr is not None
            hand.stdin.close()
            with hand.stderr:
                told = hand.stderr.read().decode(errors="replace").strip()
            if hand.wait():
                failures.append(f"ended with code {hand.returncode}: {told}")
        if failures and error is None:
            raise RuntimeError("drawing the figures for papers " + "; ".join(failures))


def _mine(drawn: dict[str, Any], hand: int) -> dict[str, Any]:
    return dict(list(drawn.items())[hand::HANDS])


def main() -> None:
    """Draw one hand's share of what comes from the standard input."""
    from ablate.report import paper

    given = sys.stdin.buffer.read()
    if not given:
        return
    folder, found, shown = pickle.loads(given)
    for name, content in paper.render(_mine(paper.drawings(found, *shown), int(sys.argv[1]))):
        write_bytes(folder / name, content)


if __name__ == "__main__":
    main()
