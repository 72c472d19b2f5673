"""Negative results: the arms that hurt or are equivalent, each with all that a reader needs to believe it.

An inconclusive arm never appears here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ablate.analysis.findings import ArmFindings, Contrast, Findings
from ablate.report import numbers
from ablate.report.tables import SPEED, TOKENS, effect_places, relative


@dataclass(frozen=True)
class Negative:
    """One arm's page: the numbers are in `contrast`, the words here."""

    arm: ArmFindings
    contrast: Contrast
    headline: str
    claims: tuple[tuple[str, str, str], ...]  # knob, meaning, what the paper says
    difference: tuple[tuple[str, str, str], ...]  # knob, reference, arm
    result: str
    speed: str
    rivals: tuple[str, ...]
    overturn: str
    cost: str


def negatives(found: Findings) -> list[Negative]:
    """Arms with the verdict hurts, then those equivalent."""
    wanted = ("hurts", "equivalent")
    arms = [(arm, arm.contrast) for arm in found.arms if arm.contrast and arm.contrast.verdict in wanted]
    return [
        _negative(found, arm, c) for arm, c in sorted(arms, key=lambda pair: wanted.index(pair[1].verdict))
    ]


def _negative(found: Findings, arm: ArmFindings, c: Contrast) -> Negative:
    return Negative(
        arm=arm,
        contrast=c,
        headline=f"{arm.name} {'is ' if c.verdict == 'equivalent' else ''}{c.reason}",
        claims=tuple(
            (knob, str(found.claims[knob].get("meaning", "")), str(found.claims[knob].get("paper", "")))
            for knob in arm.changes
            if knob in found.claims
        ),
        difference=changes(arm),
        result=result(found, c),
        speed=_speed(arm),
        rivals=tuple(_rivals(found, arm, c)),
        overturn=_overturn(found, c),
        cost=cost(arm),
    )


def changes(arm: ArmFindings) -> tuple[tuple[str, str, str], ...]:
    """What differs from the baseline, and nothing else: knob, baseline, arm."""
    return tuple((knob, _level(pair[0]), _level(pair[1])) for knob, pair in arm.changes.items())


def _level(value: Any) -> str:
    """A level as the study file writes it."""
    if isinstance(value, Mapping):
        own = ", ".join(f"{k}={_level(v)}" for k, v in value.items() if k != "kind")
        kind = str(value.get("kind", ""))
        return f"{kind}({own})" if kind and own else kind or own
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def result(found: Findings, c: Contrast) -> str:
    """The effect with everything it rests on."""
    e, places = c.effect, effect_places(found)
    unit = f" {found.outcome.unit}" if found.outcome.unit else ""
    text = (
        f"Δ {found.outcome.label} against {c.reference} = "
        f"{numbers.estimate(e.estimate, e.low, e.high, places)}{unit} "
        f"({100 * e.level:g} % t interval, n = {e.n} blocks); "
        f"adjusted p {numbers.p_value(c.adjusted_p)}, uncorrected {numbers.p_value(e.p)}, "
        f"exact sign-flip {numbers.p_value(e.sign_flip_p)}"
    )
    if c.equivalence:
        t = c.equivalence
        text += (
            f"; TOST against ±{t.margin:g}{unit}: adjusted p {numbers.p_value(c.adjusted_equivalence_p)}, "
            f"{100 * t.level:g} % interval [{numbers.number(t.low, places, sign=True)}, "
            f"{numbers.number(t.high, places, sign=True)}]"
        )
    if e.correlation is not None:
        text += f"; correlation of the pairs {numbers.number(e.correlation, 2)}"
    return text + "."


def _speed(arm: ArmFindings) -> str:
    parts = []
    for metric, what in ((SPEED, "tokens per second"), (TOKENS, "tokens seen in the budget")):
        share = relative(arm, metric)
        if share is not None:
            parts.append(f"{what} {numbers.percent(share)}")
    loss = arm.contrast.secondary.get("eval/mlm_loss") if arm.contrast else None
    if loss is not None and loss.estimate is not None:
        parts.append(f"held-out MLM loss {numbers.estimate(loss.estimate, loss.low, loss.high, 3)} nats")
    return "; ".join(parts) or "not recorded"


def _rivals(found: Findings, arm: ArmFindings, c: Contrast) -> list[str]:
    """Other explanations that the program can check, each with its answer."""
    lost = arm.lost
    said = [
        f"Divergence or lost trials: {f'{lost} of {arm.planned} trials' if lost else 'none'}."
        + (" See the intention-to-treat line." if lost else ""),
        "Switch without effect: "
        + ("the outcome is identical in every block." if not c.effect.sd else "no, the outcome changes."),
    ]
    if found.seeds and len(found.provenance.hardware) > 1:
        said.append("Hardware: trials ran on different machines; see provenance.")
    if "train.lr" not in arm.changes:
        said.append(
            "Learning rate: the arm ran at its reference's; it was not tuned for the arm. Not ruled out."
        )
    return said


def _overturn(found: Findings, c: Contrast) -> str:
    unit = f" {found.outcome.unit}" if found.outcome.unit else ""
    same = f"at budget {found.budget} with the other knobs at the baseline's levels"
    if c.verdict == "equivalent":
        beyond = f"that put the effect beyond ±{found.outcome.margin:g}{unit}"
        return f"Blocks {same} {beyond}; other budgets are not covered."
    return f"Blocks {same} whose interval includes 0; a tuned learning rate; other budgets are not covered."


def cost(arm: ArmFindings) -> str:
    """What the arm's trials used."""
    charged, occupied = (sum(getattr(t, x) for t in arm.trials) for x in ("seconds", "occupied"))
    spent = f"{numbers.duration(charged)} charged, {numbers.duration(occupied)} occupied"
    return f"{len(arm.trials)} trials, {spent}"
