"""A bench report for people: a terminal table, Markdown for a page, and a figure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ablate.bench.training import Report, Row

HEADS = (
    "", "parameters", "tokens/s", "tokens/CPU-s", "±", "model TFLOP/s", "of product", "forward", "backward",
    "update", "first step", "speed", "per FLOP",
)  # fmt: skip


def cells(row: Row) -> tuple[str, ...]:
    """One row as text, in the order of HEADS."""
    return (
        row.name,
        f"{row.parameters / 1e6:.2f} M",
        f"{row.tokens_per_second:,.0f}",
        f"{row.tokens_per_cpu_second:,.0f}",
        f"{row.spread:.1%}",
        f"{row.flops_per_second / 1e12:.3f}",
        f"{row.mfu:.1%}",
        *(f"{seconds * 1e3:.0f} ms" for seconds in (row.forward, row.backward, row.optimizer)),
        f"{row.first_step_seconds:.1f} s",
        f"{row.relative:.2f}",
        f"{row.relative_per_flop:.2f}",
    )


def _facts(report: Report) -> list[str]:
    clock = "CPU seconds" if report.clock == "cpu" else "wall seconds"
    product = f"{report.product_flops_per_second / 1e12:.3f} TFLOP/s"
    return [
        f"{report.recipe}, {report.precision}, micro-batch {report.micro_batch} × {report.length}, "
        f"vocabulary {report.vocabulary}; {report.device}, {threads(report.threads)}, "
        f"load {report.load[0]:g}; medians of {report.rounds} interleaved rounds of {report.steps} steps, "
        f"{clock}.",
        f"Matrix product in the same run: {product}. Peak memory, ours alone: "
        f"{report.peak_memory_gib:.2f} GiB. Speed and per FLOP: against our fastest.",
        report.convention[0].upper() + report.convention[1:] + ".",
        *(f"Left out: {line}" for line in report.left_out),
    ]


def terminal(report: Report) -> RenderableType:
    """For a wide terminal."""
    table = printed(HEADS, map(cells, report.rows))
    return Group(table, *(Text(fact, style="dim") for fact in _facts(report)))


def threads(count: int) -> str:
    """In words."""
    return f"{count} thread{'s' if count > 1 else ''}"


def printed(heads: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> Table:
    """For a terminal; names left, numbers right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, head in enumerate(heads):
        table.add_column(head, justify="left" if i == 0 else "right", no_wrap=i > 0)
    for row in rows:
        table.add_row(*row)
    return table


def marked(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The same as lines of Markdown."""
    lines = ["| " + " | ".join(heads) + " |", "|" + " :-- |" + " --: |" * (len(heads) - 1)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows)]


def markdown(report: Report) -> str:
    """For docs/performance.md."""
    lines = [f"`{report.command}` ({report.provenance['hardware']['cpu']}, {report.date})", ""]
    lines += marked(HEADS, map(cells, report.rows))
    return "\n".join([*lines, "", *_facts(report)]) + "\n"


def write(report: Report, folder: Path) -> None:
    """bench.json, bench.md and bench.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n")
    (folder / "bench.md").write_text(markdown(report))
    (folder / "bench.svg").write_text(figure(report))


def figure(report: Report) -> str:
    """Bars of tokens per second on the report's clock, as an SVG that reads on light and on dark."""
    name = "tokens per CPU-second" if report.clock == "cpu" else "tokens per second"
    values = [r.tokens_per_cpu_second if report.clock == "cpu" else r.tokens_per_second for r in report.rows]
    height, left, wide = 26, 300, 380
    parts = [f"<title>{escape(report.recipe)}: {name}</title>"]
    for i, (row, value) in enumerate(zip(report.rows, values, strict=True)):
        y = 12 + i * height
        width = round(wide * value / max(values), 1)
        colour = "#0072b2" if row.name.startswith("ablate") else "#6e7781"
        parts.append(
            f'<text x="{left - 8}" y="{y + 13}" text-anchor="end" fill="#6e7781">{escape(row.name)}</text>'
        )
        parts.append(f'<rect x="{left}" y="{y}" width="{width}" height="{height - 8}" fill="{colour}"/>')
        parts.append(f'<text x="{left + width + 6}" y="{y + 13}" fill="#6e7781">{value:,.0f}</text>')
    bottom = 12 + len(values) * height
    parts.append(f'<text x="{left}" y="{bottom + 16}" fill="#6e7781">{name}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {bottom + 26}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12">\n' + "\n".join(parts) + "\n</svg>\n"
    )
