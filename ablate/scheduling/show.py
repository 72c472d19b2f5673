"""A study's status as text for people."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ablate.scheduling.live import duration, mark
from ablate.scheduling.status import RUNNING, WAITING, StudyStatus, TrialStatus

MOST = 100  # trials listed one by one; beyond it those that want attention


def render(status: StudyStatus) -> Group:
    """Totals, then one line per trial."""
    head = [f"{status.name}: {status.question}", str(status.root), _totals(status), _coordinator(status)]
    shown = [t for t in status.trials if len(status.trials) <= MOST or t.state not in (WAITING, "complete")]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in (
        "trial",
        "arm",
        "block",
        "state",
        "progress",
        "tokens/s",
        "loss",
        status.metric,
        "ETA",
        "note",
    ):
        table.add_column(name, justify="left" if name in ("trial", "arm", "state", "note") else "right")
    for trial in shown:
        _row(table, trial)
    offline = sum(bool(t.sync) for t in status.trials)
    what = "1 trial is" if offline == 1 else f"{offline} trials are"
    left = [f"{what} not whole on W&B; to send what is missing: ablate sync {status.root}"]
    return Group(*(Text(line) for line in head), Text(), table, *map(Text, left if offline else []))


def _totals(status: StudyStatus) -> str:
    counts = " · ".join(f"{n} {state}" for state, n in sorted(status.counts.items()))
    used = [
        f"{f'{value:.3g}' if key == 'tokens' else duration(value)} {word}"
        for key, word in (("seconds", "training"), ("occupied", "occupied"), ("tokens", "tokens"))
        if (value := status.recorded(key)) is not None
    ]
    spent = f"spent {', '.join(used)}" if used else "what they used is not recorded"
    eta = "" if not status.eta_seconds else f" · ETA {duration(status.eta_seconds)}"
    return f"{len(status.trials)} trials: {counts} · {spent}{eta}"


def _coordinator(status: StudyStatus) -> str:
    if status.coordinator is None:
        left = status.adds or any(t.state in (WAITING, "paused", RUNNING) for t in status.trials)
        died = f" ({status.died})" if status.died and left else ""
        return f"no coordinator runs{died}" + ("; `ablate run` resumes the study" if left else "")
    seen = "" if status.coordinator["alive"] else " (on another machine; cannot be checked from here)"
    return f"coordinator: process {status.coordinator['pid']} on {status.coordinator['host']}{seen}"


def _row(table: Table, trial: TrialStatus) -> None:
    state = f"[cyan]{trial.phase}[/]" if trial.state == RUNNING else mark(trial.state)
    again = f"attempt {trial.attempts}" if trial.attempts > 1 else ""
    note = " ".join(part for part in (again, " ".join(trial.reason.split())[:120]) if part)
    table.add_row(
        Text(trial.trial), Text(trial.arm), str(trial.block), state,
        "" if trial.state == WAITING else f"{trial.progress:.0%}",
        _number(trial.tokens_per_second, ",.0f"), _number(trial.loss, ".3f"), _number(trial.outcome, ".2f"),
        duration(trial.eta_seconds) if trial.state == RUNNING else "", Text(note, style="dim"),
    )  # fmt: skip


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(float(value), form)
