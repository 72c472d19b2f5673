"""What `ablate run` shows while it works: a live table on a terminal, one line per change elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ablate.scheduling.coordinator import Change, Coordinator
from ablate.scheduling.watchdog import progress_of

MARKS = {"complete": "[green]complete[/]", "running": "[cyan]running[/]", "paused": "[yellow]paused[/]"}


class View(Protocol):
    """What shows a running study."""

    def change(self, change: Change) -> None: ...
    def tick(self) -> None: ...
    def notice(self, text: str) -> None: ...


def mark(state: str) -> str:
    """A state in its colour; failures are red."""
    return MARKS.get(state) or (
        f"[dim]{state}[/]" if state in ("waiting", "stopped", "pruned") else f"[red]{state}[/]"
    )


def duration(seconds: float | None) -> str:
    """`1:02:03`, `4:05`, or a dash."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Lines:
    """One line per change of a trial's state, for logs and pipes."""

    def __init__(self, coordinator: Coordinator, console: Console) -> None:
        self.coordinator, self.console, self.born = coordinator, console, time.monotonic()
        self.done = 0

    def change(self, change: Change) -> None:
        self.done += change.state not in ("running", "retrying", "interrupted")
        total = len(self.coordinator.frozen.trials)
        reason = f"  {_short(change.reason, 300)}" if change.reason else ""
        at = duration(time.monotonic() - self.born)
        text = f"{at:>8}  {change.state:<12} {change.arm} / {change.block}  ({change.trial}){reason}"
        self.console.print(Text(f"{text}  [{self.done} ended this time, {total} planned]"), soft_wrap=True)

    def tick(self) -> None:
        """Nothing between changes."""

    def notice(self, text: str) -> None:
        self.console.print(Text(f"{duration(time.monotonic() - self.born):>8}  {text}"), soft_wrap=True)


class Screen:
    """A live table: running trials with their progress, the last that ended, and the totals."""

    SHOWN = 8  # ended trials that stay in view

    def __init__(self, coordinator: Coordinator, live: Live) -> None:
        self.coordinator, self.live, self.born = coordinator, live, time.monotonic()
        self.ended: dict[str, Change] = {}
        self._drawn = 0.0

    def change(self, change: Change) -> None:
        self.ended.pop(change.trial, None)
        if change.state != "running":
            self.ended[change.trial] = change
        self._drawn = 0.0

    def notice(self, text: str) -> None:
        self.live.console.print(Text(text, style="yellow"))

    def tick(self) -> None:
        if time.monotonic() - self._drawn >= 0.5:
            self._drawn = time.monotonic()
            self.live.update(self.render(), refresh=True)

    def render(self) -> Group:
        """The whole picture at this moment."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("trial", "arm", "block", "state", "progress", "tokens/s", "loss", "ETA"):
            table.add_column(
                name, justify="right" if name in ("block", "tokens/s", "loss", "ETA") else "left"
            )
        for change in list(self.ended.values())[-self.SHOWN :]:
            text = Text(_short(change.reason, 60), style="dim")
            table.add_row(Text(change.trial), Text(change.arm), str(change.block), mark(change.state), text)
        for trial in self.coordinator.running:
            self._row(table, trial)
        return Group(table, Text(self._totals(), style="dim"))

    def _row(self, table: Table, trial: str) -> None:
        arm, block = self.coordinator.frozen.trials[trial]
        beat = progress_of(self.coordinator.paths.trial(trial))
        speed, loss = beat.get("tokens_per_second"), beat.get("loss")
        table.add_row(
            Text(trial), Text(arm), str(block), f"[cyan]{beat.get('phase', 'starting')}[/]",
            ProgressBar(total=1.0, completed=float(beat.get("progress") or 0.0), width=24),
            f"{speed:,.0f}" if speed else "–", f"{float(loss):.3f}" if loss else "–",
            duration(beat.get("eta_seconds")),
        )  # fmt: skip

    def _totals(self) -> str:
        counts = Counter(change.state for change in self.ended.values())
        parts = [f"{n} {state}" for state, n in counts.items()]
        left = len(self.coordinator.frozen.trials) - sum(counts.values()) - len(self.coordinator.running)
        stop = f" · stopping: {self.coordinator.stopping}" if self.coordinator.stopping else ""
        parts += [f"{len(self.coordinator.running)} running", f"{max(left, 0)} others"]
        return f"{duration(time.monotonic() - self.born)} · {' · '.join(parts)}{stop}"


@contextmanager
def showing(coordinator: Coordinator, console: Console | None = None) -> Iterator[None]:
    """Show a coordinator's work on standard error for as long as the block lasts."""
    console = console or Console(file=sys.stderr)
    if not console.is_terminal:
        lines = Lines(coordinator, console)
        coordinator.on_change, coordinator.on_tick, coordinator.on_notice = (
            lines.change,
            lines.tick,
            lines.notice,
        )
        yield
        return
    with Live(console=console, auto_refresh=False, transient=False) as live:
        screen = Screen(coordinator, live)
        coordinator.on_change, coordinator.on_tick = screen.change, screen.tick
        coordinator.on_notice = screen.notice
        yield
        live.update(screen.render(), refresh=True)


def _short(text: str, size: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= size else line[: size - 1] + "…"
