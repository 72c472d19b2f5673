"""DSIR: importance resampling of a corpus towards a target text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from ablate.data import files
from ablate.data.cleaning.interface import Document, Report, Stage
from ablate.data.cleaning.places import found
from ablate.data.cleaning.sample import Lowest, gumbel, lowest, threshold
from ablate.data.cleaning.spans import batches, words
from ablate.data.errors import DataError
from ablate.knobs import Knob

SMOOTHING = 1e-8  # added to every probability, as in the reference


class Scanned(NamedTuple):
    """What a shard tells: its n-gram counts and a sample of it."""

    counts: np.ndarray  # [buckets] int64
    sample: list[Document]


class Weights(NamedTuple):
    """Log importance per bucket, and the weight from which a document is kept."""

    log_ratio: np.ndarray  # [buckets]
    threshold: float
    divergence: tuple[float, float]  # nats from the target to the corpus, and to what is kept of the sample


class Dsir(Stage):
    """Draws documents whose n-grams are likelier in the target (Xie et al. 2023, DSIR, arXiv:2302.03169).

    A document's weight is the sum of log p_target - log p_corpus over its hashed words and n-grams; Gumbel
    noise added to it makes the highest share a draw without replacement. Differences to the reference
    (`data-selection` 1.0.3): punctuation is no word; a document's excerpt stands for it, as long documents
    would otherwise win by length (the paper draws pieces of equal length); the noise belongs to the id.
    """

    kind: Literal["dsir"] = "dsir"
    target: Annotated[
        str, Knob("glob of files with the target text; a relative one is looked up below ABLATE_DATA too")
    ] = "text/textbooks/train.parquet"
    column: Annotated[str, Knob("field of the target files that holds the text")] = "text"
    keep: Annotated[
        float, Knob("share of the documents that is drawn", 0.01, 1.0, log=True,
                    paper="not in the paper; its authors report +2 GLUE over a random draw")
    ] = 0.5  # fmt: skip
    ngrams: Annotated[int, Knob("longest n-gram", 1, 4, paper="not in the paper; DSIR: 2")] = 2
    buckets: Annotated[
        int, Knob("hash buckets", 100, 1_000_000, log=True, paper="not in the paper; DSIR: 10,000")
    ] = 10_000
    excerpt: Annotated[
        int, Knob("first characters of a document that stand for it", 100, 20_000, log=True,
                  paper="not in the paper; DSIR: pieces of 256 words")
    ] = 1500  # fmt: skip

    @property
    def name(self) -> str:
        return "dsir"

    @property
    def scans(self) -> bool:
        return True

    def _files(self) -> list[Path]:
        return found(self.target)

    def problems(self) -> list[str]:
        try:
            return files.problems(self._files(), self.column)
        except DataError as error:
            return [f"cleaning stage 'dsir' needs target text: {error}"]

    def fingerprint(self) -> dict[str, Any]:
        return {**self.model_dump(), "target": [files.digest(path) for path in self._files()]}

    def features(self, documents: list[Document]) -> tuple[np.ndarray, np.ndarray]:
        """(document, bucket) of every n-gram of the documents' excerpts."""
        grams_of = words([document.text[: self.excerpt] for document in documents])
        grams = [grams_of.grams(n) for n in range(1, self.ngrams + 1)]
        document = np.concatenate([grams_of.text[first] for first, _ in grams])
        bucket = np.concatenate([hashes % np.uint64(self.buckets) for _, hashes in grams])
        return document, bucket.astype(np.int64)

    def counts(self, documents: Iterable[Document]) -> np.ndarray:
        """How often each bucket is met."""
        total = np.zeros(self.buckets, np.int64)
        for batch in batches(documents):
            total += np.bincount(self.features(batch)[1], minlength=self.buckets)
        return total

    def weights(self, documents: list[Document], log_ratio: np.ndarray) -> np.ndarray:
        """Noisy log importance weight of each document; the highest are drawn."""
        document, bucket = self.features(documents)
        plain = np.bincount(document, log_ratio[bucket], minlength=len(documents))
        return plain + gumbel(documents)

    def scan(self, shard: Iterable[Document], scratch: Path) -> Scanned:
        sample = Lowest(self.excerpt)
        counts = self.counts(sample.watch(shard))
        return Scanned(counts, sample.documents())

    def combine(self, partials: Iterable[Scanned], scratch: Path) -> Weights:
        corpus = np.zeros(self.buckets, np.int64)

        def counted() -> Iterator[list[Document]]:  # one partial in memory at a time
            for partial in partials:
                np.add(corpus, partial.counts, out=corpus)
                yield partial.sample

        sample = lowest(counted(), self.excerpt)
        target = self.counts(
            Document(str(i), text) for i, text in enumerate(files.read(self._files(), self.column))
        )
        if not target.sum() or not corpus.sum():
            empty = "the target" if corpus.sum() else "the corpus"
            raise DataError(f"DSIR needs words in corpus and target; {empty} has none; correct it")
        log_ratio = np.log(target / target.sum() + SMOOTHING) - np.log(corpus / corpus.sum() + SMOOTHING)
        noisy = np.concatenate([self.weights(batch, log_ratio) for batch in batches(sample)])
        limit = threshold(noisy, self.keep)
        kept = [document for document, weight in zip(sample, noisy, strict=True) if weight >= limit]
        divergence = (_divergence(target, corpus), _divergence(target, self.counts(kept)))
        return Weights(log_ratio, limit, divergence)

    def facts(self, state: Weights) -> dict[str, Any]:
        before, after = state.divergence
        return {
            "threshold": round(state.threshold, 6),
            "divergence_from_target_before": round(before, 6),
            "divergence_from_target_after": round(after, 6),
        }

    def apply(self, shard: Iterable[Document], state: Weights, report: Report) -> Iterator[Document]:
        for batch in batches(shard):
            drawn = self.weights(batch, state.log_ratio) >= state.threshold
            for document, stays in zip(batch, drawn.tolist(), strict=True):
                if stays:
                    yield report.keep(document)
                else:
                    report.drop(document, "not drawn")


def _divergence(target: np.ndarray, other: np.ndarray) -> float:
    """Kullback-Leibler divergence, in nats, from the target's distribution over buckets to another."""
    p = target / target.sum() + SMOOTHING
    q = other / max(other.sum(), 1) + SMOOTHING
    return float((p * np.log(p / q)).sum())
