"""Exported tables read back from Markdown, CSV and HTML (LaTeX has its own file): what stands where.

Nothing is judged here. A row has the name of its arm where the file says it (a comment, an attribute, a
column); otherwise its label and the heading of its group are all there is.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from ablate.report.facts import stated

CSV = "csv"  # instead of a preset: the file names its columns itself


class VerifyError(ValueError):
    """There is nothing that could be checked."""


@dataclass(frozen=True)
class About:
    """What the comment beside a table says of it; `ignore` are rows and columns that authors added."""

    file: Path
    line: int = 0
    study: str = ""
    preset: str = ""
    columns: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, file: Path, line: int) -> About:
        """Raises VerifyError where the comment is no JSON object."""
        try:
            found, _ = json.JSONDecoder().raw_decode(text)
            return cls(
                file, line, str(found.get("study", "")), str(found.get("preset", "")),
                tuple(map(str, found.get("columns", ()))), dict(found.get("facts", {})),
                tuple(map(str, found.get("ignore", ()))),
            )  # fmt: skip
        except (AttributeError, TypeError, ValueError) as error:
            raise VerifyError(
                f"{file}:{line}: the comment that names the table is damaged: {error}"
            ) from error


@dataclass(frozen=True)
class Line:
    """A row; a cell is None where the cell before it spans two columns."""

    file: Path
    line: int
    about: About
    label: str
    cells: tuple[str | None, ...]
    group: str = ""
    arm: str | None = None
    scale: str | None = None


@dataclass(frozen=True)
class Caption:
    """A caption, or a note below a table, with the tables it stands at."""

    file: Path
    line: int
    text: str
    of: tuple[About, ...]


@dataclass(frozen=True)
class Shown:
    """A table: the rows that may be its heading (without the cell above the labels), and those below."""

    heads: tuple[tuple[str | None, ...], ...]
    lines: tuple[Line, ...]
    captions: tuple[Caption, ...] = ()
    notes: tuple[Caption, ...] = ()
    sure: bool = True  # false: it stands near the comment of another table and may be anybody's


def grouped(lines: Sequence[Line]) -> Iterator[Line]:
    """The rows with the heading of the group they stand under; a row without any cell is such a heading."""
    group = ""
    for line in lines:
        if any(line.cells) or line.arm is not None or line.scale is not None:
            yield Line(**{**vars(line), "group": group})
        else:
            group = line.label.removesuffix("(continued)").strip()


# ── Markdown ──


_ABOUT = re.compile(r"<!--\s*ablate (\{.*)")


def read_markdown(file: Path, text: str) -> Iterator[Shown]:
    """The pipe table above each comment, or below where none is above; others may be parts of it."""
    lines = [re.sub(r"^[>\s]+", "", line) for line in text.split("\n")]  # in quotes and lists too
    comments = [(at, found[1]) for at, line in enumerate(lines) if (found := _ABOUT.match(line))]
    start = 0
    for i, (number, said) in enumerate(comments):
        about = About.parse(said.replace("- -", "--"), file, number + 1)
        spans = list(_pipes(lines, start, number))
        below = number if spans else comments[i + 1][0] if i + 1 < len(comments) else len(lines)
        mine = spans[-1] if spans else next(_pipes(lines, number, below), None)
        for first, end in spans or filter(None, [mine]):
            yield _pipe_table(
                lines, first, end, start if spans else number, below, about, sure=(first, end) == mine
            )
        start = number + 1 if spans or mine is None else mine[1]


def _pipes(lines: Sequence[str], start: int, end: int) -> Iterator[tuple[int, int]]:
    """[first, end) of every run of lines that begin with a pipe."""
    at = start
    while at < end:
        first = at
        while at < end and lines[at].lstrip().startswith("|"):
            at += 1
        if at > first:
            yield first, at
        at += at == first


def _pipe_table(
    lines: Sequence[str], first: int, end: int, start: int, comment: int, about: About, *, sure: bool
) -> Shown:
    rows: list[tuple[int, list[str]]] = []
    heads: list[tuple[str, ...]] = []
    for at in range(first, end):
        shown = lines[at].strip()
        if "-" in shown and set(shown) <= set("|:- "):
            heads, rows = [tuple(cells[1:]) for _, cells in rows], []
        else:
            rows.append((at, [_md_text(cell) for cell in re.split(r"(?<!\\)\|", shown)[1:-1]]))
    found = [Line(about.file, at + 1, about, cells[0], tuple(cells[1:])) for at, cells in rows if cells]
    captions = [
        _paragraph(lines, start, first, last=True),
        *([_paragraph(lines, end, comment)] if sure else []),
    ]
    said = [Caption(about.file, at + 1, text, (about,)) for at, text in captions if _is_caption(text)]
    notes = tuple(
        Caption(about.file, at + 1, _md_text(lines[at][2:]), (about,))
        for at in range(end, comment if sure else end)
        if lines[at].startswith(("- ", "* "))
    )
    return Shown(tuple(heads), tuple(grouped(found)), tuple(said), notes, sure)


def _paragraph(lines: Sequence[str], start: int, end: int, *, last: bool = False) -> tuple[int, str]:
    """The text between two lines, or only the last paragraph of it, with where it begins."""
    while end > start and not lines[end - 1].strip():
        end -= 1
    if last:
        blank = [at for at in range(start, end) if not lines[at].strip()]
        start = blank[-1] + 1 if blank else start
    return start, " ".join(_md_text(line) if line.strip("* ") else "" for line in lines[start:end])


def _is_caption(text: str) -> bool:
    """Prose before a table may speak of another experiment: what states one number only is not a caption."""
    return text.lower().startswith("table") or len({fact.name for fact in stated(text)}) > 1


# In a cell: marks of footnotes go, of a link and of emphasis the text stays.
_MD_DROPPED = re.compile(r"\[\^[^\]]*\]|<sup>.*?</sup>|</?[A-Za-z][^>]*>|\*\*")
_MD_WRAPPED = re.compile(r"(?<!!)\[([^\]]*)\]\([^)]*\)|(?<!\w)(_{1,2}|`)(?=\S)(.+?)(?<=\S)\2(?!\w)")


def _md_text(cell: str) -> str:
    text = _MD_DROPPED.sub(lambda tag: " " if tag[0].startswith("<br") else "", cell.replace("\\*", "\0"))
    for _ in range(2):  # emphasis within a link
        text = _MD_WRAPPED.sub(lambda found: found[1] or found[3] or "", text)
    text = text.replace("*", "").replace("\0", "*")
    return html.unescape(re.sub(r"\\([\\`*_{}\[\]()#+.!|<>~$&-])", r"\1", text)).strip()


# ── CSV ──


def read_csv(file: Path, text: str) -> Iterator[Shown]:
    """One table, whose rows name their arm."""
    first = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    heads = list(reader.fieldnames or [])
    if "arm" not in heads or "trials" not in heads:
        raise VerifyError(
            f"{file} has no columns 'arm' and 'trials': it is no table that `ablate table` wrote"
        )
    columns = tuple(head for head in heads if head != "arm")
    about = About(file, 1, preset=CSV, columns=columns)
    lines = []
    for row in reader:
        cells = (*(row.get(key) or "" for key in columns), *(row.get(None) or ()))
        lines.append(Line(file, reader.line_num, about, row["arm"], cells, arm=row["arm"]))
    yield Shown((columns,), tuple(lines))


# ── HTML ──


class _Tables(HTMLParser):
    """Collects the tables that carry `data-ablate`, and the captions in or right below them."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.about: About | None = None
        self.tables: list[tuple[list[tuple[str | None, ...]], list[Line], list[Caption]]] = []
        self.attributes: dict[str, str | None] = {}  # of the row that is read
        self.cells: list[str | None] = []
        self.keys: list[str | None] = []
        self.line = 0
        self.span = 0  # of the cell that is read; 0 in a caption
        self.mark = False  # in a `<sup>`, which is no part of a number
        self.text: list[str] | None = None  # of the cell or caption that is read
        self.caption: About | None = None  # of the table that a caption would belong to

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("table", "tr", "td", "th"):
            self._end_cell()  # its own end may be left out
        if tag == "table":
            self.caption = self.about = None
            if given.get("data-ablate"):
                self.about = self.caption = About.parse(
                    str(given["data-ablate"]), self.file, self.getpos()[0]
                )
                self.tables.append(([], [], []))
        elif tag == "tr":
            self._end_row()
            self.attributes, self.cells, self.keys, self.line = given, [], [], self.getpos()[0]
        elif tag in ("td", "th"):
            self.text = []
            self.keys.append(given.get("data-key") if tag == "th" else "")
            span = re.fullmatch("[0-9]{1,3}", given.get("colspan") or "1")
            self.span = int(span[0]) if span else 1
        elif tag == "caption" or (tag == "p" and given.get("class") in ("caption", "note")):
            self.text, self.line, self.span = [], self.getpos()[0], 0
        elif tag == "sup":
            self.mark = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "sup":
            self.mark = False
        if tag in ("td", "th", "tr", "table"):
            self._end_cell()
        if tag in ("tr", "table"):
            self._end_row()
        if tag in ("caption", "p") and self.text is not None and not self.span:
            said = "".join(self.text).strip()
            if self.caption:
                self.tables[-1][2].append(Caption(self.file, self.line, said, (self.caption,)))
            self.text, self.caption = None, self.about
        elif tag == "table":
            self.about = None

    def _end_cell(self) -> None:
        if self.text is not None and self.span:
            self.cells += ["".join(self.text).strip(), *[None] * (self.span - 1)]
            self.text, self.mark = None, False

    def _end_row(self) -> None:
        if self.about and self.cells:
            self._row(self.about)
        self.cells = []

    def _row(self, about: About) -> None:
        heads, lines, _ = self.tables[-1]
        label, *cells = self.cells
        arm, scale = self.attributes.get("data-arm"), self.attributes.get("data-scale")
        if "" not in self.keys and len(cells) > cells.count(None) and arm is None:
            heads += [tuple(self.keys[1:]), tuple(cells)]
        else:
            lines.append(Line(self.file, self.line, about, str(label), tuple(cells), arm=arm, scale=scale))

    def handle_data(self, data: str) -> None:
        if self.text is not None and not self.mark:
            self.text.append(data)


def read_html(file: Path, text: str) -> Iterator[Shown]:
    """The tables that carry `data-ablate`."""
    reader = _Tables(file)
    reader.feed(text)
    for heads, lines, captions in reader.tables:
        yield Shown(tuple(heads), tuple(grouped(lines)), tuple(captions))
