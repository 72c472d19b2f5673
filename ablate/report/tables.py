"""The ablation table as data: columns, rows and caption. What it is written in is decided elsewhere.

A preset is a function from findings to columns; adding one is adding it to `PRESETS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ablate.analysis import metrics as names
from ablate.analysis.findings import NOT_RECORDED, ArmFindings, Contrast, Findings
from ablate.report import numbers, origin
from ablate.report.facts import facts
from ablate.report.visible import visible

LOSS, SPEED = "eval/mlm_loss", "throughput/tokens_per_second"
TOKENS, FLOPS, STEPS = "spent/tokens", "spent/flops", "spent/steps"
MARKS = {"helps": "↑", "hurts": "↓", "equivalent": "≈", "inconclusive": "?"}

MARKED = ("compact", "cramming", "narang")  # presets that show the verdict as a mark behind Δ
UNCOUNTED = ("cramming", "narang")  # presets without columns for n and p
MANY = 4  # notes of one kind that a table carries
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
    study: str = ""
    preset: str = "full"
    facts: Mapping[str, Any] = field(default_factory=dict)  # what the caption says, for checks

    def about(self) -> dict[str, Any]:
        """What `ablate verify` must know of an exported table to read it back."""
        return {
            "study": self.study, "preset": self.preset, "columns": [c.key for c in self.columns],
            "facts": dict(self.facts),
        }  # fmt: skip


@dataclass(frozen=True)
class Maker:
    """A column and what it shows of an arm; `scale` is the metric under which a reference score stands."""

    column: Column
    cell: Callable[[ArmFindings], Cell]
    scale: str = ""


def ablation_table(found: Findings, preset: str = "full", early: Mapping[str, float] | None = None) -> Table:
    """Baseline on top, then the arms by group, then reference scores for scale.

    `early` is the loss after an eighth of the budget, which only the preset `narang` shows and only curves
    know. Raises ValueError for an unknown preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"a table has the columns of {', '.join(PRESETS)}; got {preset!r}")
    makers = PRESETS[preset](found, early or {})
    rows = [_arm_row(arm, makers) for arm in found.arms]
    return Table(
        tuple(maker.column for maker in makers),
        (*_grouped(found, rows), *_scale(found, makers)),
        caption(found, preset),
        tuple(table_notes(found, preset, [maker.column.key for maker in makers])),
        found.name,
        preset,
        facts(found),
    )


def full(found: Findings, early: Mapping[str, float]) -> list[Maker]:
    """Everything: n, tokens, speed, loss, every task, averages, Δ with interval, adjusted p, verdict."""
    return [
        COUNTS,
        *([Maker(Column("tokens", "Tokens"), _tokens)] if TOKENS in found.metrics else []),
        *([Maker(Column("speed", "Tokens/s (Δ %)"), speed)] if SPEED in found.metrics else []),
        *(_metric(found, metric) for metric in score_columns(found)),
        *_decision(found),
    ]


def compact(found: Findings, early: Mapping[str, float]) -> list[Maker]:
    """What fits in one column of a paper: n, Δ with its interval and the verdict as a mark, adjusted p."""
    return [COUNTS, _marked_effect(found), Maker(Column("p", "adj. p"), _p)]


def cramming(found: Findings, early: Mapping[str, float]) -> list[Maker]:
    """The GLUE table of Geiping & Goldstein 2023: tasks in their order, MNLI as m/mm, the average, Δ."""
    tasks = sorted(names.tasks(found.metrics), key=_cramming_rank)
    pair = {"glue/mnli_m", "glue/mnli_mm"} <= set(tasks)
    made = [_mnli(found)] if pair else []
    made += [_metric(found, m) for m in tasks if not (pair and m.startswith("glue/mnli_m"))]
    made += [_metric(found, m) for m in found.metrics if names.is_score(m) and m.endswith("/average")]
    if found.outcome.metric not in {maker.column.key for maker in made}:
        made.append(_metric(found, found.outcome.metric))
    return [*made, _marked_effect(found)]


def narang(found: Findings, early: Mapping[str, float]) -> list[Maker]:
    """The columns of Narang et al. 2021: size, operations, speed, early and final loss, then the scores.

    Losses of the baseline carry their standard deviation over blocks, as there.
    """
    scores = [m for m in score_columns(found) if m != LOSS]
    scores.sort(key=lambda m: not m.endswith("/average"))
    final = _final_loss(found)
    return [
        Maker(Column("parameters", "Params"), _parameters),
        *([Maker(Column("operations", "FLOPs/token"), _operations)] if FLOPS in found.metrics else []),
        *([Maker(Column("steps", "Steps/s"), _steps)] if STEPS in found.metrics else []),
        *([Maker(Column("early", "Early loss"), lambda arm: _early(early.get(arm.name)))] if early else []),
        *([_metric(found, final, deviation=True, head="Final loss")] if final else []),
        *(_metric(found, m) for m in scores if m != final),
        _marked_effect(found),
    ]


def _final_loss(found: Findings) -> str | None:
    return next((m for m in (LOSS, "pretrain/loss") if m in found.metrics), None)


PRESETS: dict[str, Callable[[Findings, Mapping[str, float]], list[Maker]]] = {
    "full": full,
    "compact": compact,
    "cramming": cramming,
    "narang": narang,
}


def score_columns(found: Findings) -> list[str]:
    """Held-out loss, the tasks, their averages, and the outcome if it is none of them."""
    averages = [m for m in found.metrics if names.is_score(m) and m.endswith("/average")]
    shown = [m for m in (LOSS,) if m in found.metrics] + names.tasks(found.metrics) + averages
    return shown if found.outcome.metric in shown else [*shown, found.outcome.metric]


def _metric(found: Findings, metric: str, *, deviation: bool = False, head: str = "") -> Maker:
    places = _places(found, metric)
    return Maker(
        Column(metric, head or names.label(metric)),
        lambda arm: _score(found, arm, metric, places, deviation=deviation),
        metric,
    )


def _decision(found: Findings) -> list[Maker]:
    """Δ with its interval, adjusted p, verdict."""
    places = effect_places(found)
    return [
        Maker(_effect_column(found), lambda arm: effect_cell(arm.contrast, places)),
        Maker(Column("p", "adj. p"), _p),
        Maker(Column("verdict", "Verdict", numeric=False), lambda arm: Cell(verdict_text(arm.contrast))),
    ]


def _marked_effect(found: Findings) -> Maker:
    """Δ with its interval and the verdict as a mark."""
    places = effect_places(found)

    def cell(arm: ArmFindings) -> Cell:
        made = effect_cell(arm.contrast, places)
        mark = MARKS[arm.contrast.verdict] if arm.contrast else ""
        return replace(made, text=f"{made.text} {mark}".rstrip())

    return Maker(_effect_column(found), cell)


def _effect_column(found: Findings) -> Column:
    return Column("effect", f"Δ {found.outcome.label} [{100 * (1 - found.alpha):g} % CI]")


def _p(arm: ArmFindings) -> Cell:
    c = arm.contrast
    return Cell(numbers.p_value(c.adjusted_p), c.adjusted_p) if c else Cell(numbers.MISSING)


def _tokens(arm: ArmFindings) -> Cell:
    tokens = _mean(arm, TOKENS)
    return Cell(numbers.quantity(tokens), tokens)


def _parameters(arm: ArmFindings) -> Cell:
    count = None if arm.parameters is None else float(arm.parameters)
    return Cell(numbers.quantity(count), count)


def _operations(arm: ArmFindings) -> Cell:
    flops, tokens = _mean(arm, FLOPS), _mean(arm, TOKENS)
    per_token = flops / tokens if flops is not None and tokens else None
    return Cell(numbers.quantity(per_token), per_token)


def _steps(arm: ArmFindings) -> Cell:
    steps = _mean(arm, STEPS)
    seconds = [t.seconds for t in arm.trials if t.state == "complete"]
    total = math.fsum(seconds)
    rate = steps * len(seconds) / total if steps is not None and total else None
    return Cell(numbers.MISSING if rate is None else f"{rate:.3g}", rate)


def _early(loss: float | None) -> Cell:
    return Cell(numbers.number(loss, 3), loss)


def _mnli(found: Findings) -> Maker:
    """Both validation sets of MNLI in one column, as papers print them."""
    m, mm = (_metric(found, f"glue/mnli_{part}").cell for part in ("m", "mm"))
    return Maker(Column("glue/mnli", "MNLI"), lambda arm: _joined(m(arm), mm(arm)))


def _joined(first: Cell, second: Cell) -> Cell:
    text = first.text if first.value is None else f"{first.text}/{second.text}"
    return Cell(text, first.value)


def _cramming_rank(metric: str) -> tuple[int, str]:
    order = ("mnli_m", "mnli_mm", "sst2", "stsb", "rte", "qnli", "qqp", "mrpc", "cola")
    name = metric.partition("/")[2]
    return (order.index(name) if name in order else len(order), "" if name in order else metric)


def _places(found: Findings, metric: str) -> int:
    """Decimals of a column: by the standard errors of its arms' means."""
    errors = [arm.values[metric].se for arm in found.arms if metric in arm.values]
    return numbers.decimals(errors, default=1 if names.is_score(metric) else 3)


def effect_places(found: Findings) -> int:
    """Decimals of the effects on the outcome: by their own standard errors."""
    default = 1 if names.is_score(found.outcome.metric) else 3
    return numbers.decimals((c.effect.se for c in found.contrasts.values()), default=default)


def _arm_row(arm: ArmFindings, makers: Sequence[Maker]) -> Row:
    kind: Literal["baseline", "arm"] = "baseline" if arm.contrast is None else "arm"
    trials = tuple(t.id for t in arm.trials)
    verdict = arm.contrast.verdict if arm.contrast else ""
    return Row(kind, visible(arm.name), arm.name, tuple(maker.cell(arm) for maker in makers), trials, verdict)


def counts(arm: ArmFindings) -> str:
    """`5`, `4/5, div. (1)`: completed of planned, and what became of the others.

    Of an arm without any, the outcome's column says what became of them: `0/5`.
    """
    text = str(arm.completed) if arm.completed == arm.planned else f"{arm.completed}/{arm.planned}"
    return ", ".join([text, *failures(arm)]) if arm.completed else text


COUNTS = Maker(Column("n", "n", numeric=False), lambda arm: Cell(counts(arm), float(arm.completed)))


def failures(arm: ArmFindings) -> list[str]:
    """`div. (1)`, `out-of-memory (2)`, `pruned (1)`, `pending (1)`."""
    short = {"diverged": "div."}
    found = [f"{short.get(state, state)} ({n})" for state, n in sorted(arm.failures.items())]
    others = {"pruned": arm.pruned, "pending": arm.pending}
    return found + [f"{state} ({n})" for state, n in others.items() if n]


def speed(arm: ArmFindings) -> Cell:
    """Tokens per second and its change against the reference, which is what a wall-clock budget trades in."""
    mean = _mean(arm, SPEED)
    share = relative(arm, SPEED)
    text = numbers.quantity(mean, measured=True) + (
        f" ({numbers.percent(share)})" if share is not None else ""
    )
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


def _score(found: Findings, arm: ArmFindings, metric: str, places: int, *, deviation: bool = False) -> Cell:
    mean = _mean(arm, metric)
    if mean is None:
        return Cell(", ".join(failures(arm)) or numbers.MISSING)
    mark: Literal["", "bold", "underline"] = ""
    if metric == found.outcome.metric and arm.standing:
        mark = "bold" if arm.standing == "best" else "underline"
    text = numbers.number(mean, places)
    sd = arm.values[metric].sd
    if deviation and arm.contrast is None and sd is not None:
        text += f" ± {numbers.number(sd, places)}"
    return Cell(text, mean, mark)


def effect_cell(c: Contrast | None, places: int) -> Cell:
    """Δ with its interval; says so where there is none."""
    if c is None:
        return Cell("reference")
    e = c.effect
    if e.estimate is None:
        return Cell(numbers.MISSING)
    text = numbers.estimate(e.estimate, e.low, e.high, places)
    return Cell(text if e.low is not None else f"{text} (no interval)", e.estimate)


def verdict_text(c: Contrast | None) -> str:
    """The verdict, with the remark that a real difference may be too small to matter."""
    if c is None:
        return "baseline"
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
            yield Row("group", visible(group))
            for member in rows:
                if groups[member.arm] == group:
                    short = member.label.removeprefix(f"{visible(group)}=")
                    yield Row(
                        member.kind, short, member.arm, member.cells, member.trials, member.verdict, True
                    )


def _scale(found: Findings, makers: Sequence[Maker]) -> Iterable[Row]:
    """Scores of trivial systems, so that points mean something; nobody's verdict."""
    shown = [maker.scale for maker in makers if maker.scale]
    usable = {name: scores for name, scores in found.scale.items() if set(scores) & set(shown)}
    if usable:
        yield Row("group", FOR_SCALE)
    for name, scores in usable.items():
        scores = {**_averages(found, scores, shown), **scores}
        yield Row(
            "scale", name, "", tuple(_scale_cell(found, maker, scores) for maker in makers), indent=True
        )


def _scale_cell(found: Findings, maker: Maker, scores: Mapping[str, float]) -> Cell:
    if maker.column.key == "glue/mnli" and {"glue/mnli_m", "glue/mnli_mm"} <= set(scores):
        return Cell(f"{scores['glue/mnli_m']:.1f}/{scores['glue/mnli_mm']:.1f}", scores["glue/mnli_m"])
    if not maker.scale:
        return Cell(numbers.MISSING)
    score = scores.get(maker.scale)
    return Cell(numbers.number(score, min(_places(found, maker.scale), 1)), score)


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


def caption(found: Findings, preset: str = "full") -> str:
    """Everything a reader needs to judge the numbers without the text around them."""
    level = f"{100 * (1 - found.alpha):g}"
    unit = f" {found.outcome.unit}" if found.outcome.unit else ""
    done = [arm.completed for arm in found.arms]
    size = f"{found.blocks} {'blocks' if found.paired else 'trials'}"
    n = f"n = {size}" if set(done) == {found.blocks} else f"n ≤ {size}{_counted(preset)}"
    margin = f"margin ±{found.outcome.margin:g}{unit}" if found.outcome.margin else "no margin declared"
    against = "the arm before it" if found.design == "cumulative" else "the baseline"
    known = [name for name in found.provenance.hardware if name != NOT_RECORDED]
    hardware = "; ".join(known) or NOT_RECORDED
    better = "higher" if found.outcome.higher_is_better else "lower"
    tested = "Verdicts" if preset in UNCOUNTED else "adj. p"
    return (
        f"{found.title or found.name}. {found.question} "
        f"{_of_blocks(found, n)} "
        f"Δ: {found.outcome.label} ({found.outcome.metric}, {better} is better) of the arm minus that of "
        f"{against}, "
        f"{'mean within-block difference' if found.paired else 'difference of means'} with its {level} % "
        f"{interval(found)} (not corrected for multiplicity). "
        f"{tested}: {_test(found)}. "
        f"Equivalent: two one-sided t tests, {margin}, Holm in the same family. "
        + (f"{origin.DECLARED} " if found.imported else "")
        + f"{budget(found)} Hardware: {hardware}."
    )


def interval(found: Findings) -> str:
    """What kind of interval an effect on the outcome has."""
    if not found.paired:
        return "Welch t interval"
    return "t interval that holds at every look" if found.elastic else "t interval"


def _counted(preset: str) -> str:
    return "" if preset in UNCOUNTED else " (column n)"


def budget(found: Findings) -> str:
    """What a trial was given, as a sentence."""
    if found.budget == NOT_RECORDED:
        return "Budget not recorded."
    return f"Budget per trial {origin.budget(found)}."


def _of_blocks(found: Findings, n: str) -> str:
    if found.paired:
        shared = (
            origin.sharing(found) if found.imported else "a block's arms share seed, data order and masks"
        )
        return f"Means over blocks, {n}; {shared}."
    return f"Means over trials, {n}; {origin.sharing(found)}."


def _test(found: Findings) -> str:
    """The test behind the p-values, and over what they are corrected."""
    test = "paired t test" if found.paired else "Welch's t test"
    if found.elastic:
        test += f", sequential over {found.elastic['min']} to {found.elastic['max']} blocks"
    told = [f"{test}, Holm over the family of {len(found.family)}"]
    kinds = {arm.contrast.correction for arm in found.arms if arm.contrast and not arm.replicate}
    if "benjamini-hochberg" in kinds:
        told.append("Benjamini–Hochberg over the arms of the screen")
    if "none" in kinds:
        told.append("arms outside the family uncorrected")
    return "; ".join(told)


def table_notes(found: Findings, preset: str, columns: Collection[str]) -> list[str]:
    """What marks and columns of the table mean, and what must be known beside it."""
    notes = []
    if preset in MARKED:
        notes.append("↑: helps, ↓: hurts, ≈: equivalent within the margin, ?: inconclusive.")
    if preset == "narang":
        told = ["Early loss: training loss after an eighth of the budget."] if "early" in columns else []
        if final := _final_loss(found):
            over = "blocks" if found.paired else "trials"
            told += [f"±: standard deviation over {over}."] if final in columns else []
        notes += [" ".join(told)] if told else []
    if any(arm.standing == "best" for arm in found.arms):
        notes.append("Bold: significantly better than every other arm (Bonferroni over all pairs).")
    if any(arm.standing == "equivalent to the best" for arm in found.arms):
        notes.append("Underlined: equivalent to the best mean (Bonferroni over all pairs).")
    if preset not in MARKED and any(below_margin(c) for c in found.contrasts.values()):
        notes.append("*: the difference is real (adjusted p below α) but below the margin.")
    lost = [note for arm in found.arms for note in _lost(found, arm, preset)]
    if len(lost) > MANY:
        imputed = any(c.imputed for c in found.contrasts.values())
        where = "; intention-to-treat effects are in the CSV of this table" if imputed else ""
        lost = [f"{len(lost)} arms, or their references, lost or lack blocks{_counted(preset)}{where}."]
    return notes + lost + [f"Post hoc: {change}." for change in found.post_hoc]


def _lost(found: Findings, arm: ArmFindings, preset: str) -> list[str]:
    """The intention-to-treat line of an arm that lost or lacks a block, or whose reference does."""
    c = arm.contrast
    if c is None:
        return []
    # An imported run that is missing was never planned: nobody knows whether it failed or was left out.
    unsaid = found.imported or preset in UNCOUNTED
    short = unsaid and found.paired and 0 < c.effect.n < found.blocks
    if c.intention_to_treat is None and not short:
        return []
    complete = f"{visible(arm.name)}: {c.effect.n} complete {'pair(s)' if found.paired else 'trial(s)'}."
    if c.intention_to_treat is None or not c.imputed:  # nothing diverged: the line would repeat the effect
        return [complete]
    itt, places = c.intention_to_treat, effect_places(found)
    text = numbers.estimate(itt.estimate, itt.low, itt.high, places)
    return [
        f"{complete} Intention to treat (diverged = worst observed score, {c.imputed} imputed): Δ {text}."
    ]
