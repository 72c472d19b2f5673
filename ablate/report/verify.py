"""Does an exported table still say what the records say? Reads tables back and compares row by row.

A paper is edited: rows go, labels become prettier, columns are dropped, decimals are cut. None of that is
drift. A number that is not the rounded number of the records is, and so is a verdict that changed.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from ablate.analysis.findings import Findings
from ablate.report import early_losses, format_table, load_findings
from ablate.report.latex import ROW, TABLE, unescape
from ablate.report.numbers import MINUS
from ablate.report.tables import FOR_SCALE, MARKS, PRESETS, ablation_table

VERDICTS = ("helps", "hurts", "equivalent", "inconclusive")
NO_NUMBERS = ("arm", "group", "reference", "failures", "outcome", "reason", "trials")  # columns of a CSV


class VerifyError(ValueError):
    """There is nothing that could be checked."""


@dataclass(frozen=True)
class Claim:
    """One row of a table in a file."""

    file: Path
    line: int
    study: str
    preset: str
    columns: tuple[str, ...]
    arm: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Drift:
    """A number or a verdict in a file that its records do not bear out."""

    file: Path
    line: int
    arm: str
    column: str
    shown: str
    recorded: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}  {self.arm}" + (f", {self.column}" if self.column else "")
        return f"{where}: the file says {self.shown}, the records say {self.recorded}"


@dataclass(frozen=True)
class Verdict:
    """What a check found."""

    study: str
    rows: int
    numbers: int
    drifts: tuple[Drift, ...]

    def text(self) -> str:
        lines = [str(drift) for drift in self.drifts]
        if lines:
            lines.append(f"{len(lines)} of {self.numbers} numbers and verdicts of {self.study} have drifted")
        else:
            lines.append(
                f"{self.numbers} numbers and verdicts in {self.rows} rows of {self.study} match its records"
            )
        return "\n".join(lines)


def verify(file: Path, root: Path) -> Verdict:
    """Check every table of one study in a file (and in what a LaTeX file inputs).

    Raises VerifyError where the file holds no table of the study, RecordError where there is no study.
    """
    found = load_findings(root)
    claims = list(read(file))
    mine = [claim for claim in claims if claim.study in (found.name, "")]
    if not mine:
        others = sorted({claim.study for claim in claims})
        seen = f"; it has tables of {', '.join(others)}" if others else ""
        raise VerifyError(
            f"{file} holds no table of study '{found.name}' as `ablate table` writes it{seen}. The comments "
            "that begin with 'ablate' name the study and its rows: keep them when you edit a table"
        )
    made = {(claim.preset, claim.columns) for claim in mine}
    fresh = {key: _fresh(root, found, *key) for key in made}
    drifts: list[Drift] = []
    counted = 0
    for claim in mine:
        more, n = _compare(claim, fresh[claim.preset, claim.columns])
        drifts += more
        counted += n
    return Verdict(found.name, len(mine), counted, tuple(drifts))


def _fresh(root: Path, found: Findings, preset: str, columns: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """arm → its cells as the table would show them now."""
    if preset == "csv":
        return _fresh_csv(root, found, columns)
    if preset not in PRESETS:
        raise VerifyError(f"the table has the preset '{preset}'; this version knows {', '.join(PRESETS)}")
    table = ablation_table(found, preset, early_losses(root, found, preset))
    return {row.arm: tuple(cell.text for cell in row.cells) for row in table.rows if row.arm}


def _fresh_csv(root: Path, found: Findings, columns: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The file of all columns, or of the preset that has those given."""
    for preset in PRESETS:
        text = format_table(found, "csv", preset, early_losses(root, found, preset))
        rows = list(csv.DictReader(io.StringIO(text)))
        if rows and set(columns) <= set(rows[0]):
            return {row["arm"]: tuple(row[key] for key in columns) for row in rows}
    raise VerifyError(f"no table of this study has all the columns {', '.join(columns)}")


def _compare(claim: Claim, fresh: Mapping[str, tuple[str, ...]]) -> tuple[list[Drift], int]:
    """What of a row has drifted, and how many numbers and verdicts it shows."""
    counted = sum(len(_numbers(cell)) + bool(_verdict(cell)) for cell in claim.cells)

    def drift(column: str, shown: str, recorded: str) -> Drift:
        return Drift(claim.file, claim.line, claim.arm, column, shown or "nothing", recorded or "nothing")

    recorded = fresh.get(claim.arm)
    if recorded is None:
        return [drift("", "a row of this arm", "nothing: the study has no such arm")], max(1, counted)
    if len(claim.cells) == len(recorded):
        names = claim.columns if len(claim.columns) == len(recorded) else [""] * len(recorded)
        pairs = zip(names, claim.cells, recorded, strict=True)
        return [drift(name, a, b) for name, a, b in pairs if not _same(a, b)], counted
    # Columns were added or dropped: what is left must be found in the row, in its order.
    left = [number for cell in recorded for number in _numbers(cell)]
    drifts: list[Drift] = []
    for shown in (number for cell in claim.cells for number in _numbers(cell)):
        while left and not _rounded(shown, left[0]):
            left.pop(0)
        if not left:
            everything = " · ".join(recorded)
            return [*drifts, drift("", shown, everything)], counted
        left.pop(0)
    verdicts = [v for cell in claim.cells if (v := _verdict(cell))]
    now = [v for cell in recorded if (v := _verdict(cell))]
    if verdicts and verdicts != now:
        drifts.append(drift("verdict", ", ".join(verdicts), ", ".join(now)))
    return drifts, counted


def _same(shown: str, recorded: str) -> bool:
    a, b = _numbers(shown), _numbers(recorded)
    if _verdict(shown) != _verdict(recorded):
        return False
    return len(a) == len(b) and all(_rounded(x, y) for x, y in zip(a, b, strict=True))


def _numbers(text: str) -> list[str]:
    """The numbers in a text, thousands joined, minus signs plain."""
    text = text.replace(MINUS, "-").replace("\u202f", "").replace("\u2009", "")
    return re.findall(r"(?<![\w.])[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?(?![\w])", text)


def _rounded(shown: str, recorded: str) -> bool:
    """Whether the shown number is the recorded one, or that rounded to fewer digits."""
    places = len(shown.split("e")[0].partition(".")[2])
    coarse = 0.5 * 10.0**-places * (places < len(recorded.split("e")[0].partition(".")[2]))
    return abs(float(shown) - float(recorded)) <= coarse + 1e-9 * max(1.0, abs(float(recorded)))


def _verdict(text: str) -> str:
    """The verdict a cell states, as a word or as its mark."""
    words = [v for v in VERDICTS if re.search(rf"\b{v}\b", text)]
    marks = [v for v, mark in MARKS.items() if text.rstrip().endswith(f" {mark}")]
    return next(iter([*words, *marks]), "")


# ── Reading tables back ──


def read(file: Path) -> Iterator[Claim]:
    """Every row of every exported table in a file. Raises VerifyError for a kind that is not known."""
    readers: dict[str, Callable[[Path, str], Iterable[Claim]]] = {
        ".tex": _latex, ".md": _markdown, ".csv": _csv, ".html": _html, ".htm": _html,
    }  # fmt: skip
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise VerifyError(f"{file} is none of {', '.join(readers)}: tables are read from these")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise VerifyError(f"{file} is not UTF-8 text: {error}") from error
    yield from reader(file, text)


def _about(text: str, file: Path, line: int) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise VerifyError(f"{file}:{line}: the comment that names the table is damaged: {error}") from error
    return {"study": str(found.get("study", "")), "preset": str(found.get("preset", "full")),
            "columns": tuple(found.get("columns", ()))}  # fmt: skip


def _latex(file: Path, text: str) -> Iterator[Claim]:
    about: dict[str, Any] = {"study": "", "preset": "full", "columns": ()}
    pending = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(f"{TABLE}{{"):
            about = _about(line.removeprefix(TABLE), file, number)
            continue
        code, mark, name = line.partition(ROW)
        if mark:
            # A row may have been broken over lines: it begins after the last row, rule or heading.
            row = re.split(
                r"\\\\(?:\[[^]]*\])?|\\(?:mid|top|bottom|cmid)rule|\\addlinespace", pending + code.rstrip()
            )
            cells = next((part for part in reversed(row) if "&" in part), "")
            yield Claim(file, number, arm=json.loads(name), cells=_tex_cells(cells), **about)
            pending = ""
            continue
        pending = "" if "\\end{tabular}" in line else f"{pending}{_uncommented(line)} "
        for given in re.findall(r"\\(?:input|include)\{([^}]+)\}", _uncommented(line)):
            path = file.parent / given
            path = path if path.suffix else path.with_suffix(".tex")
            if path.is_file():
                yield from _latex(path, path.read_text(encoding="utf-8"))


def _uncommented(line: str) -> str:
    return re.sub(r"(?<!\\)%.*", "", line)


def _tex_cells(row: str) -> tuple[str, ...]:
    return tuple(unescape(cell) for cell in re.split(r"(?<!\\)&", row)[1:])


def _markdown(file: Path, text: str) -> Iterator[Claim]:
    """Rows of pipe tables above the comment that names them; grouped rows carry their group's name."""
    lines = text.splitlines()
    start = 0
    for number, line in enumerate(lines):
        if not line.startswith("<!-- ablate {"):
            continue
        about = _about(line.removeprefix("<!-- ablate ").replace("- -", "--"), file, number + 1)
        arms = _arms_behind(lines[number + 1 :])
        group = ""
        for at, shown in enumerate(lines[start:number], start + 1):
            if not shown.startswith("|") or set(shown) <= set("|:- "):
                continue
            label, *cells = (_md_text(cell) for cell in re.split(r"(?<!\\)\|", shown)[1:-1])
            if not any(cells):
                group = label
            elif group != FOR_SCALE and label != "Variant":
                arm = next((name for name in (f"{group}={label}", label) if name in arms), label)
                yield Claim(file, at, arm=arm, cells=tuple(cells), **about)
        start = number + 1


def _arms_behind(lines: Sequence[str]) -> set[str]:
    """The arms that the comment below a table lists with their trials."""
    arms = set()
    for line in lines:
        if line.startswith("-->"):
            break
        arms.add(line.rpartition(": ")[0].replace("- -", "--"))
    return arms


def _md_text(cell: str) -> str:
    text = re.sub(r"</?u>|\*\*", "", cell.replace("\\*", "\0")).replace("*", "").replace("\0", "*")
    return html.unescape(re.sub(r"\\(.)", r"\1", text)).strip()


def _csv(file: Path, text: str) -> Iterator[Claim]:
    reader = csv.DictReader(io.StringIO(text))
    heads = list(reader.fieldnames or [])
    if "arm" not in heads or "trials" not in heads:
        raise VerifyError(
            f"{file} has no columns 'arm' and 'trials': it is no table that `ablate table` wrote"
        )
    columns = tuple(head for head in heads if head not in NO_NUMBERS)
    for row in reader:
        cells = tuple(str(row.get(key) or "") for key in columns)
        yield Claim(file, reader.line_num, "", "csv", columns, row["arm"], cells)


class _Rows(HTMLParser):
    """Collects the rows of tables that carry `data-ablate`."""

    def __init__(self) -> None:
        super().__init__()
        self.about: str | None = None
        self.rows: list[tuple[int, str, str, list[str]]] = []  # line, about, arm, cells
        self.cells: list[str] | None = None  # of the row that is read
        self.into: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "table":
            self.about = given.get("data-ablate")
        elif tag == "tr":
            self.cells = None
            if self.about and given.get("data-arm"):
                self.cells = []
                self.rows.append((self.getpos()[0], self.about, str(given["data-arm"]), self.cells))
        elif tag == "td" and self.cells is not None:
            self.cells.append("")
            self.into = self.cells

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "tr"):
            self.into = None
        if tag == "table":
            self.about = None

    def handle_data(self, data: str) -> None:
        if self.into:
            self.into[-1] += data


def _html(file: Path, text: str) -> Iterator[Claim]:
    reader = _Rows()
    reader.feed(text)
    for line, about, arm, cells in reader.rows:
        yield Claim(file, line, arm=arm, cells=tuple(cells), **_about(about, file, line))
