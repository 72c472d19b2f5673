"""Verdicts, in their order: equivalent, helps or hurts, inconclusive. Never "no effect" from a large p."""

from __future__ import annotations

from ablate.analysis.findings import Outcome, Verdict
from ablate.analysis.paired import Effect


def verdict(
    effect: Effect, outcome: Outcome, p: float | None, equivalence_p: float | None, alpha: float
) -> Verdict:
    """The verdict from corrected p-values."""
    if equivalence_p is not None and equivalence_p <= alpha:
        return "equivalent"
    if p is not None and p <= alpha and effect.estimate:
        return "helps" if (effect.estimate > 0) == outcome.higher_is_better else "hurts"
    return "inconclusive"


def reason(
    found: Verdict,
    effect: Effect,
    outcome: Outcome,
    *,
    p: float | None,
    equivalence_p: float | None,
    resolvable: float | None,
    needed: int | None,
    alpha: float,
    test: str = "paired t",
    unit_of_n: str = "blocks",
) -> str:
    """The verdict in a sentence, with the numbers it rests on."""
    unit = f" {outcome.unit}" if outcome.unit else ""
    if found == "equivalent":
        text = f"equivalent within ±{outcome.margin:g}{unit} (TOST, adjusted p {_p(equivalence_p)})"
        if p is not None and p <= alpha:
            text += f"; the difference is real but below the margin (adjusted p {_p(p)})"
        return text
    if found in ("helps", "hurts"):
        size = f"{abs(effect.estimate or 0):.3g}{unit}"
        return f"{found} by {size} ({test}, adjusted p {_p(p)})"
    if not effect.testable:
        return effect.note or "no test is possible"
    text = f"inconclusive (adjusted p {_p(p)}): "
    text += f"{effect.n} {unit_of_n} would see {resolvable:.3g}{unit} or more with 80 % power"
    if outcome.margin is None:
        return f"{text}; no margin was declared, so equivalence cannot be shown"
    if needed is None:
        return f"{text}; at this spread over 1,000 {unit_of_n} would be needed to settle it"
    if needed <= effect.n:
        return f"{text}; {needed} {unit_of_n} usually settle it at this spread, this draw fell between"
    return f"{text}; about {needed} {unit_of_n} would settle it at this spread"


def _p(p: float | None) -> str:
    if p is None:
        return "not available"
    return "< .001" if p < 0.001 else f"{p:.3f}".lstrip("0")
