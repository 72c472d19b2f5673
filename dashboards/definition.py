"""What a dashboard shows, said once: sections ask questions, panels answer them. Rendered elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Panel:
    """One figure. `line` draws a metric of the curve over `x`; `bar` a final metric, one bar per arm;
    `states` counts trials by state. Lines and bars have one colour per `group_by`.
    """

    kind: Literal["line", "bar", "states"]
    title: str
    metric: str = ""
    x: str = "budget/seconds"
    x_title: str = ""
    group_by: Literal["arm", "trial"] = "arm"
    log_x: bool = False


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


_TIME, _TOKENS = "training seconds (charged)", "training tokens"


def default(title: str, *, outcome: str, metrics: Sequence[str]) -> Dashboard:
    """The dashboard any study gets: progress, loss over time and tokens, speed, scores per task.

    `metrics` are the names that the study's trials report; the outcome's bar comes first.
    """
    scores = [m for m in metrics if m.split("/")[0] in ("glue", "grammar", "tasks", "eval") and m != outcome]
    return Dashboard(title, (
        Section("Progress", "How far is the study, and what failed?", (
            Panel("states", "Trials by state"),
        )),
        Section("Loss", "Which arm learns more per second, and which per token?", (
            Panel("line", "Loss at equal time", "pretrain/loss", "budget/seconds", _TIME),
            Panel("line", "Loss at equal tokens", "pretrain/loss", "budget/tokens", _TOKENS),
        )),
        Section("Speed", "What does each arm pay for a token?", (
            Panel("line", "Throughput", "throughput/tokens_per_second", "budget/seconds", _TIME),
            Panel("bar", "Charged time", "cost/gpu_hours"),
        )),
        Section("Stability", "Is a difference only a learning rate or a gradient gone wrong?", (
            Panel("line", "Gradient norm", "pretrain/grad_norm", "budget/tokens", _TOKENS),
            Panel("line", "Learning rate", "pretrain/lr", "budget/seconds", _TIME),
            Panel("line", "Batch size", "pretrain/batch", "budget/seconds", _TIME),
        )),
        Section("Scores", "What is each arm worth on the tasks?", (
            Panel("bar", f"Outcome: {outcome}", outcome),
            *(Panel("bar", metric, metric) for metric in sorted(scores)),
        )),
    ))  # fmt: skip
