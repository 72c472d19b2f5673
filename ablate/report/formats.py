"""The ablation table in Markdown, CSV and HTML (LaTeX has its own file)."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from typing import Any

from markupsafe import Markup, escape

from ablate.analysis.findings import ArmFindings, Findings
from ablate.report.tables import SPEED, TOKENS, Cell, Row, Table
from ablate.report.visible import in_markdown, one_line, visible


def markdown(table: Table) -> str:
    """A pipe table; caption and notes around it, the trial ids behind each row in a comment."""
    heads = ["Variant", *(c.head for c in table.columns)]
    rules = [":--", *("--:" if c.numeric else ":--" for c in table.columns)]
    lines = [_pipe(heads), _pipe(rules)]
    lines += [_pipe([_md_label(row), *_md_cells(row, len(table.columns))]) for row in table.rows]
    notes = [f"- {_escaped(note)}" for note in table.notes]
    behind = [visible(f"{row.arm}: {' '.join(row.trials)}") for row in table.rows if row.trials]
    about = json.dumps(table.about(), ensure_ascii=False)
    comment = "<!-- ablate " + "\n".join([about, *behind]).replace("--", "- -") + "\n-->"
    return (
        "\n".join(
            [f"**{_escaped(table.caption)}**", "", *lines, "", *notes, *([""] if notes else []), comment]
        )
        + "\n"
    )


def _pipe(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    """A table's text; an ampersand that begins no entity stays, for people read a table's source, too."""
    return in_markdown(one_line(text), "\\|*", ampersand=r"&(?=#?\w+;)")


def _md_label(row: Row) -> str:
    label = _escaped(row.label)
    return {"baseline": f"**{label}**", "group": f"*{label}*", "scale": f"*{label}*"}.get(row.kind, label)


def _md_cells(row: Row, width: int) -> list[str]:
    if row.kind == "group":
        return [""] * width
    return [_md_mark(cell) for cell in row.cells]


def _md_mark(cell: Cell) -> str:
    text = _escaped(cell.text)
    return {"bold": f"**{text}**", "underline": f"<u>{text}</u>"}.get(cell.mark, text)


def html_table(table: Table) -> str:
    """The table with its caption and notes, to be pasted anywhere."""
    caption = f"<p class=caption>{html.escape(table.caption)}</p>\n"
    return table_element(table) + caption + html_notes(table)


def html_notes(table: Table) -> str:
    """The notes below a table; empty when there are none."""
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    return f'<ul class="notes">{notes}</ul>\n' if notes else ""


def breakable(name: str) -> Markup:
    """An arm's name as HTML that a narrow column may break between its words, not within them."""
    return Markup(re.sub(r"([._=,+])", r"\1<wbr>", str(escape(name))))


def table_element(table: Table) -> str:
    """The `<table>` alone, with the numbers behind the text in `data-value`, for sorting."""
    e = html.escape
    heads = "".join(
        f'<th scope="col"{" class=num" if c.numeric else ""} data-key="{e(c.key)}">{e(c.head)}</th>'
        for c in table.columns
    )
    body = "\n".join(_tr(row, table) for row in table.rows)
    about = e(json.dumps(table.about(), ensure_ascii=False))
    return (
        f'<table class="ablation sortable" data-ablate="{about}">\n'
        f'<thead><tr><th scope="col" data-key="variant">Variant</th>{heads}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table>\n"
    )


def _tr(row: Row, table: Table) -> str:
    e = html.escape
    if row.kind == "group":
        span = len(table.columns) + 1
        return f'<tr class="group"><th scope="rowgroup" colspan="{span}"><i>{e(row.label)}</i></th></tr>'
    cells = "".join(
        _td(cell, column.numeric, column.key, row)
        for cell, column in zip(row.cells, table.columns, strict=True)
    )
    classes = f"{row.kind}{' indent' if row.indent else ''}"
    title = f' title="trials: {e(" ".join(row.trials))}"' if row.trials else ""
    name = f' data-arm="{e(row.arm)}"' if row.arm else f' data-scale="{e(row.label)}"'
    return f'<tr class="{classes}"{name}{title}><th scope="row">{breakable(row.label)}</th>{cells}</tr>'


def _td(cell: Cell, numeric: bool, key: str, row: Row) -> str:
    text = html.escape(cell.text)
    text = {"bold": f"<b>{text}</b>", "underline": f"<u>{text}</u>"}.get(cell.mark, text)
    if key == "verdict" and row.verdict:
        text = f'<span class="verdict {row.verdict}">{text}</span>'
    value = "" if cell.value is None else f' data-value="{cell.value!r}"'
    return f"<td{' class=num' if numeric else ''}{value}>{text}</td>"


def csv_table(found: Findings) -> str:
    """One line per arm, numbers unrounded, names for machines."""
    return _csv([_csv_row(found, arm) for arm in found.arms])


def csv_preset(found: Findings, table: Table) -> str:
    """The quantities that a preset shows, one line per arm, for machines: unrounded numbers or nothing.

    Names are those of the file of all columns (`csv_table`). Interval and verdict stand beside the effect.
    """
    return _csv([
        {"arm": row.arm, **_csv_cells(found, found.arm(row.arm), table, row), "trials": " ".join(row.trials)}
        for row in table.rows if row.arm
    ])  # fmt: skip


def _csv_cells(found: Findings, arm: ArmFindings, table: Table, row: Row) -> dict[str, Any]:
    all_columns = _csv_row(found, arm)
    values: dict[str, Any] = {}
    for column, cell in zip(table.columns, row.cells, strict=True):
        for key in CSV_COLUMNS.get(column.key, (column.key,)):
            values[key] = all_columns.get(key, cell.value)
    # The verdict comes last, as in a table that has a column for it.
    return {**{key: v for key, v in values.items() if key != "verdict"}, "verdict": all_columns["verdict"]}


# What a column for people is for machines, where that is more than one number or has another name.
CSV_COLUMNS = {
    "n": ("planned", "n", "failures"),
    "glue/mnli": ("glue/mnli_m", "glue/mnli_mm"),
    "speed": (SPEED,),
    "tokens": (TOKENS,),
    "effect": ("effect", "low", "high"),
    "p": ("adjusted_p",),  # `p` is the uncorrected one there
}


def _csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else ["arm"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _csv_row(found: Findings, arm: ArmFindings) -> dict[str, Any]:
    row: dict[str, Any] = {
        "arm": arm.name, "group": arm.group or "",
        "reference": arm.contrast.reference if arm.contrast else "",
        "planned": arm.planned, "n": arm.completed, "pending": arm.pending, "parameters": arm.parameters,
        "failures": "; ".join(f"{state}={n}" for state, n in sorted(arm.failures.items())),
    }  # fmt: skip
    for metric in found.metrics:
        value = arm.values.get(metric)
        row[metric] = value.mean if value else None
        row[f"{metric} (se)"] = value.se if value else None
    return {**row, **_csv_contrast(found, arm), "trials": " ".join(t.id for t in arm.trials)}


def _csv_contrast(found: Findings, arm: ArmFindings) -> dict[str, Any]:
    c = arm.contrast
    e, tost = (c.effect, c.equivalence) if c else (None, None)
    itt = c.intention_to_treat if c else None
    return {
        "outcome": found.outcome.metric, "effect": e and e.estimate, "low": e and e.low, "high": e and e.high,
        "pairs": e and e.n, "p": e and e.p, "adjusted_p": c and c.adjusted_p,
        "sign_flip_p": e and e.sign_flip_p,
        "correlation": e and e.correlation, "margin": found.outcome.margin,
        "tost_p": tost and tost.p, "tost_adjusted_p": c and c.adjusted_equivalence_p,
        "tost_low": tost and tost.low, "tost_high": tost and tost.high,
        "resolvable": c and c.resolvable, "blocks_needed": c and c.blocks_needed,
        "itt_effect": itt and itt.estimate, "itt_low": itt and itt.low, "itt_high": itt and itt.high,
        "verdict": c.verdict if c else "baseline", "reason": c.reason if c else "",
    }  # fmt: skip
