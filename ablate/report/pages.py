"""Writes the pages, tables and figures of a study; every file whole or not at all."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from pydantic_core import to_json

from ablate.analysis import metrics as names
from ablate.analysis.evidence import Curve
from ablate.analysis.findings import NOT_RECORDED, ArmFindings, Contrast, Findings, Mechanism
from ablate.analysis.paired import Effect
from ablate.records import StudyPaths, write_json
from ablate.records.store import write_bytes
from ablate.report import (
    behind,
    figures,
    format_table,
    formats,
    negative,
    numbers,
    origin,
    series,
    small,
    strips,
    tables,
)
from ablate.report.beside import Hands
from ablate.report.latex import latex

EXTENSIONS = {"latex": "tex", "markdown": "md", "csv": "csv", "html": "html"}
IN_PAGE = (
    "curves",
    "speed",
    "best-of-k",
    "pareto",
)  # figures that the page draws with plotly; the others are tables there


def write_pages(root: Path, found: Findings, curves: Mapping[str, Curve], hands: Hands) -> Path:
    """Everything below `<root>/report/`; the path of `report.html`. `curves` by trial.

    The figures for papers are whole when `hands` end.
    """
    folder = StudyPaths(root).report
    read = series.curves(found, curves)
    shown = (series.forest(found), series.heat(found), read, series.speeds(found))
    hands.draw(folder / "figures", found, shown)
    drawn = _figures(found, *shown)
    context = _context(found, list(drawn))
    facts = {"schema": 1, **found.to_dict()}
    write_json(folder / "findings.json", facts)
    write_json(folder / "negative-results.json", negative.to_json(found, context["negatives"]))
    for format, extension in EXTENSIONS.items():
        write_text(folder / "tables" / f"ablation.{extension}", format_table(found, format))
    trials = {arm.name: [t.id for t in arm.trials] for arm in found.arms}
    write_json(folder / "tables" / "ablation.trials.json", trials)
    _write_figures(folder / "figures", drawn)
    for name, rows in _behind(found, *shown[1:]).items():
        if name in drawn:
            write_text(folder / "figures" / f"{name}.csv", behind.csv_text(rows))
    _write_pictures(folder / "figures", found, context["negatives"])
    write_text(folder / "report.md", _render("report.md.j2", context))
    write_text(folder / "negative-results.md", _render("negative-results.md.j2", context))
    page = folder / "report.html"
    parts = {**_page_parts(found, drawn), "findings_json": Markup(_inert(_json(facts)))}
    write_text(page, _render("report.html.j2", {**context, **parts}))
    return page


def write_text(path: Path, text: str) -> None:
    """Atomic write of a UTF-8 text."""
    write_bytes(path, text.encode())


def _figures(
    found: Findings, bars: list[series.Bar], by_task: series.Heat | None, read: list[series.Curve],
    speeds: list[series.Pace],
) -> dict[str, figures.Figure]:  # fmt: skip
    """name → plotly figure, those without data left out."""
    drawn: dict[str, figures.Figure] = {}
    if bars:
        drawn["forest"] = figures.forest(found, bars)
    if by_task:
        drawn["tasks"] = figures.tasks(by_task)
    if read:
        drawn["curves"] = figures.curves(found, read)
    if speeds:
        drawn["speed"] = figures.speed(found, speeds)
    if _mechanisms(found):
        drawn["mechanism"] = figures.mechanism([(arm.name, m) for arm, m in _mechanisms(found)])
    if found.best_of_k:
        drawn["best-of-k"] = figures.best_of_k(found)
    if found.front:
        drawn["pareto"] = figures.pareto(found, found.front)
    return drawn


def _behind(
    found: Findings, by_task: series.Heat | None, read: list[series.Curve], speeds: list[series.Pace]
) -> dict[str, Iterable[behind.Row]]:  # fmt: skip
    """name → the rows behind the figure."""
    return {
        "forest": behind.forest(found),
        "tasks": behind.tasks(by_task) if by_task else (),
        "curves": behind.curves(read),
        "speed": behind.speed(speeds),
        "mechanism": behind.mechanism([(arm.name, m) for arm, m in _mechanisms(found)]),
        "best-of-k": behind.best_of_k(found),
        "pareto": behind.pareto(found.front) if found.front else (),
    }


def _context(found: Findings, drawn: list[str]) -> dict[str, Any]:
    """What every template sees."""
    table = tables.ablation_table(found)
    return {
        "f": found,
        "answer": found.answer,
        "level": f"{100 * (1 - found.alpha):g}",
        "table": table,
        "markdown_table": formats.markdown(table),
        "negatives": negative.negatives(found),
        "contrasts": [arm for arm in found.arms if arm.contrast],
        "split_md": _mechanisms(found),
        "figures": drawn,
        "unit_of_n": "blocks" if found.paired else "trials per arm",
        "searched": bool(found.importance or found.best_of_k or found.front),
        "warnings": found.warnings,
        "places": tables.effect_places(found),
        "secondary": _secondary(found),
        "odd": [(arm.name, t) for arm in found.arms for t in arm.trials if t.odd and t.state != "pruned"],
        "pruned": [t for arm in found.arms for t in arm.trials if t.state == "pruned"],
        "reproduce": negative.reproduce(found),
    }


def _secondary(found: Findings) -> dict[str, list[tuple[str, Any, int]]]:
    """metric → (arm, effect, decimals) for every metric that is not the outcome."""
    rows: dict[str, list[tuple[str, Any, int]]] = {}
    for metric in found.metrics:
        effects = [(arm, c.secondary[metric]) for arm, c in found.contrasts.items() if metric in c.secondary]
        default = 1 if names.is_score(metric) else 3
        places = numbers.decimals((e.se for _, e in effects), default=default)
        if effects:
            rows[metric] = [(arm, e, places) for arm, e in effects]
    return rows


def _page_parts(found: Findings, drawn: Mapping[str, figures.Figure]) -> dict[str, Any]:
    """What only the page needs: strips, heat map, tiles, figures and the one copy of plotly.js."""
    bars = series.forest(found)
    axis = strips.axis(found, bars)
    shown = {name: figure for name, figure in drawn.items() if name in IN_PAGE}
    others = [m for m in found.metrics if not names.is_score(m) and m != found.outcome.metric]
    table = tables.ablation_table(found)
    return {
        "answer": _coloured(found.answer),
        "axis": axis,
        "scale": Markup(strips.scale(axis)),
        "strips": [_strip(found, bar, axis) for bar in bars],
        "absent": [(_number(found, arm), arm, why) for arm, why in series.absent(found).items()],
        "heat": series.heat(found),
        "split": _split(found),
        "terms": _terms(found),
        "others": others,
        "secondary_places": {m: _column_places(found, m) for m in others},
        "tally": _tally(found),
        "glance": _glance(found),
        "table_element": Markup(formats.table_element(table)),
        "table_notes": Markup(formats.html_notes(table)),
        "plotly": Markup(_script(figures.library())) if shown else "",
        "figure_json": {name: Markup(_inert(_json(figure))) for name, figure in shown.items()},
    }


def _coloured(answer: str) -> Markup:
    """The answer with its verdicts in their colours."""
    of = {"help": "helps", "hurt": "hurts"}
    return Markup(
        re.sub(
            r"(?<= )(helps?|hurts?|equivalent|inconclusive)(?=[ ;.]|$)",
            lambda found: f'<b class="{of.get(found[1], found[1])}">{found[1]}</b>',
            str(escape(answer)),
        )
    )


def _strip(found: Findings, bar: series.Bar, axis: strips.Axis) -> dict[str, Any]:
    contrast = found.contrasts[bar.arm]
    return {
        "bar": bar, "contrast": contrast, "svg": Markup(strips.strip(found, bar, axis)),
        "beyond": strips.beyond(bar, axis), "below": tables.below_margin(contrast),
        "number": _number(found, bar.arm),
    }  # fmt: skip


def _number(found: Findings, arm: str) -> int:
    """By which the rows of the forest plot link to an arm's details."""
    return list(found.contrasts).index(arm) + 1


def _split(found: Findings) -> dict[str, Any] | None:
    """The mechanism split of every arm that has one, on one axis."""
    rows = [(arm, m) for arm, m in _mechanisms(found) if m.equal_time.estimate is not None]
    if not rows:
        return None
    effects = [e for _, m in rows for e in (m.equal_time, m.equal_tokens, m.speed)]
    ends = [v for e in effects for v in (e.estimate, e.low, e.high) if v is not None]
    axis = strips.span(ends)
    notes = list(dict.fromkeys(m.note for _, m in rows if m.note))
    return {
        "rows": [(arm, m, Markup(strips.split(m, axis))) for arm, m in rows],
        "marks": {note: ascii_lowercase[i] for i, note in enumerate(notes)},
        "scale": Markup(strips.scale(axis)),
        "places": numbers.decimals((e.se for e in effects), default=3),
        "metric": rows[0][1].metric,
    }


def _mechanisms(found: Findings) -> list[tuple[ArmFindings, Mechanism]]:
    return [(arm, arm.contrast.mechanism) for arm in found.arms if arm.contrast and arm.contrast.mechanism]


def _terms(found: Findings) -> dict[str, Any] | None:
    """The terms of a factorial model on one axis, the margin shaded."""
    terms = found.interactions.terms if found.interactions else ()
    if not terms:
        return None
    bars = [series.Bar(t.name, t.estimate, t.low, t.high, "", ()) for t in terms]
    axis = replace(strips.axis(found, bars), near=None)
    return {
        "rows": [(t, Markup(strips.strip(found, bar, axis))) for t, bar in zip(terms, bars, strict=True)],
        "scale": Markup(strips.scale(axis)),
        "places": numbers.decimals(((t.high - t.low) / 4 for t in terms), default=2),
    }


def _column_places(found: Findings, metric: str) -> int:
    return numbers.decimals((a.values[metric].se for a in found.arms if metric in a.values), default=3)


def _tally(found: Findings) -> dict[str, int]:
    """verdict → arms, those that occur."""
    counts = Counter(c.verdict for c in found.contrasts.values())
    return {v: counts[v] for v in ("helps", "hurts", "equivalent", "inconclusive") if counts[v]}


def _glance(found: Findings) -> list[tuple[str, str, str]]:
    """The study in six numbers: term, value, remark."""
    planned, done = sum(a.planned for a in found.arms), sum(a.completed for a in found.arms)
    unit = f" {found.outcome.unit}" if found.outcome.unit else ""
    seen = sorted(c.resolvable for c in found.contrasts.values() if c.resolvable)
    places = tables.effect_places(found)
    lost, pruned = sum(a.lost for a in found.arms), sum(a.pruned for a in found.arms)
    left = [f"{lost} failed"] if lost else [] if pruned else ["none failed"]
    left += [f"{pruned} pruned"] if pruned else []
    resolvable = f"{numbers.number(seen[len(seen) // 2], places)}{unit}" if seen else numbers.MISSING
    margin = f"±{found.outcome.margin:g}{unit}" if found.outcome.margin else "not declared"
    tokens = f"{origin.tokens(found)} tokens" if found.cost.tokens or not found.imported else ""
    design = found.design if found.budget == NOT_RECORDED else f"{found.design}, {found.budget} each"
    spent = found.cost.occupied_seconds or found.cost.charged_seconds
    return [
        ("Trials complete", f"{done} of {planned}", ", ".join(left)),
        ("Arms × blocks" if found.paired else "Arms × trials", origin.size(found, "×"), design),
        ("Margin", margin, "what would not matter"),
        ("Resolvable effect", resolvable, "median arm, 80 % power"),
        ("Spent", numbers.duration(spent) if spent or not found.imported else numbers.MISSING, tokens),
        ("Hardware", *_hardware(found)),
    ]


def _hardware(found: Findings) -> tuple[str, str]:
    """The machine and, after its comma, its cores; or how many kinds there were.

    A trial that was ended from outside (pruned, killed) has noted none.
    """
    machines = [known for known in found.provenance.hardware if known != NOT_RECORDED]
    if len(machines) != 1:
        return (f"{len(machines)} kinds", "see provenance") if machines else (numbers.MISSING, "")
    name, _, cores = machines[0].replace("(R)", "").partition(", ")
    return name, cores


def _value(value: float | None, metric: str, places: int) -> str:
    return numbers.quantity(value) if numbers.prefixed(metric) else numbers.number(value, places)


def _difference(e: Effect, metric: str, places: int) -> str:
    """Δ [CI] in the metric's own unit."""
    if not numbers.prefixed(metric) or e.estimate is None:
        return numbers.estimate(e.estimate, e.low, e.high, places)
    signed = [("+" if x > 0 else "") + numbers.quantity(x).replace("-", numbers.MINUS)
              for x in (e.estimate, e.low, e.high) if x is not None]  # fmt: skip
    return f"{signed[0]} [{signed[1]}, {signed[2]}]" if len(signed) == 3 else signed[0]


def _to_settle(c: Contrast) -> str:
    """How many blocks an open arm needs; a verdict that stands needs none."""
    return str(c.blocks_needed or numbers.MISSING) if c.verdict == "inconclusive" else "settled"


def _json(value: Any) -> str:
    """Compact JSON; Findings hold no number that JSON does not know."""
    return to_json(value).decode()


def _inert(json_text: str) -> str:
    """JSON without any character that could open or close an element."""
    return json_text.replace("<", "\\u003c")


def _script(code: str) -> str:
    """Our own program text, kept from ending the script element it stands in."""
    return code.replace("</script", "<\\/script")


def _write_figures(folder: Path, drawn: Mapping[str, figures.Figure]) -> None:
    """Figures as pages of their own that share one plotly.js beside them, and as plotly JSON."""
    if not drawn:
        return
    write_text(folder / "plotly.min.js", figures.library())
    for name, figure in drawn.items():
        text = _json(figure)
        write_text(folder / f"{name}.json", text)
        write_text(
            folder / f"{name}.html", _render("figure.html.j2", {"name": name, "figure": Markup(_inert(text))})
        )


def _write_pictures(folder: Path, found: Findings, items: Iterable[negative.Negative]) -> None:
    """One for each negative result; those of an earlier report go."""
    for old in folder.glob("negative-*.svg"):
        old.unlink()
    for item in items:
        write_text(folder / item.picture, small.forest(found, item.arm, item.contrast))


def _render(template: str, context: Mapping[str, Any]) -> str:
    return _environment(template.endswith(".html.j2")).get_template(template).render(context)


@functools.cache  # a template is compiled once, however many pages include it
def _environment(html: bool) -> Environment:
    env = Environment(
        loader=PackageLoader("ablate.report"), autoescape=html, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    env.globals |= {"zip": zip, "origin": origin}
    env.filters |= {
        "number": numbers.number, "p": numbers.p_value, "quantity": numbers.quantity,
        "duration": numbers.duration, "label": names.label, "unit": names.unit, "percent": numbers.percent,
        "signed": lambda value, places: numbers.number(value, places, sign=True),
        "value": _value, "difference": _difference,
        "estimate": lambda e, places: numbers.estimate(e.estimate, e.low, e.high, places),
        "changes": negative.changes, "md": negative.markdown, "failures": tables.failures, "latex": latex,
        "breakable": formats.breakable, "to_settle": _to_settle,
    }  # fmt: skip
    return env
