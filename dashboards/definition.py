"""What a dashboard shows, said once: sections ask questions, panels answer them. Rendered elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["progress", "verdicts", "line", "bar", "failures"]


@dataclass(frozen=True)
class Panel:
    """One figure or table.

    `progress`: every trial of the study by arm and block. `verdicts`: effects so far, marked interim until
    the study is done. `line`: a metric of the curve over `x`, one line per trial in its arm's colour. `bar`:
    a final metric, one mark per trial beside its arm. `failures`: what failed, and why. A panel that is
    `optional` appears only once a trial has reported its metric: not every device tells everything.
    """

    kind: Kind
    title: str
    metric: str = ""
    x: str = "budget/seconds"
    x_title: str = ""
    y_title: str = ""
    log_x: bool = False
    log_y: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Section:
    """A question and the panels that answer it."""

    name: str
    question: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Dashboard:
    """The dashboard of one study."""

    title: str
    sections: tuple[Section, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for section in self.sections for panel in section.panels)

    def told(self, metrics: Collection[str]) -> Dashboard:
        """Without the optional panels of metrics that no trial reports, for pages that do not change."""
        return replace(self, sections=tuple(
            replace(s, panels=tuple(p for p in s.panels if not p.optional or p.metric in metrics))
            for s in self.sections
        ))  # fmt: skip


_TIME, _TOKENS = "training seconds (charged)", "training tokens"
_SCORES = ("glue", "superglue", "grammar", "tasks", "eval")


def default(title: str, *, outcome: str, metrics: Sequence[str]) -> Dashboard:
    """The dashboard any study gets: progress, verdicts, loss over time and tokens, speed, cost, scores.

    `metrics` are the names that the study's trials report; the outcome's bar comes first.
    """
    scores = [m for m in metrics if m.split("/")[0] in _SCORES and m != outcome]
    return Dashboard(title, (
        Section("Progress", "How far is the study?", (
            Panel("progress", "Trials by arm"),
        )),
        Section("Verdicts", "What do the trials so far say?", (
            Panel("verdicts", f"Effects on {outcome}", outcome),
        )),
        Section("Loss", "Which arm learns more per second, and which per token?", (
            Panel("line", "Loss at equal time", "pretrain/loss", "budget/seconds", _TIME, "nats"),
            Panel("line", "Loss at equal tokens", "pretrain/loss", "budget/tokens", _TOKENS, "nats"),
        )),
        Section("Speed", "What does each arm make of a second?", (
            Panel("line", "Throughput", "throughput/tokens_per_second", "budget/seconds", _TIME, "tokens/s"),
            Panel("line", "Utilization (MFU)", "throughput/mfu", "budget/seconds", _TIME, "share of peak",
                  optional=True),
        )),
        Section("Stability", "Is a difference only a learning rate or a gradient gone wrong?", (
            Panel("line", "Gradient norm", "pretrain/grad_norm", "budget/tokens", _TOKENS, log_y=True),
            Panel("line", "Learning rate", "pretrain/lr", "budget/seconds", _TIME),
            Panel("line", "Batch size", "pretrain/batch", "budget/seconds", _TIME, "sequences"),
        )),
        Section("Cost", "What does each arm take besides time?", (
            Panel("line", "Peak memory", "cost/peak_memory_gib", "budget/seconds", _TIME, "GiB"),
            Panel("line", "Energy", "cost/energy_kwh", "budget/tokens", _TOKENS, "kWh", optional=True),
            Panel("bar", "GPU-hours", "cost/gpu_hours", optional=True),
        )),
        Section("Scores", "What is each arm worth on the tasks?", (
            Panel("bar", f"Outcome: {outcome}", outcome),
            *(Panel("bar", metric, metric) for metric in sorted(scores)),
        )),
        Section("Failures", "What failed, and why?", (
            Panel("failures", "Trials that failed"),
        )),
    ))  # fmt: skip
