"""The answer to a study's question in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ablate.analysis.findings import ArmFindings, Contrast, Findings, Term
from ablate.analysis.paired import Effect


def answer(found: Findings) -> str:
    """Every verdict but those of a screen, with numbers where it helps or hurts and the margin else."""
    everything = found.contrasts
    if not everything:
        return "The study has no arm besides the baseline."
    # What a search drew before its best were run again was chosen by looking: it answers nothing.
    again = {arm.name for arm in found.arms if arm.replicate}
    contrasts = {
        name: c
        for name, c in everything.items()
        if c.correction != "benjamini-hochberg" and name not in again
    }
    if not contrasts:
        return f"No answer yet: all {len(everything)} arms are screened, and none has been confirmed."
    gone = _without_score(found)
    if not any(c.effect.n for c in contrasts.values()):
        return _no_answer(found, contrasts, gone)
    lost = {name: told for name, told in gone.items() if name in contrasts}
    unit = f" {found.outcome.unit}" if found.outcome.unit else ""
    parts = []
    for word in ("helps", "hurts"):
        hits = {name: c for name, c in contrasts.items() if c.verdict == word}
        if hits:
            listed = _listed(
                [f"{name} ({_interval(c.effect)}{unit}{_of_completed(c)})" for name, c in _by_size(hits)]
            )
            parts.append(f"{listed} {word if len(hits) == 1 else word[:-1]}")
    same = [
        name + (f" ({_of_completed(c)[2:]})" if c.completed_only else "")
        for name, c in contrasts.items() if c.verdict == "equivalent"
    ]  # fmt: skip
    if same:
        verb = "is" if len(same) == 1 else "are"
        parts.append(f"{_listed(same)} {verb} equivalent within ±{found.outcome.margin:g}{unit}")
    still = [name for name, c in contrasts.items() if c.verdict == "inconclusive" and name not in lost]
    open_ = [*lost.values(), *still]
    if open_:
        parts.append(f"{_listed(open_)} {'remains' if len(open_) == 1 else 'remain'} inconclusive")
    parts += _model(found)
    text = "; ".join(parts)
    return f"On {found.outcome.label}: {text}."


def _model(found: Findings) -> list[str]:
    """What the model of a factorial study says: which factors depend on each other and, where no arm changes
    one alone, which of them matter.
    """
    if not found.interactions or not found.interactions.terms:
        return []
    unit = f" {found.outcome.unit}" if found.outcome.unit else ""
    parts = []
    for what, crossed in (("main effect", False), ("interaction", True)):
        terms = [t for t in found.interactions.terms if (len(t.factors) > 1) == crossed]
        if not terms or (found.design != "fractional" and not crossed):
            continue
        shown = [
            f"{' or '.join((t.name, *t.aliases))} ({_interval(t)}{unit})"
            for t in sorted(terms, key=lambda t: -abs(t.estimate)) if t.adjusted_p <= found.alpha
        ]  # fmt: skip
        if shown:
            parts.append(f"{what}{'s' if len(shown) > 1 else ''}: {_listed(shown)}")
        else:
            parts.append(
                f"none of {len(terms)} {what}s is clear" if len(terms) > 1 else f"the {what} is not clear"
            )
    return parts


def _no_answer(found: Findings, contrasts: Mapping[str, Contrast], gone: Mapping[str, str]) -> str:
    """Why nothing can be compared, and whether more trials could change that."""
    lost = _listed([told for name, told in gone.items() if name != found.baseline])
    if found.baseline in gone and all(c.reference == found.baseline for c in contrasts.values()):
        others = f"; so did every trial of {lost}" if lost else ""
        return (
            "No answer: no comparison is possible, because every trial of the baseline failed: "
            f"{gone[found.baseline]}{others}."
        )
    yet = " yet" if found.elastic or any(arm.pending for arm in found.arms) else ""
    nothing = (
        "no arm shares a completed block with its reference"
        if found.paired
        else "no arm and its reference both have a completed trial"
    )
    return f"No answer{yet}: {nothing}{f': {lost}' if lost else ''}."


def _without_score(found: Findings) -> dict[str, str]:
    """Arms of which every trial has ended and none has a score: what became of them."""

    def became(arm: ArmFindings) -> str:
        return ", ".join(f"{n} of {arm.planned} {state}" for state, n in arm.failures.items() if n)

    ended = [arm for arm in found.arms if not arm.completed and not arm.pending and arm.lost]
    return {arm.name: f"{arm.name} ({became(arm)})" for arm in ended}


def _of_completed(contrast: Contrast) -> str:
    return ", of completed blocks alone" if contrast.completed_only else ""


def _listed(named: list[str]) -> str:
    """All of up to seven; of more the first five, and how many others: 200 arms make no sentence."""
    if len(named) <= 7:
        return ", ".join(named)
    return f"{', '.join(named[:5])} and {len(named) - 5} others"


def _by_size(hits: dict[str, Contrast]) -> list[tuple[str, Contrast]]:
    return sorted(hits.items(), key=lambda item: -abs(item[1].effect.estimate or 0))


def _interval(e: Effect | Term) -> str:
    if e.estimate is None or e.low is None or e.high is None:
        return "no interval"
    half = (e.high - e.low) / 2  # shown with two digits
    places = (
        min(6, max(0, 1 - math.floor(math.log10(half)))) if half > 0 else 3
    )  # two digits of the half-width
    return f"{e.estimate:+.{places}f} [{e.low:+.{places}f}, {e.high:+.{places}f}]".replace("-", "−")
