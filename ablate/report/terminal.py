"""The ablation table for a terminal of 100 columns."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from ablate.analysis.findings import Findings
from ablate.report.numbers import MISSING
from ablate.report.origin import DECLARED
from ablate.report.tables import FOR_SCALE, Row, Table, ablation_table

STYLES = {"helps": "bold green", "hurts": "bold red", "equivalent": "cyan", "inconclusive": "yellow"}


def render_terminal(found: Findings) -> RenderableType:
    """The answer, the table with one line per arm, and what to be careful about."""
    table = ablation_table(found)
    parts: list[RenderableType] = [Text(found.question, style="bold"), Text(found.answer), Text()]
    parts.append(_table(found, table))
    parts += [Text(note, style="dim") for note in (*table.notes, *([DECLARED] if found.imported else []))]
    parts += [Text(f"! {warning}", style="yellow") for warning in found.warnings]
    return Group(*parts)


def _table(found: Findings, table: Table) -> RichTable:
    columns = {c.key: (i, c) for i, c in enumerate(table.columns)}
    averages = {key: "" for key in columns if key.endswith("/average")}
    keys = {
        "n": "n", "speed": "Tok/s (Δ %)", **averages, found.outcome.metric: "", "effect": "Δ [CI]",
        "p": "adj. p", "verdict": "Verdict",
    }  # fmt: skip
    measured = [columns[key][0] for key in (*averages, found.outcome.metric) if key in columns]
    rich = RichTable(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    rich.add_column("Variant", overflow="fold", max_width=40)
    shown = [key for key in keys if key in columns]
    for key in shown:
        column = columns[key][1]
        rich.add_column(
            keys[key] or column.head,
            justify="left" if key in ("n", "verdict") else "right",
            no_wrap=key in ("effect", "p", "verdict", "speed"),
            max_width=9 if key in ("n", found.outcome.metric, *averages) else None,
        )
    for row in _worth_showing(table, measured):
        rich.add_row(_label(row), *(_cell(row, columns[key][0]) for key in shown))
    return rich


def _worth_showing(table: Table, measured: list[int]) -> list[Row]:
    """The rows, less reference scores that none of the columns shown here has."""
    scale = [row for row in table.rows if row.kind == "scale"]
    if any(row.cells[i].text != MISSING for row in scale for i in measured):
        return list(table.rows)
    return [row for row in table.rows if row.kind != "scale" and row.label != FOR_SCALE]


def _label(row: Row) -> Text:
    style = {"baseline": "bold", "group": "italic dim", "scale": "dim"}.get(row.kind, "")
    return Text(("  " if row.indent else "") + row.label, style=style)


def _cell(row: Row, index: int) -> Text:
    if row.kind == "group":
        return Text("")
    cell = row.cells[index]
    last = index == len(row.cells) - 1
    style = (
        STYLES.get(row.verdict, "") if last else {"bold": "bold", "underline": "underline"}.get(cell.mark, "")
    )
    return Text(cell.text, style="dim" if row.kind == "scale" else style)
