"""Cleaning: which stages a corpus passes through, each a knob, in the order of the fields."""

from __future__ import annotations

from typing import Annotated

from ablate.data.cleaning.decontaminate import Decontaminate
from ablate.data.cleaning.duplicates import NearDuplicates
from ablate.data.cleaning.interface import Stage, by_name
from ablate.data.cleaning.language import Language
from ablate.data.cleaning.normalize import Normalize
from ablate.data.cleaning.quality import Quality
from ablate.data.cleaning.resample import Dsir
from ablate.data.cleaning.rules import Rules
from ablate.data.cleaning.substrings import ExactSubstrings
from ablate.knobs import Config, Knob


class Cleaning(Config):
    """What is done to documents before they are tokenized; by default nothing.

    The order is from cheap to dear and from single documents to the whole corpus: what comes late sees
    less text, and a selection that compares documents sees no copies.
    """

    normalize: Annotated[
        Annotated[Normalize, by_name] | None,
        Knob("rewrite the text: case, accents, other alphabets, blanks; none: the tokenizer does it alone",
             paper="4.1: lower-cased, accents stripped, ASCII only"),
    ] = None  # fmt: skip
    rules: Annotated[
        Annotated[Rules, by_name] | None,
        Knob("drop documents by length, words, symbols, repeated lines", paper="4.4 filters by tokens alone"),
    ] = None
    language: Annotated[
        Annotated[Language, by_name] | None,
        Knob("keep documents of one language", paper="2.1: English corpora, filtered by their makers",
             cost="about 1 ms a document"),
    ] = None  # fmt: skip
    exact: Annotated[
        Annotated[ExactSubstrings, by_name] | None,
        Knob("cut passages that occur elsewhere in the corpus as well",
             paper="4.4: exact substring deduplication does not help downstream",
             cost="reads the corpus once more"),
    ] = None  # fmt: skip
    duplicates: Annotated[
        Annotated[NearDuplicates, by_name] | None,
        Knob("drop documents that nearly equal another", paper="not in the paper",
             cost="reads the corpus once more"),
    ] = None  # fmt: skip
    decontaminate: Annotated[
        Annotated[Decontaminate, by_name] | None,
        Knob("find evaluation examples in the training text", paper="not in the paper; the critique asks"),
    ] = None
    quality: Annotated[
        Annotated[Quality, by_name] | None,
        Knob("keep what a classifier trained on few labels thinks best",
             paper="not in the paper; the critique asks for phi-1's recipe",
             cost="reads the corpus once more"),
    ] = None  # fmt: skip
    resample: Annotated[
        Annotated[Dsir, by_name] | None,
        Knob("draw documents that resemble a target text", paper="not in the paper",
             cost="reads the corpus once more"),
    ] = None  # fmt: skip

    def stages(self) -> list[Stage]:
        """The stages that are switched on, in the order in which they run."""
        return [value for key in type(self).model_fields if (value := getattr(self, key)) is not None]

    def problems(self) -> list[str]:
        """What keeps a stage from running, each with the rule, the fact and the way out."""
        return [problem for stage in self.stages() for problem in stage.problems()]
