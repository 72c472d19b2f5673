r"""The ablation table in LaTeX: booktabs, siunitx, threeparttable.

One file serves both ways: `\input` it in a paper, or compile it alone. Inside a document `\@nodocument`
is `\relax`; before `\begin{document}` it is not, and then the file brings its own preamble.

A table longer than a page becomes several floats, as a float breaks nowhere and `longtable` is refused in
papers of two columns: the later ones keep the table's number and say "(continued)".

Comments carry what a later check needs: `% ablate {…}` opens a table and names study, preset, columns and the
facts of the caption; `% ablate row "ARM"` or `% ablate scale "NAME"` ends the line of a row. Labels, order
and prose around them may be edited freely.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ablate.report.numbers import MINUS
from ablate.report.tables import Cell, Column, Row, Table
from ablate.report.visible import one_line, visible

PACKAGES = r"\usepackage{booktabs}\usepackage{siunitx}\usepackage{threeparttable}\usepackage{graphicx}"
# A tabular wider than the line shrinks to it; caption and notes keep their size.
SHRINK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{\usebox{\ablatebox}}"
WIDE = 6  # more columns than this span both columns of a paper
TABLE, ROW, SCALE = "% ablate ", "% ablate row ", "% ablate scale "
# A float must fit a page. In points: the text of a page of `article` is 528 to 595 high, lines of a table and
# of its caption are 9.5 and 12 apart at 10 pt, a tenth more at 11 pt. Last: characters in a line of it.
PAGE, LINE, CAPTION_LINE, NARROW_LINE, WIDE_LINE = 530, 10.5, 13.2, 48, 80
_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "–": "--", "…": r"\ldots{}", "·": r"\textperiodcentered{}",
    MINUS: r"\ensuremath{-}", "Δ": r"\ensuremath{\Delta}", "±": r"\ensuremath{\pm}", "\u202f": r"\,",
    "’": "'", "‘": "`", "”": "''", "“": "``", "—": "---", "≥": r"\ensuremath{\geq}",
    "≤": r"\ensuremath{\leq}", "α": r"\ensuremath{\alpha}", "σ": r"\ensuremath{\sigma}",
    "×": r"\ensuremath{\times}", "→": r"\ensuremath{\to}", "↑": r"\ensuremath{\uparrow}",
    "↓": r"\ensuremath{\downarrow}", "≈": r"\ensuremath{\approx}",
}  # fmt: skip


_GREEK = (
    "beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho tau upsilon phi chi psi omega "
    "Gamma Theta Lambda Xi Pi Sigma Phi Psi Omega"
)
_SPECIAL |= {
    letter: rf"\ensuremath{{\{name}}}"
    for letter, name in zip("βγδεζηθικλμνξπρτυφχψωΓΘΛΞΠΣΦΨΩ", _GREEK.split(), strict=True)
}
# Below U+0180, but stops pdflatex: not in the encoding OT1, which is a document's without `fontenc`.
_NOT_OT1 = frozenset("«»ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲųſ")


def escape(text: str) -> str:
    """Plain text as LaTeX text; of characters that pdflatex does not know the plain letter, or `?`."""
    out = (
        _SPECIAL.get(c) or (c if ord(c) < 0x180 and c not in _NOT_OT1 else _letters(c))
        for c in one_line(text)
    )
    return re.sub(r"(\d) \\%", r"\1\\,\\%", "".join(out))


def _letters(character: str) -> str:
    """Of `ą` the a, of `₂` the 2."""
    found = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return "".join(_SPECIAL.get(c, c) for c in found) or "?"


# `\Delta`, `\textless`, `\%` … as people write them too: with or without `\ensuremath{}` and empty braces.
_BACK = {
    found[1]: plain
    for plain, written in _SPECIAL.items()
    if (found := re.search(r"\\([A-Za-z]+|.)(?:\{\})?\}?$", written))
}
_BACK |= {"le": "≤", "ge": "≥", "rightarrow": "→", "textminus": MINUS}
_WRITTEN = re.compile(r"\\([A-Za-z@]+)\*?(?:\{\}|\s*)|\\(.)|[{}$]|~|---?", re.DOTALL)


def unescape(text: str) -> str:
    """LaTeX text as plain text again, other commands and braces dropped; for reading tables back."""

    def plain(found: re.Match[str]) -> str:
        if name := found[1] or found[2]:
            return _BACK.get(name, " " if name.isspace() else "")
        return {"~": " ", "--": "–", "---": "–"}.get(found[0], "")

    return _WRITTEN.sub(plain, text).replace("\u202f%", " %").strip()


def latex(table: Table, *, label: str = "") -> str:
    """The table as a file that is input or compiled alone."""
    wide = len(table.columns) > WIDE
    behind = [visible(f"{row.arm}: {' '.join(row.trials)}") for row in table.rows if row.trials]
    return "".join(
        [
            f"% Input this file in a document with\n%   {PACKAGES}\n",
            "% or compile it alone. Trials behind each row (a difference rests on its reference's too):\n",
            *(f"%   {line}\n" for line in behind),
            _opening(wide),
            *_floats(table, label or f"tab:{table.study or 'ablation'}-{table.preset}", wide),
            _closing(),
        ]
    )


def _opening(wide: bool) -> str:
    paper = "landscape,margin=1.2cm" if wide else "margin=2cm"
    return (
        "\\makeatletter\n\\ifx\\@nodocument\\relax\\else\n"
        "\\def\\ablatealone{}\n\\documentclass[10pt]{article}\n"
        f"\\usepackage[{paper}]{{geometry}}\n{PACKAGES}\n"
        "\\pagestyle{empty}\n\\begin{document}\n\\fi\n\\makeatother\n"
    )


def _closing() -> str:
    end = "\\def\\ablateend{\\end{document}}"
    return f"\\ifdefined\\ablatealone{end}\\else\\let\\ablateend\\relax\\fi\n\\ablateend\n"


def _floats(table: Table, label: str, wide: bool) -> Iterator[str]:
    """The table as one float, or as many as its rows need: caption with the first, notes with the last."""
    # threeparttable measures a tabular, not a box around it: the table is set first, and the shrunk box is
    # the only cell of the tabular that is measured, so caption and notes are as wide as what is seen.
    yield "\\ifdefined\\ablatebox\\else\\newsavebox{\\ablatebox}\\fi\n"
    kinds = [_kind(table, i) for i in range(len(table.columns))]
    parts = list(_pages(table, wide))
    for number, rows in enumerate(parts):
        first = f"\\caption{{{escape(table.caption)}}}\n\\label{{{label}}}\n"
        head = first if number == 0 else _continued(number + 1)
        yield _float(table, rows, kinds, head, table.notes if number == len(parts) - 1 else (), wide)


def _continued(part: int) -> str:
    """The number of the float before once more; `hyperref`, where it is loaded, needs another name for it."""
    return (
        "\\addtocounter{table}{-1}"
        f"\\expandafter\\def\\csname theHtable\\endcsname{{\\thetable.part{part}}}%\n"
        "\\caption{(continued)}\n"
    )


def _pages(table: Table, wide: bool) -> Iterator[list[Row]]:
    """The rows in parts that fit a page; a group that is cut gets its heading again."""
    per_line = WIDE_LINE if wide else NARROW_LINE
    lines = 1 + len(table.caption) // per_line
    notes = sum(1 + len(note) // per_line for note in table.notes)
    used, part = lines * CAPTION_LINE + 3 * LINE, list[Row]()
    heading: Row | None = None
    for i, row in enumerate(table.rows):
        below = notes if i == len(table.rows) - 1 else 0
        if row.kind == "group":
            heading = row
        elif not row.indent:
            heading = None
        height = LINE * (
            1 + (row.kind == "group") * 1.5
        )  # with the space above, and never without a row below
        if part and used + height + below * LINE > PAGE:
            yield part
            used, part = CAPTION_LINE + 3 * LINE, []
            if heading is not None and row is not heading:
                part = [replace(heading, label=f"{heading.label} (continued)")]
                used += 1.5 * LINE
        part.append(row)
        used += LINE * (1.5 if row.kind == "group" else 1)
    yield part


def _float(
    table: Table, rows: Sequence[Row], kinds: Sequence[str], head: str, notes: Sequence[str], wide: bool
) -> str:
    size = "\\footnotesize\\setlength{\\tabcolsep}{4pt}"
    float_ = "table*" if wide else "table"
    heads = " & ".join(_head(c, k) for c, k in zip(table.columns, kinds, strict=True))
    body = "".join(_row(row, kinds) for row in rows)
    items = "".join(f"\\item {escape(note)}\n" for note in notes)
    below = f"\\begin{{tablenotes}}\\footnotesize\n{items}\\end{{tablenotes}}\n" if items else ""
    return (
        f"{TABLE}{json.dumps(table.about(), ensure_ascii=False)}\n"
        f"\\begin{{{float_}}}[tbp]\n\\centering{size}\n\\begin{{lrbox}}{{\\ablatebox}}%\n"
        f"\\begin{{tabular}}{{@{{}}l{''.join(kinds)}@{{}}}}\n\\toprule\n"
        f"Variant & {heads} \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}%\n\\end{{lrbox}}\n"
        f"\\begin{{threeparttable}}\n{head}"
        f"\\begin{{tabular}}{{@{{}}c@{{}}}}%\n{SHRINK}%\n\\end{{tabular}}\n"
        f"{below}\\end{{threeparttable}}\n\\end{{{float_}}}\n"
    )


def _kind(table: Table, index: int) -> str:
    """An `S` column where entries are plain numbers, so that siunitx aligns the points; else `l` or `r`."""
    column: Column = table.columns[index]
    cells = [row.cells[index] for row in table.rows if row.cells]
    numbers = [_plain(cell.text) for cell in cells if _plain(cell.text)]
    if column.numeric and (not numbers or column.key in ("effect", "p", "tokens", "speed", "parameters")):
        return "r"
    if not column.numeric:
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


def _row(row: Row, kinds: Sequence[str]) -> str:
    if row.kind == "group":
        span = f"\\multicolumn{{{len(kinds) + 1}}}{{@{{}}l}}"
        return f"\\addlinespace\n{span}{{\\textit{{{escape(row.label)}}}}} \\\\\n"
    label = ("\\quad " if row.indent else "") + escape(row.label)
    cells = " & ".join(_cell(cell, kind) for cell, kind in zip(row.cells, kinds, strict=True))
    rule = "\\midrule\n" if row.kind == "baseline" else ""
    name = json.dumps(row.arm or row.label)
    mark = f" {ROW if row.arm else SCALE}{name}"
    return f"{label} & {cells} \\\\{mark}\n{rule}"


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
