"""Normalisation of the text itself: case, accents, other alphabets, blanks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from ablate.data.cleaning.interface import Document, Report, Stage
from ablate.knobs import Knob

_BLANKS = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n[ \n]*")
_FOREIGN = re.compile(r"[^\x00-\x7f]+")
# What a reader sees in ASCII but decomposition does not give.
_TYPOGRAPHY = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "\u00a0": " "}
)


class Normalize(Stage):
    """Rewrites documents before anything else sees them: every later stage and the tokenizer.

    The crammed tokenizer lower-cases, strips accents and drops what is not ASCII by itself, so for it these
    change only what other stages compare.
    """

    kind: Literal["normalize"] = "normalize"
    lowercase: Annotated[bool, Knob("lower-case", paper="4.1: lower-cased, as BERT uncased")] = True
    accents: Annotated[
        bool, Knob("strip accents: é becomes e (Unicode NFKD, marks dropped)", paper="4.1: stripped")
    ] = True
    ascii: Annotated[
        bool, Knob("drop what is not ASCII, after typographic quotes and dashes became plain ones",
                   paper="4.1: non-ASCII characters are dropped")
    ] = True  # fmt: skip
    whitespace: Annotated[
        bool, Knob("one blank between words, one line end between lines, none at the ends")
    ] = True

    @property
    def name(self) -> str:
        return "normalize"

    @property
    def training_only(self) -> bool:
        return False  # training and held-out text must look alike

    def clean(self, text: str) -> str:
        """The text, normalised; doing it twice changes nothing more."""
        if self.ascii and not text.isascii():
            text = text.translate(_TYPOGRAPHY)
        if self.lowercase:
            text = text.lower()
        if self.accents and not text.isascii():
            text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
            # Some compatibility characters decompose into capitals.
            text = text.lower() if self.lowercase else text
        if self.ascii and not text.isascii():
            text = _FOREIGN.sub("", text)
        if self.whitespace:
            text = _LINES.sub("\n", _BLANKS.sub(" ", text)).strip()
        return text

    def apply(self, shard: Iterable[Document], state: Any, report: Report) -> Iterator[Document]:
        for document in shard:
            text = self.clean(document.text)
            if text:
                yield report.keep(document._replace(text=text), document)
            else:
                report.drop(document, "nothing left")
