"""Does an exported table still say what the records say? Reads tables back and compares cell by cell.

A paper is edited: rows go, labels become prettier, columns are dropped or change places, decimals are cut,
captions are worded anew. None of that is drift. A number that is not the rounded number of the records is,
and so is a verdict that changed, or a fact in the caption. Nothing is passed over: a row or a column of which
it cannot be told what it is counts as not checked, and then the table does not hold.
"""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from ablate.analysis.findings import NOT_RECORDED, Findings
from ablate.report import early_losses, format_table, load_findings
from ablate.report.facts import FACTS, agrees, facts, stated
from ablate.report.latex import escape, unescape
from ablate.report.numbers import MINUS
from ablate.report.reading import (
    CSV,
    About,
    Caption,
    Line,
    Shown,
    VerifyError,
    read_csv,
    read_html,
    read_markdown,
)
from ablate.report.readtex import missing, read_latex, unread
from ablate.report.tables import MARKS, PRESETS, Cell, ablation_table, table_notes
from ablate.report.visible import visible

__all__ = ["Drift", "Unchecked", "Verdict", "VerifyError", "verify"]

VERDICTS = ("helps", "hurts", "equivalent", "inconclusive")
EXACT = ("group", "reference", "failures", "outcome", "trials")  # columns of a CSV that hold words
PROSE = ("reason",)  # and one whose wording is no claim of its own
OWN = "own"  # instead of a column's key: a column that the authors declared as theirs
INTERVAL = "interval"  # the interval in a column of its own, which no preset has


@dataclass(frozen=True)
class Drift:
    """A number, a verdict or a fact in a file that its records do not bear out."""

    file: Path
    line: int
    arm: str
    column: str
    shown: str
    recorded: str

    def __str__(self) -> str:
        what = ", ".join(part for part in (visible(self.arm), self.column) if part)
        return f"{self.file}:{self.line}  {what}: the file says {self.shown}, the records say {self.recorded}"


@dataclass(frozen=True)
class Unchecked:
    """A row or a column of which it cannot be told what it shows, or an input that is not there."""

    file: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}  not checked: {self.what}"


@dataclass(frozen=True)
class Verdict:
    """What a check found; `numbers` counts numbers, verdicts and facts of captions."""

    study: str
    rows: int
    numbers: int
    drifts: tuple[Drift, ...]
    unchecked: tuple[Unchecked, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether everything that the tables show was checked and is borne out."""
        return not self.drifts and not self.unchecked

    def text(self) -> str:
        lines = [str(finding) for finding in (*self.drifts, *self.unchecked)]
        if self.drifts:
            said = f"{len(self.drifts)} of {self.numbers} numbers and verdicts of {self.study} have drifted"
        else:
            said = (
                f"{self.numbers} numbers and verdicts in {self.rows} rows of {self.study} match its records"
            )
        if self.unchecked:
            said += f"; {len(self.unchecked)} rows, columns or inputs could not be checked"
        return "\n".join([*lines, said])


def verify(file: Path, root: Path, ignore: Sequence[str] = ()) -> Verdict:
    """Check every table of one study in a file (and in what a LaTeX file inputs).

    `ignore` are headings of columns that the authors added, which no table of ours has. Raises VerifyError
    where the file holds no table of the study or no such column, RecordError where there is no study.
    """
    found = load_findings(root)
    tables = list(read(file))
    gone = list(missing(file)) if file.suffix.lower() == ".tex" else []
    odd = list(unread(file)) if file.suffix.lower() == ".tex" else []
    now = _Now(root, found)
    check = _Check(now, ignore)
    for table in tables:
        if table.sure or now.knows(table):
            check.table(table)
    if not check.rows:
        names = {line.about.study for table in tables for line in table.lines}
        others = sorted(name for name in names if name not in (found.name, ""))
        seen = f"; it has tables of {', '.join(others)}" if others else ""
        seen += f"; it inputs {gone[0][2]}, which cannot be found" if gone else ""
        raise VerifyError(
            f"{file} holds no table of study '{found.name}' as `ablate table` writes it{seen}. The comments "
            "that begin with 'ablate' name the study and its rows: keep them when you edit a table"
        )
    check.all_ignored(file)
    unchecked = tuple(dict.fromkeys([
        *check.unchecked,
        *(Unchecked(source, line, f"the input '{given}' cannot be found from {file.parent}; give it its path "
                                  "from there, or take the line out") for source, line, given in gone),
        *(Unchecked(source, line, f"what \\{name} says cannot be read from its definition; define it with "
                                  "\\newcommand, or write its text out here") for source, line, name in odd),
    ]))  # fmt: skip
    return Verdict(found.name, check.rows, check.numbers, tuple(dict.fromkeys(check.drifts)), unchecked)


def read(file: Path) -> Iterator[Shown]:
    """Every exported table in a file. Raises VerifyError for a kind that is not known."""
    if file.suffix.lower() == ".tex":
        return read_latex(file)
    readers: dict[str, Callable[[Path, str], Iterator[Shown]]] = {
        ".md": read_markdown, ".csv": read_csv, ".html": read_html, ".htm": read_html,
    }  # fmt: skip
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise VerifyError(f"{file} is none of .tex, {', '.join(readers)}: tables are read from these")
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise VerifyError(f"{file} is not UTF-8 text: {error}") from error
    return reader(file, text if reader is read_csv else text.replace("\r\n", "\n"))


# ── What the tables would show now ──


class _Cell(NamedTuple):
    """A cell as a table shows it now, and the unrounded numbers behind it where they are known."""

    text: str = ""
    exact: tuple[float, ...] = ()


Columns = dict[str, tuple[str, dict[str, _Cell]]]  # key → heading, and row → cell


class _Now:
    """The cells of every preset: by the column's key, then by the row's name."""

    def __init__(self, root: Path, found: Findings) -> None:
        self.root, self.found = root, found
        self.facts = facts(found)
        self.counts = {arm.completed for arm in found.arms}
        self.arms = {arm.name for arm in found.arms}
        self.scale = set(found.scale)
        self.verdicts = {
            arm.name: arm.contrast.verdict if arm.contrast else "" for arm in found.arms
        }  # a reference score has none
        self.columns = cache(self._columns)

    def _columns(self, preset: str) -> Columns:
        """Those of a preset or of the CSV files."""
        if preset == CSV:
            return self._csv_columns()
        if preset not in PRESETS:
            raise VerifyError(f"the table has the preset '{preset}'; this version knows {', '.join(PRESETS)}")
        table = ablation_table(self.found, preset, early_losses(self.root, self.found, preset))
        rows = [(row.arm or row.label, row.cells) for row in table.rows if row.cells]
        made = {
            column.key: (column.head, {name: self._cell(column.key, name, cells[i]) for name, cells in rows})
            for i, column in enumerate(table.columns)
        }
        effects = made["effect"][1].items()
        intervals = {name: _Cell(" ".join(re.findall(r"\[.*\]", c.text)), c.exact[1:]) for name, c in effects}
        return {**made, INTERVAL: (INTERVAL, intervals)}

    def _cell(self, key: str, row: str, cell: Cell) -> _Cell:
        if key == "effect" and (contrast := self.found.contrasts.get(row)):
            e = contrast.effect
            return _Cell(cell.text, tuple(x for x in (e.estimate, e.low, e.high) if x is not None))
        return _Cell(cell.text, () if cell.value is None else (cell.value,))

    def _csv_columns(self) -> Columns:
        made: Columns = {}
        for preset in PRESETS:  # the first has all columns, but what only other presets compute
            text = format_table(self.found, "csv", preset, early_losses(self.root, self.found, preset))
            rows = list(csv.DictReader(io.StringIO(text, newline="")))
            for key in rows[0]:
                made.setdefault(key, (key, {row["arm"]: _Cell(row[key]) for row in rows}))
        return made

    def named(self, heading: str, preset: str) -> list[str]:
        """The keys of the columns that have this heading: of the table's preset, else of another."""
        given = _plain(heading)
        if preset != CSV and re.fullmatch(r"\d*(?:t|confidence)?(?:ci|interval)s?", given):
            return [INTERVAL]
        for name in (preset, *(p for p in PRESETS if p != preset and preset != CSV)):
            columns = self.columns(name)
            found = [
                key for key, (head, _) in columns.items()
                if given in (_plain(head), _plain(re.split(r" [\[(]", head)[0]), _plain(key))
            ]  # fmt: skip
            if found or not given:
                return found
        return []

    def cell(self, key: str, row: str, preset: str) -> _Cell:
        """What the row shows in that column now; empty where no table has it."""
        for name in (preset, *(p for p in PRESETS if preset != CSV)):
            if key in (columns := self.columns(name)):
                return columns[key][1].get(row, _Cell())
        return _Cell()

    @cached_property
    def notes(self) -> list[str]:
        """The notes below the tables of all presets."""
        return [note for p in PRESETS for note in table_notes(self.found, p, self.columns(p))]

    @cached_property
    def labels(self) -> dict[str, str]:
        """Plain label → the arm or reference score that it can only be."""
        made: dict[str, set[str]] = {}
        for name in (*self.arms, *self.scale):
            for label in (visible(name), unescape(escape(name))):
                made.setdefault(_label(label), set()).add(name)
        return {label: names.pop() for label, names in made.items() if len(names) == 1}

    def who(self, line: Line) -> str | None:
        """The arm or reference score of a row: by its comment, else by its label below its group."""
        for given, known in ((line.arm, self.arms), (line.scale, self.scale)):
            if given is not None:
                by_name = {visible(name): name for name in known}
                return given if given in known else by_name.get(visible(given))
        both = (f"{line.group}={line.label}", line.label)
        return next((self.labels[_label(text)] for text in both if _label(text) in self.labels), None)

    def mislabelled(self, line: Line, name: str) -> str | None:
        """What a row should be called that bears another arm's name, or its own with other digits.

        Any other label is the authors' to choose.
        """
        own = {_label(text) for text in (visible(name), unescape(escape(name)))}
        own |= {text.partition("=")[2] for text in own if "=" in text}
        label = _label(line.label)
        if line.arm is None or label in own:
            return None
        others = self.who(replace(line, arm=None)) not in (None, name)
        digits = next((text for text in own if _DIGITS.sub("0", text) == _DIGITS.sub("0", label)), None)
        return visible(name) if others else digits

    def knows(self, table: Shown) -> bool:
        """Whether a table near a comment is a part of the table that the comment names."""
        heads = [head for row in table.heads for head in row if head]
        preset = table.lines[0].about.preset if table.lines else "full"
        return any(self.who(line) for line in table.lines) and any(self.named(h, preset) for h in heads)


def _plain(heading: str) -> str:
    """A heading's letters, digits and Δ, so that spaces, case and brackets do not count."""
    return "".join(c for c in heading.casefold() if c.isalnum())


def _worded(note: str) -> str:
    """A note's words, numbers left out."""
    return re.sub(r"[\W\d_]+", "", note)


_DIGITS = re.compile(r"\d+")


def _label(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


# ── Comparing ──


class _Check:
    """Goes through tables and keeps what it finds."""

    def __init__(self, now: _Now, ignore: Sequence[str] = ()) -> None:
        self.now, self.ignore = now, {_plain(name): name for name in ignore}
        self.heads: dict[str, list[str]] = {}  # every heading of a column, and what it is of ours
        self.rows = self.numbers = 0
        self.drifts: list[Drift] = []
        self.unchecked: list[Unchecked] = []

    def all_ignored(self, file: Path) -> None:
        """Raises VerifyError where a column that is to be ignored is in no table, or is one of ours."""
        heads = {_plain(head): keys for head, keys in self.heads.items()}
        for plain, name in self.ignore.items():
            if plain not in heads:
                shown = ", ".join(f"'{head}'" for head in self.heads) or "none with a heading"
                raise VerifyError(
                    f"--ignore names a column of your own by its heading; no table of "
                    f"{self.now.found.name} in {file} has a column '{name}': there are {shown}"
                )
            if heads[plain]:
                raise VerifyError(
                    f"--ignore is for columns that you added; '{name}' is the column '{heads[plain][0]}' of "
                    "the exported table, which is to be checked: give a column of your own another heading"
                )

    def table(self, table: Shown) -> None:
        """All of a table that is this study's; a table put together from several has rows of others, too."""
        for about in dict.fromkeys(_Key(line.about) for line in table.lines):
            mine = [line for line in table.lines if _Key(line.about) == about]
            if about.about.study in (self.now.found.name, ""):
                self.now.columns(about.about.preset or "full")  # raises for a preset of another version
                self._comment(about.about)
                self._lines(table, about.about, mine)
        for caption in table.captions:
            others = [about for about in caption.of if about.study not in (self.now.found.name, "")]
            if len(others) < len(caption.of) and all(about.facts for about in others):
                known = [{k: v for k, v in about.facts.items() if v != NOT_RECORDED} for about in others]
                self._caption(caption.file, caption.line, caption.text, known)

        for note in table.notes:
            if note.of and all(about.study in (self.now.found.name, "") for about in note.of):
                self._note(note)

    def _note(self, note: Caption) -> None:
        """A note as the table has it now, but for its numbers; authors' own notes are theirs."""
        said = _numbers(note.text)
        now = [text for text in self.now.notes if said and _worded(text) == _worded(note.text)]
        self.numbers += len(said) if now else 0
        if now and all(_numbers(text) != said for text in now):
            self._drift(note.file, note.line, "", "note", f"'{note.text}'", f"'{now[0]}'")

    def _comment(self, about: About) -> None:
        """The facts as they were when the table was written."""
        for name, then in about.facts.items():
            if name in self.now.facts:
                self.numbers += 1
                recorded = self.now.facts[name]
                if then != recorded:
                    self._drift(about.file, about.line, "", FACTS[name], _said(then), _said(recorded))

    def _caption(
        self, file: Path, line: int, text: str, others: Sequence[Mapping[str, object]], of: str = "caption"
    ) -> None:
        for fact in stated(text):
            self.numbers += 1
            if not agrees(fact, self.now.facts, self.now.counts) and not any(
                agrees(fact, other, ()) for other in others
            ):
                recorded = _said(self.now.facts[fact.name])
                self._drift(file, line, "", f"{of}, {FACTS[fact.name]}", f"'{fact.words}'", recorded)

    def _lines(self, table: Shown, about: About, lines: Sequence[Line]) -> None:
        ignored = {_plain(name) for name in about.ignore}
        lines = [line for line in lines if _plain(line.label) not in ignored or line.arm is not None]
        known = [(line, name) for line in lines if (name := self.now.who(line)) is not None]
        self._strangers([line for line in lines if self.now.who(line) is None])
        for line, name in known:
            if (other := self.now.mislabelled(line, name)) is not None:
                self._drift(line.file, line.line, name, "label", f"'{line.label}'", f"'{other}'")
        self.rows += len(lines)
        for width in dict.fromkeys(len(line.cells) for line, _ in known):
            of_width = [(line, name) for line, name in known if len(line.cells) == width]
            heads = [head for head in table.heads if len(head) == width]
            self.heads |= {
                text: self.now.named(text, about.preset or "full") for h in heads for text in h if text
            }
            of_width = [(_sized(line, heads), name) for line, name in of_width]
            keys = self._keys(table, about, of_width, ignored | self.ignore.keys())
            for line, name in of_width if keys else ():
                self._row(line, name, keys)

    def _strangers(self, lines: Iterable[Line]) -> None:
        """Rows of no arm: the comment names one that is gone, or nothing says whose they are."""
        for line in lines:
            counted = sum(len(_numbers(cell)) + bool(_verdict(cell)) for cell in line.cells if cell)
            if line.arm is not None or line.scale is not None:
                gone = "arm" if line.arm is not None else "reference score"
                self.numbers += max(1, counted)
                self._drift(
                    line.file, line.line, line.arm or line.scale or "", "",
                    f"a row of this {gone}", f"nothing: the study has no such {gone}",
                )  # fmt: skip
            elif counted:
                self._skip(
                    line.file, line.line,
                    f"the row '{line.label}' is of no arm. Restore the comment that named it (in LaTeX "
                    '% ablate row "ARM") or its label, or list it in "ignore": [] of the table\'s comment',
                )  # fmt: skip

    def _keys(
        self, table: Shown, about: About, lines: Sequence[tuple[Line, str]], ignored: set[str]
    ) -> list[str]:
        """The column of each cell of these rows, all of one width; empty where that cannot be told."""
        width, first = len(lines[0][0].cells), lines[0][0]
        heads = [head for head in table.heads if len(head) == width]
        if table.heads and not heads:
            self._skip(
                first.file, first.line,
                f"the row '{first.label}' has {width} cells below a heading of {len(table.heads[0])}: "
                "one was lost or added",
            )  # fmt: skip
            return []
        preset = about.preset or "full"
        listed = list(about.columns) or [key for key in self.now.columns(preset) if key != INTERVAL]
        found: list[str | None] = max(
            (self._by_heading(head, listed, preset, ignored) for head in heads),
            key=lambda keys: sum(key is not None for key in keys),
            default=[None] * width,
        )
        for i, key in enumerate(found):
            if key is None and preset != CSV:
                found[i] = self._by_cells(i, found, listed, preset, lines)
        for i, key in enumerate(found):
            for text in dict.fromkeys(head[i] for head in heads if head[i] and key != OWN):
                self._caption(first.file, first.line, text or "", (), "heading")
            if key is None:
                head = next((head[i] for head in heads if head[i]), None)
                own = f"declare it as yours with --ignore {shlex.quote(head or 'HEADING')}"
                other = own if preset == CSV else (
                    f'{own} or in "ignore": [] of the table\'s comment, or all as they stand in "columns"'
                )  # fmt: skip
                self._skip(
                    first.file, first.line - 1 if heads else first.line,
                    f"column {i + 2}, '{head or ''}', is none of the table. Give it its exported heading, or "
                    + other,
                )  # fmt: skip
        return [key or "" for key in found]

    def _by_heading(
        self, head: Sequence[str | None], listed: Sequence[str], preset: str, ignored: set[str]
    ) -> list[str | None]:
        """The columns that their headings name; one heading of two columns says as much as their order."""
        keys: list[str | None] = []
        for i, text in enumerate(head):
            named = self.now.named(text or "", preset)
            again = [j for j, other in enumerate(head) if _plain(other or "") == _plain(text or "")]
            if text and _plain(text) in ignored:
                keys.append(OWN)
            elif len(named) == len(again):
                keys.append(named[again.index(i)])
            elif len(head) == len(listed) and listed[i] in named:
                keys.append(listed[i])
            else:
                keys.append(None)
        return keys

    def _by_cells(
        self, i: int, keys: Sequence[str | None], listed: Sequence[str], preset: str,
        lines: Sequence[tuple[Line, str]],
    ) -> str | None:  # fmt: skip
        """The column of a heading worded anew: the one in its place, or the one whose cells these are."""

        def fitting(key: str) -> int:
            return sum(
                _same(
                    line.cells[i] or "",
                    self.now.cell(key, name, preset),
                    key,
                    self.now.verdicts.get(name, ""),
                )
                for line, name in lines
            )

        free = [key for key in listed if key not in keys]
        fit = {key: fitting(key) for key in free}
        place = listed[i] if len(keys) == len(listed) and listed[i] in free else None
        best = [key for key in free if fit[key] == max(fit.values()) and 2 * fit[key] > len(lines)]
        if place in best or not best:
            return place
        return best[0] if len(best) == 1 else None

    def _row(self, line: Line, name: str, keys: Sequence[str]) -> None:
        verdict = self.now.verdicts.get(name, "")
        preset = line.about.preset or "full"
        i = 0
        while i < len(keys):
            span = 1
            while i + span < len(keys) and line.cells[i + span] is None:
                span += 1
            part, shown = [key for key in keys[i : i + span] if key], line.cells[i] or ""
            i += span
            if not part or part == [OWN]:
                continue
            cells = [self.now.cell(key, name, preset) for key in part]
            recorded = cells[0] if len(cells) == 1 else _Cell(" ".join(cell.text for cell in cells))
            self.numbers += len(_numbers(shown)) + bool(_verdict(shown))
            if not _same(shown, recorded, part[0], verdict):
                self._drift(
                    line.file, line.line, name, part[0], shown or "nothing", recorded.text or "nothing"
                )

    def _drift(self, file: Path, line: int, arm: str, column: str, shown: str, recorded: str) -> None:
        self.drifts.append(Drift(file, line, arm, column, shown, recorded))

    def _skip(self, file: Path, line: int, what: str) -> None:
        self.unchecked.append(Unchecked(file, line, what))


@dataclass(frozen=True)
class _Key:
    """A comment by where it stands."""

    about: About

    def __hash__(self) -> int:
        return hash((self.about.file, self.about.line))


def _said(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value)) or "nothing"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _same(shown: str, recorded: _Cell, key: str, verdict: str) -> bool:
    """Whether a cell says what the records say: all of it, or its first number alone."""
    if key in EXACT:
        return shown == recorded.text
    if key in PROSE:
        return [value for value, _ in _numbers(shown)] == [value for value, _ in _numbers(recorded.text)]
    said = _verdict(shown)
    if said != verdict and (said or key == "verdict"):
        return False
    if key == "p" and (bound := _BOUND.search(shown)) and shown != recorded.text:
        return _bounded(bound[1], float(bound[2]), recorded)
    now = _numbers(recorded.text)
    if key == "p" and _BOUND.search(recorded.text) and recorded.exact and shown != recorded.text:
        now = [(recorded.exact[0], 0.0)]
    # Thousands may be set apart, by what also stands between two numbers.
    readings = (shown, re.sub(r"(?<=\d)[, '](?=\d{3}(?!\d))", "", shown))
    return any(_agree(_numbers(text), now, recorded) for text in readings)


def _agree(shown: Sequence[tuple[float, float]], now: Sequence[tuple[float, float]], recorded: _Cell) -> bool:
    if recorded.text == "reference":  # its difference from itself is none
        return all(value == 0 for value, _ in shown)
    # Decimals follow the standard errors: what the file has more of, only the unrounded number can bear out.
    exact = (*recorded.exact, *[None] * len(now))
    whole = len(shown) == len(now) or (len(shown) == 1 and len(now) > 0)
    return whole and all(_rounded(*three) for three in zip(shown, now, exact, strict=False))


_SIZES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_NUMBER = re.compile(
    r"(?<![\w.])([+-]?)(\d++(?:\.\d*+)?+|\.\d++)([eE][+-]?\d++)?+(?: ?([kKMBT])(?!\w))?+(?!\w)"
)
_BOUND = re.compile(r"([<≤>≥])\s*(\d*\.\d+)")
_CUSTOMARY = (0.05, 0.01, 0.001, 0.0001, 0.9, 0.95, 0.99, 0.999)
_UNIT = re.compile(r"[(\[,] ?([kKMBT])\b|\b(thousand|million|billion)s?\b")
_UNITS = {"thousand": "k", "million": "M", "billion": "B"}


def _sized(line: Line, heads: Sequence[Sequence[str | None]]) -> Line:
    """The row with the size that its heading gives (`Tokens (M)`) behind the first number of each cell."""
    cells = list(line.cells)
    for head in heads:
        for i, text in enumerate(head):
            unit, cell = _UNIT.search(text or ""), cells[i]
            number = _NUMBER.search(cell) if unit and cell else None
            if unit and cell and number and not number[4]:
                size = unit[1] or _UNITS[unit[2]]
                cells[i] = f"{cell[: number.end()]} {size}{cell[number.end() :]}"
    return replace(line, cells=tuple(cells))


def _numbers(text: str) -> list[tuple[float, float]]:
    """The numbers in a text, each with the size of its last digit."""
    text = re.sub(r"(?<![\w.%)\]])–(?=[\d.])", "-", text)  # `--3.8`: an author's minus, no range
    text = text.replace(MINUS, "-").replace("\u202f", "").replace("\u2009", "").replace("\u00a0", " ")
    return [_number(*found.groups(default="")) for found in _NUMBER.finditer(text)]


def _number(sign: str, digits: str, exponent: str, size: str) -> tuple[float, float]:
    scale = float(f"1{exponent}") * _SIZES[size]
    return float(sign + digits) * scale, 10.0 ** -len(digits.partition(".")[2]) * scale


def _rounded(shown: tuple[float, float], recorded: tuple[float, float], exact: float | None) -> bool:
    """Whether the shown number is the recorded one, it rounded to fewer digits, or the exact one to more."""
    value, digit = shown
    truth, room = recorded[0], 0.0
    if 1 <= digit < recorded[1] and value % recorded[1] == 0:
        digit = recorded[1]  # 338,000 for 338 k
    if digit > 1.01 * recorded[1]:
        room = digit / 2
    elif exact is not None and recorded[1] > 1.01 * digit:
        truth, room = exact, digit / 2
    return abs(value - truth) <= room + 1e-9 * max(digit, abs(truth))


def _bounded(relation: str, bound: float, recorded: _Cell) -> bool:
    """Whether a p-value is on that side of a customary bound."""
    p = recorded.exact[0] if recorded.exact else None
    below = relation in "<≤"
    return p is not None and bound in _CUSTOMARY and (p < bound) == below


def _verdict(text: str) -> str:
    """The verdict a cell states, as a word (which may be cut, as `equiv.`) or as its mark."""
    said = re.findall(r"[a-z]{4,}", text.casefold())
    words = [v for v in VERDICTS if any(v.startswith(word) for word in said)]
    marks = [v for v, mark in MARKS.items() if re.search(rf"[\]\d\s\u202f]{re.escape(mark)}$", text.rstrip())]
    return next(iter([*words, *marks]), "")
