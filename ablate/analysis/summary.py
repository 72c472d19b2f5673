"""The answer to a study's question in one sentence."""

from __future__ import annotations

import math

from ablate.analysis.findings import Contrast, Findings


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
    if not any(c.effect.n for c in contrasts.values()):
        return "No answer yet: no arm shares a completed block with its reference."
    unit = f" {found.outcome.unit}" if found.outcome.unit else ""
    parts = []
    for word in ("helps", "hurts"):
        hits = {name: c for name, c in contrasts.items() if c.verdict == word}
        if hits:
            listed = _listed([f"{name} ({_interval(c)}{unit})" for name, c in _by_size(hits)])
            parts.append(f"{listed} {word if len(hits) == 1 else word[:-1]}")
    same = [name for name, c in contrasts.items() if c.verdict == "equivalent"]
    if same:
        verb = "is" if len(same) == 1 else "are"
        parts.append(f"{_listed(same)} {verb} equivalent within ±{found.outcome.margin:g}{unit}")
    open_ = [name for name, c in contrasts.items() if c.verdict == "inconclusive"]
    if open_:
        parts.append(f"{_listed(open_)} {'remains' if len(open_) == 1 else 'remain'} inconclusive")
    text = "; ".join(parts)
    return f"On {found.outcome.label}: {text}."


def _listed(named: list[str]) -> str:
    """All of up to seven; of more the first five, and how many others: 200 arms make no sentence."""
    if len(named) <= 7:
        return ", ".join(named)
    return f"{', '.join(named[:5])} and {len(named) - 5} others"


def _by_size(hits: dict[str, Contrast]) -> list[tuple[str, Contrast]]:
    return sorted(hits.items(), key=lambda item: -abs(item[1].effect.estimate or 0))


def _interval(contrast: Contrast) -> str:
    e = contrast.effect
    if e.estimate is None or e.low is None or e.high is None:
        return "no interval"
    half = (e.high - e.low) / 2  # shown with two digits
    places = (
        min(6, max(0, 1 - math.floor(math.log10(half)))) if half > 0 else 3
    )  # two digits of the half-width
    return f"{e.estimate:+.{places}f} [{e.low:+.{places}f}, {e.high:+.{places}f}]".replace("-", "−")
