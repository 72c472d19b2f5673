"""What may be said of where a study's runs come from: of imported ones only what the importer said."""

from __future__ import annotations

from ablate.analysis.findings import NOT_RECORDED, Findings
from ablate.report import numbers

DECLARED = "Outcome, margin and family were declared at import, after the runs."


def sharing(found: Findings) -> str:
    """What the arms of a block have in common."""
    if not found.paired:
        return "no blocks were given: trials of different arms are compared unpaired"
    if found.imported:
        return "runs are paired by block as the importer says; what else they share is not recorded"
    return "the arms of a block share seed, data order and masks"


def size(found: Findings, sign: str = "") -> str:
    """Arms and blocks, or trials of each; `5 × 1–6` with a sign. Arms of imported runs may have fewer."""
    planned = [arm.planned for arm in found.arms] or [0]
    each = "–".join(str(n) for n in dict.fromkeys((min(planned), max(planned))))
    if sign:
        return f"{len(found.arms)} {sign} {each}"
    one = "block" if found.paired else "trial"
    return f"{counted(len(found.arms), 'arm')} × {each} {one}{'' if each == '1' else 's'}"


def counted(n: int, what: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def blocks(found: Findings) -> str:
    """The blocks by their seeds; those of imported runs by the numbers that the importer gave."""
    return f"{'blocks' if found.imported else 'seeds'} {', '.join(map(str, found.seeds))}"


def rules(found: Findings) -> str:
    """What the pipeline may hold, and what it does."""
    if found.imported:
        return NOT_RECORDED
    if found.breaches:
        return f"{found.rules}; pretrained: {'; '.join(found.breaches)}"
    if found.rules == "strict":
        return "strict: nothing pretrained anywhere in the pipeline"
    return f"{found.rules}; nothing pretrained is used all the same"


def frozen(found: Findings) -> str:
    """When the terms were fixed, and whether that was before the runs."""
    text = f"{found.created} from {found.source or 'an unnamed file'}"
    if found.imported:
        text += "; outcome, margin and family were declared then, after the runs"
    elif not found.post_hoc:
        text += ", before the first trial"
    return text + (f"; changed after data had arrived: {'; '.join(found.post_hoc)}" if found.post_hoc else "")


def ran(found: Findings) -> str:
    """When the first trial began and the last one ended."""
    times = found.provenance
    if not times.started:
        return NOT_RECORDED
    return f"{times.started} to {times.finished or 'an end that is ' + NOT_RECORDED}"


def budget(found: Findings) -> str:
    """What a trial was given, and which of its time counted."""
    return NOT_RECORDED if found.budget == NOT_RECORDED else f"{found.budget} ({found.charge} time charged)"


def charged(found: Findings) -> str:
    """Time in training steps; of imported runs the time that their table names."""
    if found.imported:
        return _or_unknown(found, found.cost.charged_seconds, numbers.duration(found.cost.charged_seconds))
    return f"{numbers.duration(found.cost.charged_seconds)} in training steps"


def occupied(found: Findings) -> str:
    """Time in all."""
    return _or_unknown(found, found.cost.occupied_seconds, numbers.duration(found.cost.occupied_seconds))


def tokens(found: Findings) -> str:
    """Tokens that all trials saw."""
    return _or_unknown(found, found.cost.tokens, numbers.quantity(found.cost.tokens))


def _or_unknown(found: Findings, amount: float, text: str) -> str:
    """Nothing used, in an imported run, means that nobody wrote it down."""
    return text if amount or not found.imported else NOT_RECORDED
