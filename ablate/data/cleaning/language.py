"""A language filter."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from ablate.data.cleaning.interface import Document, Report, Stage
from ablate.data.errors import DataError
from ablate.knobs import Knob

SEEN = 1000  # characters that the identifier reads: its answer does not change much after a few hundred


class Language(Stage):
    """Keeps documents of one language, by langid's naive Bayes over byte n-grams (Lui & Baldwin 2012).

    The identifier comes trained with its package (`pip install ablate-bert[cleaning]`).
    """

    kind: Literal["langid"] = "langid"
    language: Annotated[
        str, Knob("ISO 639-1 code of the language to keep", paper="C4 is English by langdetect")
    ] = "en"
    certainty: Annotated[
        float, Knob("smallest probability of that language", 0.0, 1.0, paper="C4 asks for 0.99")
    ] = 0.5

    @property
    def name(self) -> str:
        return "language"

    @property
    def breaks_strict(self) -> str | None:
        return "langid was trained on labelled text of 97 languages"

    def problems(self) -> list[str]:
        try:
            known = identifier().labels
        except DataError as error:
            return [str(error)]
        if self.language in known:
            return []
        return [
            f"cleaning stage 'language' knows {', '.join(sorted(known))}; it was given '{self.language}'; "
            "name one of them"
        ]

    def fingerprint(self) -> dict[str, Any]:
        from importlib.metadata import version

        return {**self.model_dump(), "py3langid": version("py3langid")}

    def apply(self, shard: Iterable[Document], state: Any, report: Report) -> Iterator[Document]:
        classify = identifier().classify
        for document in shard:
            found, probability = classify(document.text[:SEEN])
            if found == self.language and probability >= self.certainty:
                yield report.keep(document)
            else:
                report.drop(document, found if found != self.language else "uncertain")


@functools.cache
def identifier() -> Any:
    """The package's own model, giving probabilities. Raises DataError where the package is missing."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise DataError(
            "cleaning stage 'language' needs the package py3langid; it is not installed; "
            "pip install 'ablate-bert[cleaning]'"
        ) from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
