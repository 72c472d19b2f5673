"""The ablation table as data: columns, rows and caption. What it is written in is decided elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ablate.analysis import metrics as names
from ablate.analysis.findings import ArmFindings, Contrast, Findings
from ablate.report import numbers

LOSS, SPEED, TOKENS = "eval/mlm_loss", "throughput/tokens_per_second", "spent/tokens"

MANY = 8  # notes of one kind that a table carries
FOR_SCALE = "for scale"  # heading of the reference scores


@dataclass(frozen=True)
class Column:
    """`key` is stable for machines, `head` is for people."""

    key: str
    head: str
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """What is shown, and the number behind it (for sorting and for checks)."""

    text: str
    value: float | None = None
    mark: Literal["", "bold", "underline"] = ""


@dataclass(frozen=True)
class Row:
    """An arm, the heading of a group of arms, or a reference score shown for scale."""

    kind: Literal["baseline", "arm", "group", "scale"]
    label: str
    arm: str = ""
    cells: tuple[Cell, ...] = ()
    trials: tuple[str, ...] = ()
    verdict: str = ""
    indent: bool = False


@dataclass(frozen=True)
class Table:
    """The first column, the variant, is each row's label; `columns` are the others."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    caption: str
    notes: tuple[str, ...] = field(default_factory=tuple)


def ablation_table(found: Findings) -> Table:
    """Baseline on top, then the arms by group, then reference scores for scale."""
    shown = score_columns(found)
    places = {metric: _places(found, metric) for metric in shown}
    columns = _columns(found, shown)
    rows = [_arm_row(found, arm, shown, places) for arm in found.arms]
    return Table(
        columns,
        (*_grouped(found, rows), *_scale(found, shown, places)),
        caption(found),
        tuple(table_notes(found)),
    )


def score_columns(found: Findings) -> list[str]:
    """Held-out loss, the tasks, their averages, and the outcome if it is none of them."""
    averages = [m for m in found.metrics if names.is_score(m) and m.endswith("/average")]
    shown = [m for m in (LOSS,) if m in found.metrics] + names.tasks(found.metrics) + averages
    return shown if found.outcome.metric in shown else [*shown, found.outcome.metric]


def _columns(found: Findings, shown: Sequence[str]) -> tuple[Column, ...]:
    level = f"{100 * (1 - found.alpha):g}"
    return (
        Column("n", "n", numeric=False),
        *([Column("tokens", "Tokens")] if TOKENS in found.metrics else []),
        *([Column("speed", "Tokens/s (Δ %)")] if SPEED in found.metrics else []),
        *(Column(metric, names.label(metric)) for metric in shown),
        Column("effect", f"Δ {found.outcome.label} [{level} % CI]"),
        Column("p", "adj. p"),
        Column("verdict", "Verdict", numeric=False),
    )


def _places(found: Findings, metric: str) -> int:
    """Decimals of a column: by the standard errors of its arms' means."""
    errors = [arm.values[metric].se for arm in found.arms if metric in arm.values]
    return numbers.decimals(errors, default=1 if names.is_score(metric) else 3)


def effect_places(found: Findings) -> int:
    """Decimals of the effects on the outcome: by their own standard errors."""
    default = 1 if names.is_score(found.outcome.metric) else 3
    return numbers.decimals((c.effect.se for c in found.contrasts.values()), default=default)


def _arm_row(found: Findings, arm: ArmFindings, shown: Sequence[str], places: dict[str, int]) -> Row:
    cells = [Cell(counts(arm), float(arm.completed))]
    if TOKENS in found.metrics:
        tokens = _mean(arm, TOKENS)
        cells.append(Cell(numbers.quantity(tokens), tokens))
    if SPEED in found.metrics:
        cells.append(speed(arm))
    for metric in shown:
        cells.append(_score(found, arm, metric, places[metric]))
    c = arm.contrast
    if c is None:
        cells += [Cell("reference"), Cell(numbers.MISSING), Cell("baseline")]
    else:
        cells += [effect_cell(c, effect_places(found)), Cell(numbers.p_value(c.adjusted_p), c.adjusted_p)]
        cells.append(Cell(verdict_text(c)))
    kind: Literal["baseline", "arm"] = "baseline" if c is None else "arm"
    trials = tuple(t.id for t in arm.trials)
    return Row(kind, arm.name, arm.name, tuple(cells), trials, c.verdict if c else "")


def counts(arm: ArmFindings) -> str:
    """`5`, `4/5, div. (1)`: completed of planned, and what became of the others."""
    text = str(arm.completed) if arm.completed == arm.planned else f"{arm.completed}/{arm.planned}"
    return ", ".join([text, *failures(arm)])


def failures(arm: ArmFindings) -> list[str]:
    """`div. (1)`, `out-of-memory (2)`, `pending (1)`."""
    short = {"diverged": "div."}
    found = [f"{short.get(state, state)} ({n})" for state, n in sorted(arm.failures.items())]
    return found + ([f"pending ({arm.pending})"] if arm.pending else [])


def speed(arm: ArmFindings) -> Cell:
    """Tokens per second and its change against the reference, which is what a wall-clock budget trades in."""
    mean = _mean(arm, SPEED)
    share = relative(arm, SPEED)
    text = numbers.quantity(mean) + (f" ({numbers.percent(share)})" if share is not None else "")
    return Cell(text, mean)


def relative(arm: ArmFindings, metric: str) -> float | None:
    """The effect on a metric as a share of the reference's mean in the same blocks."""
    effect = arm.contrast.secondary.get(metric) if arm.contrast else None
    if effect is None or effect.estimate is None or metric not in arm.values:
        return None
    reference = arm.values[metric].mean - effect.estimate
    return effect.estimate / reference if reference else None


def _mean(arm: ArmFindings, metric: str) -> float | None:
    return arm.values[metric].mean if metric in arm.values else None


def _score(found: Findings, arm: ArmFindings, metric: str, places: int) -> Cell:
    mean = _mean(arm, metric)
    if mean is None:
        return Cell(", ".join(failures(arm)) or numbers.MISSING)
    mark: Literal["", "bold", "underline"] = ""
    if metric == found.outcome.metric and arm.standing:
        mark = "bold" if arm.standing == "best" else "underline"
    return Cell(numbers.number(mean, places), mean, mark)


def effect_cell(c: Contrast, places: int) -> Cell:
    """Δ with its interval; says so where there is none."""
    e = c.effect
    if e.estimate is None:
        return Cell(numbers.MISSING)
    text = numbers.estimate(e.estimate, e.low, e.high, places)
    return Cell(text if e.low is not None else f"{text} (no interval)", e.estimate)


def verdict_text(c: Contrast) -> str:
    """The verdict, with the remark that a real difference may be too small to matter."""
    return f"{c.verdict}*" if below_margin(c) else c.verdict


def below_margin(c: Contrast) -> bool:
    """Equivalent, and yet significantly different: real but below the margin."""
    return c.verdict == "equivalent" and "real but below" in c.reason


def _grouped(found: Findings, rows: Sequence[Row]) -> Iterable[Row]:
    """Arms under the heading of their factor where a factor has several levels."""
    groups = {arm.name: arm.group for arm in found.arms}
    sizes = {g: list(groups.values()).count(g) for g in groups.values()}
    done: set[str] = set()
    for row in rows:
        group = groups[row.arm]
        if group is None or sizes[group] < 2:
            yield row
        elif group not in done:
            done.add(group)
            yield Row("group", group)
            for member in rows:
                if groups[member.arm] == group:
                    short = member.label.removeprefix(f"{group}=")
                    yield Row(
                        member.kind, short, member.arm, member.cells, member.trials, member.verdict, True
                    )


def _scale(found: Findings, shown: Sequence[str], places: dict[str, int]) -> Iterable[Row]:
    """Scores of trivial systems, so that points mean something; nobody's verdict."""
    usable = {name: scores for name, scores in found.scale.items() if set(scores) & set(shown)}
    if usable:
        yield Row("group", FOR_SCALE)
    for name, scores in usable.items():
        scores = {**_averages(found, scores, shown), **scores}
        before = [Cell(numbers.MISSING) for c in _columns(found, shown) if c.key in ("n", "tokens", "speed")]
        cells = [Cell(numbers.number(scores.get(m), min(places[m], 1)), scores.get(m)) for m in shown]
        yield Row("scale", name, "", (*before, *cells, *[Cell(numbers.MISSING)] * 3), indent=True)


def _averages(found: Findings, scores: Mapping[str, float], shown: Sequence[str]) -> dict[str, float]:
    """A family's average for a reference, where the arms' own average is the plain mean of the same tasks."""
    made: dict[str, float] = {}
    for average in (m for m in shown if m.endswith("/average")):
        members = [m for m in names.tasks(shown) if m.split("/")[0] == average.split("/")[0]]
        known = [
            arm.values for arm in found.arms if average in arm.values and set(members) <= set(arm.values)
        ]
        plain = known and all(
            abs(v[average].mean - sum(v[m].mean for m in members) / len(members)) < 1e-6 for v in known
        )
        if members and plain and set(members) <= set(scores):
            made[average] = sum(scores[m] for m in members) / len(members)
    return made


def caption(found: Findings) -> str:
    """Everything a reader needs to judge the numbers without the text around them."""
    level = f"{100 * (1 - found.alpha):g}"
    unit = f" {found.outcome.unit}" if found.outcome.unit else ""
    done = [arm.completed for arm in found.arms]
    n = (
        f"n = {found.blocks} blocks"
        if set(done) == {found.blocks}
        else f"n ≤ {found.blocks} blocks (column n)"
    )
    margin = f"margin ±{found.outcome.margin:g}{unit}" if found.outcome.margin else "no margin declared"
    against = "the arm before it" if found.design == "cumulative" else "the baseline"
    hardware = "; ".join(found.provenance.hardware) or "not recorded"
    better = "higher" if found.outcome.higher_is_better else "lower"
    return (
        f"{found.title or found.name}. {found.question} "
        f"Means over blocks, {n}; a block's arms share seed, data order and masks. "
        f"Δ: {found.outcome.label} ({found.outcome.metric}, {better} is better) of the arm minus that of "
        f"{against}, "
        f"mean within-block difference with its {level} % t interval (not corrected for multiplicity). "
        f"adj. p: paired t test, Holm over the family of {len(found.family)}. "
        f"Equivalent: two one-sided t tests, {margin}, Holm in the same family. "
        f"Budget per trial {found.budget} ({found.charge} time charged). Hardware: {hardware}."
    )


def table_notes(found: Findings) -> list[str]:
    """What marks in the table mean, and what must be known beside it."""
    notes = []
    if any(arm.standing == "best" for arm in found.arms):
        notes.append("Bold: significantly better than every other arm (Bonferroni over all pairs).")
    if any(arm.standing == "equivalent to the best" for arm in found.arms):
        notes.append("Underlined: equivalent to the highest mean (Bonferroni over all pairs).")
    if any(below_margin(c) for c in found.contrasts.values()):
        notes.append("*: the difference is real (adjusted p below α) but below the margin.")
    lost = [note for arm in found.arms for note in _lost(found, arm)]
    if len(lost) > MANY:
        lost = [
            f"{len(lost)} arms, or their references, lost blocks (column n); intention-to-treat effects "
            "are in the CSV of this table."
        ]
    return notes + lost + [f"Post hoc: {change}." for change in found.post_hoc]


def _lost(found: Findings, arm: ArmFindings) -> list[str]:
    """The intention-to-treat line of an arm that lost a block, or whose reference did."""
    c = arm.contrast
    if c is None or c.intention_to_treat is None:
        return []
    itt, places = c.intention_to_treat, effect_places(found)
    text = numbers.estimate(itt.estimate, itt.low, itt.high, places)
    return [
        f"{arm.name}: {c.effect.n} complete pair(s). Intention to treat "
        f"(diverged = worst observed score, {c.imputed} imputed): Δ {text}."
    ]
