"""From records to findings: pure, without torch, in about half a second."""

from ablate.analysis.assemble import analyze
from ablate.analysis.findings import (
    ArmFindings,
    BestOfK,
    Check,
    Contrast,
    Curvature,
    Findings,
    Importance,
    Interactions,
    Mechanism,
    Nested,
    Outcome,
    Pairing,
    TaskEffect,
    Term,
    TrialSummary,
    Unpaired,
    Value,
    Verdict,
)  # fmt: skip
from ablate.analysis.paired import Effect, Equivalence

__all__ = [
    "ArmFindings", "BestOfK", "Check", "Contrast", "Curvature", "Effect", "Equivalence", "Findings",
    "Importance", "Interactions", "Mechanism", "Nested", "Outcome", "Pairing", "TaskEffect", "Term",
    "TrialSummary", "Unpaired", "Value",
    "Verdict", "analyze",
]  # fmt: skip
