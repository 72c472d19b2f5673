"""Negative results: the arms that hurt or are equivalent, each with all that a reader needs to believe it.

An inconclusive arm never appears here.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ablate.analysis import metrics as names
from ablate.analysis.findings import NOT_RECORDED, ArmFindings, Contrast, Findings, TaskEffect
from ablate.report import numbers
from ablate.report.origin import counted
from ablate.report.tables import SPEED, TOKENS, effect_places, interval, relative
from ablate.report.visible import in_markdown


@dataclass(frozen=True)
class Negative:
    """One arm's page: the numbers are in `contrast`, the words here."""

    arm: ArmFindings
    contrast: Contrast
    headline: str
    picture: str  # below figures/: the effect on the outcome and on each task
    claims: tuple[tuple[str, str, str], ...]  # knob, meaning, what the paper says
    difference: tuple[tuple[str, str, str], ...]  # knob, reference, arm
    result: str
    tasks: tuple[str, ...]  # per task, for new seeds and new examples
    speed: str
    mechanism: str
    rivals: tuple[str, ...]
    overturn: tuple[str, ...]  # what would, each with its cost
    cost: str


def negatives(found: Findings) -> list[Negative]:
    """Arms with the verdict hurts, then those equivalent; exploratory arms and screens prove nothing."""
    wanted = ("hurts", "equivalent")
    arms = [
        (arm, arm.contrast)
        for arm in found.arms
        if arm.contrast and arm.contrast.verdict in wanted and arm.contrast.correction == "holm"
    ]
    ordered = sorted(arms, key=lambda pair: wanted.index(pair[1].verdict))
    return [_negative(found, number, arm, c) for number, (arm, c) in enumerate(ordered, start=1)]


def _negative(found: Findings, number: int, arm: ArmFindings, c: Contrast) -> Negative:
    return Negative(
        arm=arm,
        contrast=c,
        picture=f"negative-{number}.svg",
        headline=f"{arm.name} {'is ' if c.verdict == 'equivalent' else ''}{c.reason}",
        claims=tuple(
            (knob, str(found.claims[knob].get("meaning", "")), str(found.claims[knob].get("paper", "")))
            for knob in arm.changes
            if knob in found.claims
        ),
        difference=changes(arm),
        result=result(found, c),
        tasks=tuple(_task(c.tasks[metric]) for metric in names.ordered(c.tasks)),
        speed=_speed(arm),
        mechanism=mechanism(c),
        rivals=tuple(f"{check.name.capitalize()}: {check.answer}; {check.text}." for check in c.checks),
        overturn=_overturn(found, arm, c),
        cost=cost(arm),
    )


def to_json(found: Findings, items: list[Negative]) -> dict[str, Any]:
    """What `negative-results.json` holds, for `ablate known` and for other programs."""
    return {
        "schema": 1, "study": found.name, "title": found.title, "question": found.question,
        "created": found.created, "imported": found.imported, "design": found.design,
        "budget": found.budget, "charge": found.charge,
        "baseline": found.baseline, "outcome": found.outcome.metric, "unit": found.outcome.unit,
        "margin": found.outcome.margin, "alpha": found.alpha, "family": list(found.family),
        "hardware": list(found.provenance.hardware), "post_hoc": list(found.post_hoc),
        "results": [_plain_result(item) for item in items],
    }  # fmt: skip


def _plain_result(item: Negative) -> dict[str, Any]:
    c, e = item.contrast, item.contrast.effect
    words = {f.name: getattr(item, f.name) for f in fields(item) if f.name not in ("arm", "contrast")}
    return {
        "arm": item.arm.name, "verdict": c.verdict, "reference": c.reference,
        "n": e.n, "estimate": e.estimate, "low": e.low, "high": e.high, "p": e.p,
        "adjusted_p": c.adjusted_p, "adjusted_equivalence_p": c.adjusted_equivalence_p,
        "resolvable": c.resolvable, "blocks_needed": c.blocks_needed, **words,
        "levels": {knob: list(pair) for knob, pair in item.arm.changes.items()},
        "checks": [{"name": k.name, "answer": k.answer, "text": k.text} for k in c.checks],
        "trials": [t.id for t in item.arm.trials],
    }  # fmt: skip


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
    n = counted(e.n, "block")
    if c.unpaired:
        n = f"{counted(c.unpaired.n[0], 'trial')} and {c.unpaired.n[1]} of its reference"
    text = (
        f"Δ {found.outcome.label} against {c.reference} = "
        f"{numbers.estimate(e.estimate, e.low, e.high, places)}{unit} "
        f"({100 * e.level:g} % {interval(found)}, n = {n}); "
        f"adjusted p {numbers.p_value(c.adjusted_p)}, uncorrected {numbers.p_value(e.p)}, "
        + (f"exact sign-flip {numbers.p_value(e.sign_flip_p)}" if found.paired else _dunnett(c))
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


def _dunnett(c: Contrast) -> str:
    return f"Dunnett {numbers.p_value(c.unpaired.dunnett_p if c.unpaired else None)}"


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


def _task(t: TaskEffect) -> str:
    label = names.label(t.metric)
    if t.low is None:
        return f"{label}: {numbers.number(t.estimate, 1, sign=True)}, no interval ({t.note})"
    places = numbers.decimals([(t.high - t.low) / 4 if t.high is not None else None])
    said = f"{label}: {numbers.estimate(t.estimate, t.low, t.high, places)} points"
    note = f"; {t.note}" if t.note else ""
    return f"{said} ({t.method.replace(' x ', ' × ')}, {t.seeds} seeds × {t.items} examples{note})"


def mechanism(c: Contrast) -> str:
    """The split of a wall-clock effect on the training loss, in a sentence; empty without one."""
    m = c.mechanism
    if m is None:
        return ""
    parts = [numbers.estimate(e.estimate, e.low, e.high, 3) for e in (m.equal_time, m.equal_tokens, m.speed)]
    return (
        f"Δ training loss at equal time {parts[0]} = {parts[1]} at equal tokens, and {parts[2]} by speed "
        f"({numbers.percent(m.tokens_ratio - 1)} tokens in the same time; {m.note})"
    )


def _overturn(found: Findings, arm: ArmFindings, c: Contrast) -> tuple[str, ...]:
    """What would turn the verdict: new blocks, then each check that is open; at this study's own rates."""
    unit = f" {found.outcome.unit}" if found.outcome.unit else ""
    n = max(2, c.blocks_needed or c.effect.n)
    blocks = "blocks" if found.paired else "trials per arm"
    again = _price(found, arm, c, n, n)
    if c.verdict == "equivalent":
        turned = f"{n} new {blocks} whose effect lies beyond ±{found.outcome.margin:g}{unit}"
    else:
        turned = f"{n} new {blocks} whose interval includes 0"
    ways = {
        "divergence": f"{counted(arm.lost, 'trial')} of the arm, lost so far, run to the end: "
        f"{_price(found, arm, c, arm.lost, 0)}.",
        "learning rate": f"A learning rate tuned for the arm (5 rates on 1 block, then {n} {blocks}): "
        f"{_price(found, arm, c, n + 5, n)}.",
        "switch without effect": "One trial each of the arm and of its reference, of one seed and as many "
        f"steps, that end with the same weights: {_price(found, arm, c, 1, 1)}.",
        "too few tokens": "Twice the budget, as the loss was still falling: "
        f"{_price(found, arm, c, n, n, budgets=2)}.",
        "metric": f"{n} new {blocks} judged by another measure, named before they run: {again}.",
        "hardware": f"{n} new {blocks} on one kind of machine without other work: {again}.",
    }
    open_ = [check.name for check in c.checks if check.answer in ("not ruled out", "applies")]
    budget = "Other budgets" if found.budget == NOT_RECORDED else f"Other budgets than {found.budget}"
    return (
        f"{turned}, same budget and baseline: {again}.",
        *(ways[name] for name in open_ if name in ways),
        f"{budget} and other levels of the baseline are not covered.",
    )


def _price(
    found: Findings, arm: ArmFindings, c: Contrast, own: int, other: int, *, budgets: int = 1
) -> str:  # fmt: skip
    """Hours, and money where the study knows its rate, for so many trials of the arm and of its reference."""

    def hours(one: ArmFindings) -> float:
        spent = [t.occupied or t.seconds for t in one.trials if t.state == "complete"]
        return sum(spent) / len(spent) / 3600 if spent else 0.0

    total = budgets * (own * hours(arm) + other * hours(found.arm(c.reference)))
    if not total:
        return "its cost is not recorded"
    text = f"{counted(own + other, 'trial')}, about {numbers.duration(3600 * total)}"
    cost = found.cost
    if cost.money is not None and cost.occupied_seconds:
        text += f", {total * 3600 * cost.money / cost.occupied_seconds:.3g} in the study's currency"
    return text


def markdown(text: str) -> str:
    """Text that Markdown shows as it was written, in a heading, a list or a table."""
    return in_markdown(text, "|*`[")


def reproduce(found: Findings) -> str:
    """The line that makes these results again, or imports them again."""
    if not found.imported:
        return f"ablate run {shlex.quote(found.source or 'STUDY.yaml')}"
    if found.command:
        return found.command
    margin = f" --margin {found.outcome.margin:g}" if found.outcome.margin else ""
    direction = "maximize" if found.outcome.higher_is_better else "minimize"
    source, baseline = shlex.quote(found.source), shlex.quote(found.baseline)
    return (
        f"ablate import {source} --baseline {baseline} --outcome {found.outcome.metric}{margin} "
        f"--direction {direction}"
    )


def cost(arm: ArmFindings) -> str:
    """What the arm's trials used."""
    charged, occupied = (sum(getattr(t, x) for t in arm.trials) for x in ("seconds", "occupied"))
    if not charged and not occupied:
        return f"{len(arm.trials)} trials, their time is not recorded"
    told = f", {numbers.duration(occupied)} occupied" if occupied else ""
    return f"{len(arm.trials)} trials, {numbers.duration(charged)} charged{told}"
