r"""The ablation table in LaTeX: booktabs, siunitx, threeparttable.

One file serves both ways: `\input` it in a paper, or compile it alone. Inside a document `\@nodocument`
is `\relax`; before `\begin{document}` it is not, and then the file brings its own preamble.
"""

from __future__ import annotations

import re

from ablate.report.numbers import MINUS
from ablate.report.tables import Cell, Column, Row, Table

PACKAGES = r"\usepackage{booktabs}\usepackage{siunitx}\usepackage{threeparttable}"
# A table with many tasks shrinks to the line; graphicx belongs to every LaTeX.
SHRINK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"
_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "–": "--", "…": r"\ldots{}", "·": r"\textperiodcentered{}",
    MINUS: r"\ensuremath{-}", "Δ": r"\ensuremath{\Delta}", "±": r"\ensuremath{\pm}", "\u202f": r"\,",
    "≤": r"\ensuremath{\leq}", "α": r"\ensuremath{\alpha}", "σ": r"\ensuremath{\sigma}",
    "×": r"\ensuremath{\times}", "→": r"\ensuremath{\to}",
}  # fmt: skip


def escape(text: str) -> str:
    """Plain text as LaTeX text; characters that pdflatex does not know become `?`."""
    out = (_SPECIAL.get(c, c if ord(c) < 0x180 else "?") for c in text)
    return re.sub(r"(\d) \\%", r"\1\\,\\%", "".join(out))


def latex(table: Table, *, label: str = "tab:ablation") -> str:
    """The table as a file that is input or compiled alone."""
    wide = len(table.columns) > 8
    packages = PACKAGES + ("\\usepackage{graphicx}" if wide else "")
    behind = "".join(f"%   {row.arm}: {' '.join(row.trials)}\n" for row in table.rows if row.trials)
    return "".join(
        [
            f"% Input this file in a document with {packages}\n",
            "% or compile it alone. Trials behind each row:\n",
            behind,
            _opening(wide, packages),
            _environment(table, label, wide),
            _closing(),
        ]
    )


def _opening(wide: bool, packages: str) -> str:
    paper = "landscape,margin=1.2cm" if wide else "margin=2cm"
    return (
        "\\makeatletter\n\\ifx\\@nodocument\\relax\\else\n"
        "\\def\\ablatealone{}\n\\documentclass[10pt]{article}\n"
        f"\\usepackage[{paper}]{{geometry}}\n{packages}\n"
        "\\pagestyle{empty}\n\\begin{document}\n\\fi\n\\makeatother\n"
    )


def _closing() -> str:
    end = "\\def\\ablateend{\\end{document}}"
    return f"\\ifdefined\\ablatealone{end}\\else\\let\\ablateend\\relax\\fi\n\\ablateend\n"


def _environment(table: Table, label: str, wide: bool) -> str:
    size = "\\scriptsize\\setlength{\\tabcolsep}{3pt}" if wide else "\\small"
    kinds = [_kind(table, i) for i in range(len(table.columns))]
    heads = " & ".join(_head(c, k) for c, k in zip(table.columns, kinds, strict=True))
    body = "".join(_row(row, kinds, table) for row in table.rows)
    items = "".join(f"\\item {escape(note)}\n" for note in table.notes)
    notes = f"\\begin{{tablenotes}}\\footnotesize\n{items}\\end{{tablenotes}}\n" if items else ""
    shrink, end = (f"{SHRINK}%\n", "}") if wide else ("", "")
    return (
        f"\\begin{{table}}[htbp]\n\\centering{size}\n{shrink}\\begin{{threeparttable}}\n"
        f"\\caption{{{escape(table.caption)}}}\n\\label{{{label}}}\n"
        f"\\begin{{tabular}}{{@{{}}l{''.join(k for k in kinds)}@{{}}}}\n\\toprule\n"
        f"Variant & {heads} \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"
        f"{notes}\\end{{threeparttable}}{end}\n\\end{{table}}\n"
    )


def _kind(table: Table, index: int) -> str:
    """An `S` column where entries are plain numbers, so that siunitx aligns the points; else `l` or `r`."""
    column: Column = table.columns[index]
    cells = [row.cells[index] for row in table.rows if row.cells]
    numbers = [_plain(cell.text) for cell in cells if _plain(cell.text)]
    if column.numeric and column.key in ("effect", "p", "tokens", "speed"):
        return "r"
    if not column.numeric or not numbers:
        return "l"
    whole = max(len(n.lstrip("-").split(".")[0]) for n in numbers)
    part = max(len((n + ".").split(".")[1]) for n in numbers)
    sign = "-" if any(n.startswith("-") for n in numbers) else ""
    return f"S[table-format={sign}{whole}.{part},detect-weight,mode=text]"


def _plain(text: str) -> str:
    """The text as a number that siunitx reads, or nothing."""
    text = text.replace(MINUS, "-").replace("\u202f", "")
    return text if re.fullmatch(r"-?\d+(\.\d+)?", text) else ""


def _head(column: Column, kind: str) -> str:
    head = escape(column.head)
    return f"{{{head}}}" if kind.startswith("S") else head


def _row(row: Row, kinds: list[str], table: Table) -> str:
    if row.kind == "group":
        span = f"\\multicolumn{{{len(kinds) + 1}}}{{@{{}}l}}"
        return f"\\addlinespace\n{span}{{\\textit{{{escape(row.label)}}}}} \\\\\n"
    label = ("\\quad " if row.indent else "") + escape(row.label)
    cells = " & ".join(_cell(cell, kind) for cell, kind in zip(row.cells, kinds, strict=True))
    rule = "\\midrule\n" if row.kind == "baseline" else ""
    return f"{label} & {cells} \\\\\n{rule}"


def _cell(cell: Cell, kind: str) -> str:
    plain = _plain(cell.text)
    if not kind.startswith("S"):
        return _marked(cell, escape(cell.text))
    if not plain:
        return f"{{{escape(cell.text)}}}"
    # siunitx would misread \underline before a number: braces take the cell out of alignment, digits stay.
    if cell.mark == "underline":
        return f"{{\\underline{{{plain}}}}}"
    return f"\\bfseries {plain}" if cell.mark == "bold" else plain


def _marked(cell: Cell, text: str) -> str:
    return {"bold": f"\\textbf{{{text}}}", "underline": f"\\underline{{{text}}}"}.get(cell.mark, text)
