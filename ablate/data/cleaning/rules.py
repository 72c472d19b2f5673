"""Length and character rules: what no reader would call text goes, by counting."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal

from ablate.data.cleaning.interface import Document, Report, Stage
from ablate.knobs import Knob

_GOPHER = "the paper filters by tokens per character alone (4.4)"
STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
_STRANGE = re.compile(r"[^A-Za-z\s]")


class Rules(Stage):
    """Counting rules after MassiveText (Rae et al. 2021, arXiv:2112.11446, A.1), on whole documents.

    The first rule that a document breaks is its reason in the report. Each rule is off at its neutral value.
    """

    kind: Literal["rules"] = "rules"
    min_characters: Annotated[int, Knob("fewest characters", 0, 100_000, paper=_GOPHER)] = 0
    max_characters: Annotated[
        int | None, Knob("most characters; none: no limit", 1, 1e9, log=True, paper=_GOPHER)
    ] = None
    min_words: Annotated[int, Knob("fewest words (MassiveText: 50)", 0, 10_000, paper=_GOPHER)] = 50
    min_word_length: Annotated[
        float, Knob("shortest mean word length (MassiveText: 3)", 0.0, 10.0, paper=_GOPHER)
    ] = 3.0
    max_word_length: Annotated[
        float, Knob("longest mean word length (MassiveText: 10)", 2.0, 100.0, paper=_GOPHER)
    ] = 10.0
    max_symbols: Annotated[
        float,
        Knob("largest share of characters that are neither letters a to z nor blanks", 0.0, 1.0,
             paper=_GOPHER),
    ] = 0.3  # fmt: skip
    max_repeated_lines: Annotated[
        float, Knob("largest share of lines that stood before (MassiveText: 0.3)", 0.0, 1.0, paper=_GOPHER)
    ] = 0.3
    min_stop_words: Annotated[
        int, Knob("fewest different ones of the, be, to, of, and, that, have, with (MassiveText: 2)", 0, 8,
                  paper=_GOPHER)
    ] = 2  # fmt: skip

    @property
    def name(self) -> str:
        return "rules"

    def broken(self, text: str) -> str | None:
        """The first rule that a text breaks, None if it keeps them all."""
        words = text.split()
        mean = sum(map(len, words)) / max(len(words), 1)
        # Cheap counts first; a check is only made when none before it spoke.
        checks: tuple[tuple[str, Callable[[], bool]], ...] = (
            ("too few characters", lambda: len(text) < self.min_characters),
            ("too many characters", lambda: len(text) > (self.max_characters or len(text))),
            ("too few words", lambda: len(words) < self.min_words),
            ("words too short", lambda: mean < self.min_word_length),
            ("words too long", lambda: mean > self.max_word_length),
            ("too many symbols", lambda: _symbols(text) > self.max_symbols),
            ("repeated lines", lambda: _repeated(text) > self.max_repeated_lines),
            ("too few stop words", lambda: _stop_words(words) < self.min_stop_words),
        )
        return next((reason for reason, check in checks if check()), None)

    def apply(self, shard: Iterable[Document], state: Any, report: Report) -> Iterator[Document]:
        for document in shard:
            reason = self.broken(document.text)
            if reason is None:
                yield report.keep(document)
            else:
                report.drop(document, reason)


def _symbols(text: str) -> float:
    """Share of characters that are neither ASCII letters nor blanks."""
    return len(_STRANGE.findall(text)) / max(len(text), 1)


def _repeated(text: str) -> float:
    """Share of the lines with text that are copies of a line before."""
    lines = Counter(line.strip() for line in text.splitlines() if line.strip())
    return 1 - len(lines) / max(lines.total(), 1)


def _stop_words(words: list[str]) -> int:
    return len(STOP_WORDS.intersection(word.strip(".,;:!?\"'()").lower() for word in words))
