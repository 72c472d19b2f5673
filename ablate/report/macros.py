r"""The authors' own macros in LaTeX: `\newcommand{\res}[2]{#1\,$\pm$\,#2}` written out where it is used.

TeX is not run. What is read is the form that papers use for numbers: a name, a count of arguments, perhaps a
default for the first, and a body. Any other definition (delimited arguments, `xparse`) is not guessed at: its
uses are told, and count as not checked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

DEEPEST = 20  # macros within macros; a paper's have two or three levels, one that uses itself has no end
MOST = 1000  # macros that one use may come to: few levels that use each other twice are a million
_NAME = re.compile(r"\\(?:([A-Za-z@]+)|.)", re.DOTALL)  # `\\` ends a row, whatever letters follow
_LATEX = re.compile(
    r"\\(?:newcommand|renewcommand|providecommand|DeclareRobustCommand)\*?\s*"
    r"(?:\{\s*\\([A-Za-z@]+)\s*\}|\\([A-Za-z@]+))\s*(?:\[\s*(\d)\s*\])?\s*(?:\[([^\]]*)\])?\s*(?=\{)"
)
_TEX = re.compile(r"\\(?:def|gdef|edef|xdef)\s*\\([A-Za-z@]+)\s*((?:#\d)*)\s*(?=\{)")
_OTHER = re.compile(
    r"\\(?:[gex]?def|(?:New|Renew|Provide|Declare)(?:Expandable)?(?:DocumentCommand|RobustCommand)"
    r"|(?:re)?newcommand|providecommand)\*?\s*\{?\s*\\([A-Za-z@]+)"
)
_SPACE = re.compile(r"\s*")


class Edit(NamedTuple):
    """[start, end) of the text becomes `by`; None where the macro there cannot be read."""

    start: int
    end: int
    name: str
    by: str | None


@dataclass(frozen=True)
class _Macro:
    count: int
    default: str | None
    body: str


@dataclass
class _Known:
    """The macros as they are defined up to here; None: defined in a form that is not read."""

    kept: Collection[str]
    macros: dict[str, _Macro | None] = field(default_factory=dict)
    steps: int = 0  # macros that the use at hand has come to so far

    def define(self, text: str, at: int) -> int | None:
        """Take in the definition that begins here; where it ends, or None where none begins."""
        if found := _LATEX.match(text, at):
            name, count, default = found[1] or found[2], int(found[3] or 0), found[4]
        elif found := _TEX.match(text, at):
            name, count, default = found[1], len(found[2]) // 2, None
        elif found := _OTHER.match(text, at):
            self._keep(found[1], None)
            return found.end()
        else:
            return None
        body = _group(text, found.end())
        if body is None:
            self._keep(name, None)
            return found.end()
        # A table in a macro has comments of ours within: it is read where it is defined.
        if "\0" not in body:
            self._keep(name, _Macro(count, default, body))
            return found.end() + len(body) + 2
        return found.end()

    def _keep(self, name: str, macro: _Macro | None) -> None:
        if name not in self.kept and not name.startswith("ablate"):
            self.macros[name] = macro

    def use(self, name: str, text: str, at: int, depth: int = 0) -> tuple[int, str] | None:
        """What a macro says whose name ends at `at`, and where its arguments end; None: it cannot be read."""
        macro = self.macros[name]
        self.steps = self.steps + 1 if depth else 1
        if macro is None or depth > DEEPEST or self.steps > MOST:
            return None
        given: list[str] = []
        if macro.default is not None:
            bracket = re.compile(r"\s*\[([^\]]*)\]").match(text, at)
            given, at = [bracket[1] if bracket else macro.default], bracket.end() if bracket else at
        while len(given) < macro.count:
            at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
            group = _group(text, at)
            if group is None and not re.match(r"[\w.+-]", text[at : at + 1]):
                return None
            given.append(text[at] if group is None else group)
            at += 1 if group is None else len(group) + 2
        said = re.sub(r"#(\d)", lambda found: _nth(given, int(found[1])), macro.body)
        inner = self.written_out(said, depth + 1)
        return None if inner is None else (at, inner)

    def written_out(self, text: str, depth: int) -> str | None:
        pieces, at = [], 0
        while found := _NAME.search(text, at):
            pieces.append(text[at : found.start()])
            at = found.end()
            if found[1] not in self.macros:
                pieces.append(found[0])
                continue
            used = self.use(found[1], text, at, depth)
            if used is None:
                return None
            at, said = used
            pieces.append(said)
        return "".join([*pieces, text[at:]])


def edits(text: str, kept: Collection[str]) -> Iterator[Edit]:
    """Every use of a macro that the text defines before it, in order; `kept` are names that are never one."""
    known, at = _Known(kept), 0
    while found := _NAME.search(text, at):
        end = known.define(text, found.start())
        at = found.end() if end is None else end
        if end is not None or found[1] not in known.macros:
            continue
        used = known.use(found[1], text, at)
        if used is None:
            yield Edit(found.start(), found.end(), found[1], None)
        else:
            at = used[0]
            yield Edit(found.start(), at, found[1], used[1])


def _nth(given: list[str], number: int) -> str:
    return given[number - 1] if 0 < number <= len(given) else ""


def _group(text: str, at: int) -> str | None:
    """What stands between the brace at `at` and the one that closes it; None where there is none."""
    if text[at : at + 1] != "{":
        return None
    depth = 0
    for found in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, at):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0:
            return text[at + 1 : found.start()]
    return None
