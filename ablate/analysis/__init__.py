"""From records to findings: pure, without torch, in about half a second."""

from ablate.analysis.assemble import analyze
from ablate.analysis.findings import ArmFindings, Contrast, Findings, Outcome, TrialSummary, Value, Verdict
from ablate.analysis.paired import Effect, Equivalence

__all__ = [
    "ArmFindings", "Contrast", "Effect", "Equivalence", "Findings", "Outcome", "TrialSummary", "Value",
    "Verdict", "analyze",
]  # fmt: skip
