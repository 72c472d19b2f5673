r"""Exported tables read back from LaTeX, with every edit that authors make: rows broken over lines, cells in
`\textbf`, `\multicolumn` or `\textcolor`, tables put together, captions moved.

TeX is not run. The file and what it inputs become one text in which the comments that matter are numbered
marks; a scan of row ends, cell ends, braces and environments finds the rows.
"""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ablate.report.latex import unescape
from ablate.report.macros import edits
from ablate.report.reading import About, Caption, Line, Shown, grouped

_COMMENT = re.compile(r"((?:[^%\\]|\\.|\\$)*)%(.*)", re.DOTALL)
_MARK = re.compile(r"\s*ablate\s+(?:(row|scale)\s+(?=\")|(?=\{))(.*)", re.DOTALL)
# Within a tabular TeX's own `@@input` is needed, to which authors give a name of their own.
_PRIMITIVE = r"(?:\\@@input|\\csname\s*@@input\s*\\endcsname|\\input)"
_INPUT = re.compile(
    r"\\(?:input|include|subfile|InputIfFileExists|@@input)\s*\{([^{}#]+)\}"
    rf"|{_PRIMITIVE}\s+([^\s\\{{}}%#]+)"
    r"|\\(?:sub)?import\*?\s*\{([^{}]*)\}\s*\{([^{}]+)\}"
)
_NAMED_INPUT = re.compile(
    r"\\(?:(?:re)?newcommand|(?:New|Renew)DocumentCommand|def)\*?\s*\{?\s*\\([A-Za-z]+)\b[^\\]*"
    rf"(?:\\[A-Za-z]+\s*)??{_PRIMITIVE}\s*\{{?\s*#1"
)
_SKIPPED = re.compile(r"\\begin\s*\{comment\}|\\iffalse(?![A-Za-z])")
_OPENS = re.compile(r"\\begin\s*\{comment\}|\\if(?!f(?![A-Za-z]))[A-Za-z@]*")  # \iff is a sign
_CLOSES = re.compile(r"\\end\s*\{comment\}|\\fi(?![A-Za-z])")
_TOKEN = re.compile(
    r"(?P<row>\\\\\*?(?:[ \t]*\[[^\]\n]*\])?|\\tabularnewline\b)"
    r"|\\begin\s*\{(?P<begin>[^}]*)\}|\\end\s*\{(?P<end>[^}]*)\}"
    r"|(?P<rule>\\(?:toprule|midrule|bottomrule|hline|specialrule|Xhline|endhead|endfirsthead)(?![A-Za-z]))"
    r"|\\[A-Za-z@]+|\\.|(?P<brace>[{}])|(?P<cell>&)|\0(?P<mark>\d+)\0",
    re.DOTALL,
)
_TABULAR = {
    "tabular": 1, "tabular*": 2, "tabularx": 2, "tabulary": 2, "longtable": 1, "xltabular": 2, "tblr": 1,
    "longtblr": 1, "supertabular": 1, "NiceTabular": 1, "NiceTabular*": 2, "NiceTabularX": 2, "array": 1,
}  # environments, and how many arguments they have  # fmt: skip
_FLOAT = re.compile(r"(?:sideways|wrap|long|xl|sub|SC|margin)?(?:table|tab|tabular|tblr|figure)\*?|float")
_CAPTION = re.compile(r"\\caption(?:of\s*\{[^}]*\})?\*?\s*(?:\[[^\]]*\]\s*)?(?=\{)")
_TEN = re.compile(r"\s*\\(?:times|cdot)\s*10\s*\^\s*(?:\{\s*([+-]?\d+)\s*\}|(\d))")
_SCRIPT = re.compile(r"[\^_]\{((?:[^{}]|\{[^{}]*\})*)\}|\^(?:\\[A-Za-z]+|\w)")
_NOTES = re.compile(r"\\begin\s*\{tablenotes\}(.*?)\\end\s*\{tablenotes\}", re.DOTALL)
_ITEM = re.compile(r"\\item(?![A-Za-z])(?:\s*\[[^\]]*\])?((?:(?!\\item(?![A-Za-z])).)*)", re.DOTALL)
# command → arguments in braces, and which of them is shown (none: -1)
_ARGUMENTS = {
    "multicolumn": (3, 2), "multirow": (3, 2), "textcolor": (2, 1), "colorbox": (2, 1), "makecell": (1, 0),
    "shortstack": (1, 0), "cellcolor": (1, -1), "rowcolor": (1, -1), "color": (1, -1), "hspace": (1, -1),
    "vspace": (1, -1), "phantom": (1, -1), "hphantom": (1, -1), "vphantom": (1, -1), "tnote": (1, -1),
    "footnote": (1, -1), "footnotemark": (0, -1), "textsuperscript": (1, -1), "cite": (1, -1),
    "citep": (1, -1), "citet": (1, -1), "ref": (1, -1), "label": (1, -1), "cmidrule": (1, -1),
    "cline": (1, -1),
    "addlinespace": (0, -1), "specialrule": (3, -1), "Xhline": (1, -1), "noalign": (1, -1), "SI": (2, 0),
    "qty": (2, 0), "resizebox": (3, 2), "scalebox": (2, 1), "begin": (2, -1), "end": (1, -1),
    "setlength": (2, -1), "caption": (1, -1),
}  # fmt: skip

# Read by what they show, also where a paper defines them anew.
_KEPT = {*_ARGUMENTS, "input", "include", "toprule", "midrule", "bottomrule", "hline", "tabularnewline"}


@dataclass
class _Document:
    """A file with its inputs: the text, and where each piece of it comes from."""

    root: Path
    pieces: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    places: list[tuple[Path, int]] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    inputs: set[str] = field(default_factory=set)  # names that authors gave to `\\input`
    missing: list[tuple[int, str]] = field(
        default_factory=list
    )  # offset and name of inputs that are not there
    length: int = 0

    def add(self, text: str, file: Path, line: int) -> None:
        self.starts.append(self.length)
        self.places.append((file, line))
        self.pieces.append(text)
        self.length += len(text)

    def place(self, offset: int) -> tuple[Path, int]:
        """File and line of an offset in the text."""
        return self.places[max(0, bisect.bisect_right(self.starts, offset) - 1)]

    def written_out(self) -> tuple[_Document, list[tuple[int, str]]]:
        """The document with the authors' macros written out, and where one is used that cannot be read."""
        text, unread = "".join(self.pieces), list[tuple[int, str]]()
        made, at = _Document(self.root, marks=self.marks), 0
        for edit in edits(text, _KEPT):
            made._copy(self, at, edit.start)
            at = edit.start if edit.by is None else edit.end
            if edit.by is None:
                unread.append((made.length, edit.name))
            else:
                made.add(edit.by, *self.place(edit.start))
        made._copy(self, at, self.length)
        return made, unread

    def _copy(self, other: _Document, start: int, end: int) -> None:
        """Add [start, end) of another document's text."""
        i = max(0, bisect.bisect_right(other.starts, start) - 1)
        while i < len(other.pieces) and other.starts[i] < end:
            piece, begins = other.pieces[i], other.starts[i]
            self.add(piece[max(0, start - begins) : end - begins], *other.places[i])
            i += 1

    def read(self, file: Path, inside: tuple[Path, ...] = ()) -> None:
        """Take in a file and what it inputs; a file that inputs itself is taken in once."""
        text = _decoded(file.read_bytes()).replace("\r\n", "\n").replace("\0", "")
        skipping = 0  # environments or conditionals that are open and that TeX skips
        for number, line in enumerate(text.split("\n"), 1):
            if skipping:
                skipping += len(_OPENS.findall(line)) - len(_CLOSES.findall(line))
                continue
            commented = _COMMENT.fullmatch(line)
            code, comment = commented.groups() if commented else (line, "")
            if code.strip() == r"\endinput":
                return
            if skipped := _SKIPPED.search(code):
                rest = code[skipped.start() :]
                skipping = len(_OPENS.findall(rest)) - len(_CLOSES.findall(rest))
                code, comment = code[: skipped.start()], ""
            self._line(code, file, number, (*inside, file.resolve()))
            if _MARK.fullmatch(comment):
                self.marks.append(comment)
                self.add(f"\0{len(self.marks) - 1}\0", file, number)
            self.add("\n", file, number)

    def _line(self, code: str, file: Path, number: int, inside: tuple[Path, ...]) -> None:
        at = 0
        self.inputs.update(found[1] for found in _NAMED_INPUT.finditer(code))
        for name in self.inputs:
            code = re.sub(rf"\\{name}\s*(?=\{{[^{{}}#]+\}})", r"\\input", code)
        for found in _INPUT.finditer(code):
            given = (found[1] or found[2] or f"{found[3]}/{found[4]}").strip().strip('"')
            path = self._find(given, file)
            if path is not None and path.resolve() not in inside:
                self.add(code[at : found.start()], file, number)
                self.read(path, inside)
                at = found.end()
            elif path is None and not found[0].startswith(r"\InputIfFileExists"):
                self.missing.append((self.length + found.start() - at, given))
        self.add(code[at:], file, number)

    def _find(self, given: str, file: Path) -> Path | None:
        """As TeX looks for it, from where the paper is compiled; or beside the file that inputs it."""
        names = (given,) if given.endswith(".tex") else (f"{given}.tex", given)
        for path in (base / name for base in (self.root, file.parent) for name in names):
            try:
                if path.is_file():
                    return path
            except (OSError, ValueError):  # a name that no file can have
                return None
        return None


def _decoded(data: bytes) -> str:
    """Papers of `inputenc` with latin1 have ASCII where it matters here: commands, numbers, our comments."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


@dataclass
class _Row:
    offset: int
    cells: list[str]
    about: About
    kind: str = ""  # row or scale, where a comment names it
    name: str = ""


@dataclass
class _Block:
    """A tabular, or (not `inside`) what stands between two of them."""

    start: int
    end: int
    inside: bool
    named: bool  # a comment names the table
    rows: list[_Row] = field(default_factory=list)
    ruled: int | None = None  # rows above the first rule below a row


def read_latex(file: Path) -> Iterator[Shown]:
    """The tabulars below a comment that names them, or with rows that carry our comments."""
    read = _Document(file.parent)
    read.read(file)
    document, _ = read.written_out()
    text = "".join(document.pieces)
    blocks = [block for block in _Scan(document, text).blocks if _ours(block)]
    captions, notes = list(_captions(document, text, blocks)), list(_notes(document, text, blocks))
    for i, block in enumerate(blocks):
        heads = _heads(block)
        own, below = (tuple(said for said, at in found if i in at) for found in (captions, notes))
        lines = [_line(document, row) for row in block.rows[len(heads) :] if _is_row(block, row, heads)]
        shown = tuple(tuple(cells[1:]) for head in heads if len(cells := _cells(head.cells)) > 1)
        yield Shown(shown, tuple(grouped(lines)), own, below)


def missing(file: Path) -> Iterator[tuple[Path, int, str]]:
    """File, line and name of what is input and cannot be found; a preamble, which holds no table, may."""
    document = _Document(file.parent)
    document.read(file)
    begins = "".join(document.pieces).find(r"\begin{document}")
    for offset, given in document.missing:
        if offset >= begins:
            yield *document.place(offset), given


def unread(file: Path) -> Iterator[tuple[Path, int, str]]:
    """File, line and name of macros in our tables that are defined in a form that is not read."""
    read = _Document(file.parent)
    read.read(file)
    document, uses = read.written_out()
    if uses:
        blocks = [b for b in _Scan(document, "".join(document.pieces)).blocks if b.inside and _ours(b)]
        for offset, name in uses:
            if any(block.start <= offset < block.end for block in blocks):
                yield *document.place(offset), name


def _ours(block: _Block) -> bool:
    if not block.inside:
        block.rows = [row for row in block.rows if row.kind]
    return any(row.kind for row in block.rows) or (block.named and any(len(r.cells) > 1 for r in block.rows))


def _is_row(block: _Block, row: _Row, heads: Sequence[_Row]) -> bool:
    """Headings come again in a `longtable`."""
    return bool(row.kind) or all(_cells(row.cells)[1:] != _cells(head.cells)[1:] for head in heads)


def _heads(block: _Block) -> list[_Row]:
    """The rows above the first rule or, where there is none, the first; never one that a comment names."""
    named = next((i for i, row in enumerate(block.rows) if row.kind), len(block.rows))
    ruled = block.ruled if block.ruled is not None else min(1, len(block.rows))
    found = block.rows[: min(named, ruled)]
    # Rows whose cells are mostly numbers are no heading: the rule below the heading was lost.
    return found[:1] + [row for row in found[1:] if not _numeric(row)] if block.inside else []


def _numeric(row: _Row) -> bool:
    cells = [cell for cell in _cells(row.cells)[1:] if cell]
    return 2 * sum(bool(re.match(r"[+−-]?\.?\d", cell)) for cell in cells) > len(cells)


def _line(document: _Document, row: _Row) -> Line:
    label, *cells = _cells(row.cells)
    file, number = document.place(row.offset)
    arm, scale = (row.name if row.kind == kind else None for kind in ("row", "scale"))
    return Line(file, number, row.about, label or "", tuple(cells), arm=arm, scale=scale)


class _Scan:
    """Finds tabulars, rows and cells; braces and environments within a cell are its content."""

    def __init__(self, document: _Document, text: str) -> None:
        self.document, self.text = document, text
        self.about = About(document.root)
        self.block = _Block(0, 0, inside=False, named=False)
        self.blocks = [self.block]
        self.named = False  # a comment named a table that has not come yet
        self.depth = 0  # of braces and environments within the tabular
        self.cells: list[str] = []
        self.start = 0  # of the cell that is read
        self.pending = ""  # the comment of a row, before the row's end
        self.ruled = True  # a rule or the tabular's begin stands between the last row and here
        self.above = False  # the comments stand on lines of their own above their rows
        for token in _TOKEN.finditer(text):
            self._token(token)
        self._open(len(text), inside=False)

    def _token(self, token: re.Match[str]) -> None:
        begin, end = token["begin"], token["end"]
        flat = self.depth == 0 or not self.block.inside
        if token["mark"]:
            self._mark(int(token["mark"]), token.start())
        elif begin in _TABULAR and not self.block.inside:
            self._open(_after_arguments(self.text, token.end(), _TABULAR[begin]), inside=True)
        elif end in _TABULAR and self.block.inside and self.depth <= 0:
            self._open(token.start(), inside=False)
            self.start = token.end()
        elif begin or token["brace"] == "{":
            self.depth += 1
        elif end or token["brace"] == "}":
            self.depth -= 1
        elif not flat:
            return
        elif token["cell"]:
            self.cells.append(self.text[self.start : token.start()])
            self.start = token.end()
        elif token["row"]:
            self._row(token.start(), token.end())
        elif token["rule"] and self.block.inside:
            if self.cells:
                self._row(token.start(), token.start())
            if self.block.rows and self.block.ruled is None:
                self.block.ruled = len(self.block.rows)
            self.ruled = True

    def _open(self, at: int, *, inside: bool) -> None:
        """Begin what comes after or within a tabular; ends what was before."""
        if self.cells:
            self._row(at, at)
        self.block.end = at
        if self.block.inside and any(len(row.cells) > 1 for row in self.block.rows):
            self.named = False
        self.block = _Block(at, at, inside, named=inside and self.named)
        self.blocks.append(self.block)
        self.depth, self.cells, self.start, self.pending = 0, [], at, ""
        self.ruled, self.above = True, False

    def _row(self, at: int, after: int) -> None:
        cells = [*self.cells, self.text[self.start : at]]
        if len(cells) > 1 or plain(cells[0]):  # else a space, or the caption of a `longtable`
            self.block.rows.append(_Row(at, cells, self.about))
            if self.pending:
                self._name(self.block.rows[-1], self.pending)
            self.pending, self.ruled = "", False
        self.cells, self.start = [], after

    def _mark(self, index: int, at: int) -> None:
        comment = self.document.marks[index]
        kind, content = _MARK.fullmatch(comment).groups()  # type: ignore[union-attr]
        if kind is None:
            self.about = About.parse(content, *self.document.place(at))
            self.named = True
            self.block.named = self.block.named or self.block.inside
            return
        alone = not self.text[self.text.rfind("\n", 0, at) + 1 : at].strip()
        self.above = self.above or (alone and self.ruled)
        if self.cells or not self.block.rows or (alone and self.above) or plain(self.text[self.start : at]):
            self.pending = comment
        elif not self.block.rows[-1].kind:
            self._name(self.block.rows[-1], comment)

    def _name(self, row: _Row, comment: str) -> None:
        kind, content = _MARK.fullmatch(comment).groups()  # type: ignore[union-attr]
        try:
            row.name, row.kind = str(json.JSONDecoder().raw_decode(content)[0]), kind
        except ValueError:  # torn: the row's label is what is left
            return


def _after_arguments(text: str, at: int, count: int) -> int:
    """The offset behind so many groups in braces; brackets between them are passed."""
    while count and (found := re.compile(r"\s*(?:\[[^\]]*\]|\([^)]*\))?\s*").match(text, at)):
        at = found.end()
        if at >= len(text) or text[at] != "{":
            break
        at, count = _closing(text, at) + 1, count - 1
    return at


def _closing(text: str, at: int) -> int:
    """The offset of the brace that closes the one at `at`."""
    depth = 0
    for found in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, at):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0:
            return found.start()
    return len(text) - 1


def _cells(cells: Sequence[str]) -> list[str | None]:
    """The cells as plain text; None behind one that spans."""
    found: list[str | None] = []
    for cell in cells:
        span = re.match(r"[\s\0]*\\multicolumn\s*\{\s*(\d+)\s*\}", _without_rules(cell))
        found += [plain(cell), *[None] * (min(int(span[1]), 1000) - 1 if span else 0)]
    return found


def _without_rules(cell: str) -> str:
    return re.sub(
        r"^(?:\s|\0\d+\0|\\(?:top|mid|bottom)rule|\\hline|\\addlinespace(?:\[[^\]]*\])?|\\end(?:first)?head"
        r"|\\(?:cmidrule|cline|rowcolor|noalign)(?:\([^)]*\)|\[[^\]]*\])*\{[^}]*\})*",
        "",
        cell,
    )


def plain(cell: str) -> str:
    """A cell as plain text: of commands with arguments only what is shown."""
    text = re.sub(r"\0\d+\0", "", cell)
    text = re.sub(r"\\\\(?:\[[^\]]*\])?", " ", text)
    text = _TEN.sub(r"e\1\2", text)
    text = _SCRIPT.sub(_script, text.replace(r"\_", "\1")).replace("\1", r"\_")
    text = re.sub(r"(\\[A-Za-z]+)\s*\[[^\]]*\](?=\s*\{)", r"\1", text)
    at = 0
    while found := re.compile(r"\\([A-Za-z]+)\*?").search(text, at):
        if found[1] not in _ARGUMENTS:
            at = found.end()
            continue
        count, shown = _ARGUMENTS[found[1]]
        kept, end = "", found.end()
        for i in range(count):
            after = _after_arguments(text, end, 1)
            if after == end:
                break
            group = text[end:after]
            kept = group[group.find("{") + 1 : -1] if i == shown and group.rstrip().endswith("}") else kept
            end = after
        if not count and (bracket := re.compile(r"\s*\[[^\]]*\]").match(text, end)):
            end = bracket.end()
        at = found.start()
        text = f"{text[:at]}{kept} {text[end:]}" if kept else f"{text[:at]} {text[end:]}"
    return re.sub(r"[ \t\n]+", " ", unescape(re.sub(r"\}(?=\s*\{)", "} ", text))).strip()


def _script(found: re.Match[str]) -> str:
    """An index or exponent: marks of footnotes go; an interval, a deviation and a name's index stay."""
    said = found[1] or ""
    if re.search(r"\d?\.\d|\[", said):
        return f" {said} "
    return said if found[0][0] == "_" and re.search("[A-Za-z]{2}", said) else ""


def _captions(document: _Document, text: str, blocks: Sequence[_Block]) -> Iterator[tuple[Caption, set[int]]]:
    """Every caption with the tables that stand in its float or, without a float, next to it."""
    floats = list(_floats(text))
    for found in _CAPTION.finditer(text):
        around = [f for f in floats if f[0] <= found.start() < f[1]]
        first, last = min(around, key=lambda f: f[1] - f[0], default=(0, 0))
        at = {i for i, block in enumerate(blocks) if first <= block.start and block.end <= last}
        if not around and blocks:
            near = min(range(len(blocks)), key=lambda i: _distance(blocks[i], found.start()))
            at = {near} if _distance(blocks[near], found.start()) < 3000 else set()
        if at:
            said = plain(text[found.end() + 1 : _closing(text, found.end())])
            of = {(row.about.file, row.about.line): row.about for i in at for row in blocks[i].rows}
            yield Caption(*document.place(found.start()), said, tuple(of.values())), at


def _notes(document: _Document, text: str, blocks: Sequence[_Block]) -> Iterator[tuple[Caption, set[int]]]:
    """The items of `tablenotes` with the tables of their float."""
    floats = list(_floats(text))
    for notes in _NOTES.finditer(text):
        around = [f for f in floats if f[0] <= notes.start() < f[1]]
        first, last = min(around, key=lambda f: f[1] - f[0], default=(0, 0))
        at = {i for i, block in enumerate(blocks) if first <= block.start and block.end <= last}
        of = {(row.about.file, row.about.line): row.about for i in at for row in blocks[i].rows}
        for item in _ITEM.finditer(text, notes.start(1), notes.end(1)):
            yield Caption(*document.place(item.start()), plain(item[1]), tuple(of.values())), at


def _distance(block: _Block, at: int) -> int:
    return 0 if block.start <= at <= block.end else min(abs(block.start - at), abs(block.end - at))


def _floats(text: str) -> Iterator[tuple[int, int]]:
    """[start, end) of every float, and of tabulars that have captions of their own."""
    open_: list[tuple[str, int]] = []
    for found in re.finditer(r"\\(begin|end)\s*\{([^}]*)\}", text):
        if not _FLOAT.fullmatch(found[2]) or found[2].startswith("tabular"):
            continue
        if found[1] == "begin":
            open_.append((found[2], found.start()))
        elif open_ and open_[-1][0] == found[2]:
            yield open_.pop()[1], found.end()
