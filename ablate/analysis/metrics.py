"""What is known of a metric from its name: direction, unit, how it is called in a table.

Names are `family/name`. Unknown ones are taken as higher-is-better scores; a study's own outcome says its
direction itself.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

SPEED = "throughput/tokens_per_second"
# What words in a metric's name tell of its direction; a spread has none, whatever it is the spread of.
_WORSE = {"ppl", "err", "nll", "mse", "mae", "rmse", "wer", "cer", "ter", "bpb", "bpc", "bits", "xent", "ce"}
_BETTER = {"acc", "f1", "avg", "average", "mcc", "auc", "auroc", "precision", "recall", "pearson", "spearman",
           "bleu", "rouge", "em", "r2", "reward"}  # fmt: skip
_DEARER, _CHEAPER = {"seconds", "time", "latency", "memory"}, {"throughput", "mfu"}
_SPREAD = {"stderr", "std", "stdev", "sd", "se", "var", "variance"}
_FAMILIES = ("glue", "superglue", "grammar", "tasks", "eval", "pretrain", "throughput", "cost")
_TASKS = {
    "cola": "CoLA", "sst2": "SST-2", "mrpc": "MRPC", "stsb": "STS-B", "qqp": "QQP", "mnli": "MNLI",
    "mnli_m": "MNLI-m", "mnli_mm": "MNLI-mm", "qnli": "QNLI", "rte": "RTE", "wnli": "WNLI", "ax": "AX",
    "acceptability": "Accept.", "sentiment": "Sentiment", "paraphrase": "Paraphr.", "similarity": "Simil.",
    "entailment": "Entail.",
}  # fmt: skip
_LABELS = {
    "eval/mlm_loss": "MLM loss", "pretrain/loss": "Train loss", SPEED: "Tokens/s",
    "throughput/mfu": "MFU", "cost/gpu_hours": "GPU-hours", "cost/energy_kwh": "Energy",
    "spent/tokens": "Tokens", "spent/steps": "Steps", "spent/flops": "FLOPs",
    "cost/peak_memory_gib": "Peak memory",
}  # fmt: skip
_UNITS = {
    "eval/mlm_loss": "nats", "pretrain/loss": "nats", SPEED: "tokens/s",
    "cost/gpu_hours": "h", "cost/energy_kwh": "kWh", "spent/tokens": "tokens", "spent/steps": "steps",
    "spent/flops": "FLOP",
    "cost/peak_memory_gib": "GiB",
}  # fmt: skip
_SCORES = ("glue", "superglue", "grammar", "tasks")


def higher_is_better(metric: str) -> bool:
    """Whether more of it is good; of a name that does not tell, yes."""
    return direction(metric) is not False


def direction(metric: str) -> bool | None:
    """Whether more of it is good, as its name tells: `eval/Loss` no, `acc` yes, `val` nothing."""
    if metric.startswith("cost/"):
        return False
    name, words = metric.lower(), _words(metric)
    worse = bool(words & (_WORSE | _DEARER)) or any(part in name for part in ("loss", "error", "perplexity"))
    better = bool(words & (_BETTER | _CHEAPER)) or any(part in name for part in ("accura", "score"))
    if worse != better:
        return None if words & _SPREAD else better
    return True if is_score(metric) and not worse else None


@functools.cache  # asked for every metric of every arm
def quality(metric: str) -> bool | None:
    """The same of what a model scored; None also for speed, time and memory."""
    costs = metric.split("/")[0] in ("throughput", "cost", "spent") or _words(metric) & (_DEARER | _CHEAPER)
    return None if costs else direction(metric)


def _words(metric: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", metric.lower()))


def canonical(metric: str) -> str:
    """A task's score under the name that tables know: `glue/MNLI-m` is `glue/mnli_m`; others as they are."""
    family, _, name = metric.partition("/")
    if family.lower() not in _SCORES:
        return metric
    plain = {task.replace("_", ""): task for task in (*_TASKS, "average")}
    return f"{family.lower()}/{plain.get(re.sub('[^a-z0-9]', '', name.lower()), name)}"


def unit(metric: str) -> str:
    """The unit of a difference; scores are in points of 0–100."""
    return _UNITS.get(metric, "points" if metric.split("/")[0] in _SCORES else "")


def label(metric: str) -> str:
    """A column head: `glue/stsb` → STS-B, `glue/average` → GLUE; of unknown families the name as it is."""
    if metric in _LABELS:
        return _LABELS[metric]
    family, _, name = metric.partition("/")
    if name == "average":
        return "GLUE" if family == "glue" else f"{family.capitalize()} avg."
    # Of a family that is not ours the name alone may say nothing, as of `tokens/s`, or say it twice, as of
    # `train/loss` and `val/loss`.
    return _TASKS.get(name, name.replace("_", " ")) if family in _FAMILIES else metric


def is_score(metric: str) -> bool:
    """Whether it is a task score (averages included)."""
    return metric.split("/")[0] in _SCORES


def tasks(names: Iterable[str]) -> list[str]:
    """The single tasks among metrics, averages left out, in the order of the usual GLUE table."""
    order = list(_TASKS)
    found = [m for m in names if is_score(m) and not m.endswith("/average")]
    return sorted(found, key=lambda m: (_rank(m), order.index(_name(m)) if _name(m) in order else 99, m))


def ordered(names: Iterable[str]) -> list[str]:
    """Metrics in reading order: tasks, averages, losses, throughput, cost."""
    names = set(names)
    first = tasks(names)
    return first + sorted(names - set(first), key=lambda m: (_rank(m), m))


def _name(metric: str) -> str:
    return metric.partition("/")[2]


def _rank(metric: str) -> int:
    family = metric.split("/")[0]
    return _FAMILIES.index(family) if family in _FAMILIES else len(_FAMILIES)
