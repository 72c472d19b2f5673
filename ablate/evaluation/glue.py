"""The GLUE tasks: columns, metrics and splits as published (Wang et al. 2019, arXiv:1804.07461).

Metrics are those of the crammed-BERT table: CoLA MCC, MRPC and QQP F1, STS-B Pearson, else accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass

from ablate.evaluation.config import Metric

HUB = "nyu-mll/glue"


@dataclass(frozen=True)
class GlueTask:
    """One GLUE task: its text columns, metrics, classes (1: regression), and result name → split."""

    text: tuple[str, ...]
    metric: Metric = "accuracy"
    also: tuple[Metric, ...] = ()
    outputs: int = 2
    results: tuple[tuple[str, str], ...] = ()


_PAIR = ("sentence1", "sentence2")
_MNLI = (("mnli_m", "validation_matched"), ("mnli_mm", "validation_mismatched"))

GLUE: dict[str, GlueTask] = {
    "mnli": GlueTask(("premise", "hypothesis"), outputs=3, results=_MNLI),
    "qqp": GlueTask(("question1", "question2"), "f1", ("accuracy",)),
    "qnli": GlueTask(("question", "sentence")),
    "sst2": GlueTask(("sentence",)),
    "cola": GlueTask(("sentence",), "mcc", ("accuracy",)),
    "stsb": GlueTask(_PAIR, "pearson", ("spearman",), outputs=1),
    "mrpc": GlueTask(_PAIR, "f1", ("accuracy",)),
    "rte": GlueTask(_PAIR),
    "wnli": GlueTask(_PAIR),
}
AX = "ax"  # the diagnostic set: unlabelled, predicted by the MNLI model
KNOWN = (*GLUE, AX)
OUTSIDE_AVERAGE = ("wnli",)  # adversarial split; the paper's average leaves it out
SUITE = tuple(name for name in GLUE if name not in OUTSIDE_AVERAGE)


def results(name: str) -> tuple[tuple[str, str], ...]:
    """Result name → validation split; MNLI has two, and both count in the average."""
    return GLUE[name].results or ((name, "validation"),)


NUMBERS = tuple(result for name in SUITE for result, _ in results(name))  # the nine of the paper's average
