"""A quality classifier in the manner of phi-1: few labels, extended to the whole corpus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np

from ablate.data.cleaning.embeddings import Embedder, Pretrained, TfidfSvd
from ablate.data.cleaning.interface import Document, Report, Stage
from ablate.data.cleaning.labels import Endpoint, Heuristic, LabelFile, Labelled
from ablate.data.cleaning.sample import Lowest, lowest, threshold
from ablate.data.cleaning.spans import batches
from ablate.data.errors import DataError
from ablate.knobs import Knob, one_of

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

EXCERPT = 2000  # first characters of a document that labels, vectors and scores see
HELD_OUT = 5  # one label in so many is held out for the AUC


class Classifier(NamedTuple):
    """A fitted classifier and the score from which a document is kept."""

    embed: Embedder
    linear: LogisticRegression
    threshold: float
    labels: int
    good: int
    auc: float

    def scores(self, texts: list[str]) -> np.ndarray:
        """Probability of each text to be good."""
        return self.linear.predict_proba(self.embed(texts))[:, 1]


class Quality(Stage):
    """Keeps the documents that a classifier trained on few labels thinks best (Gunasekar et al. 2023, phi-1,
    arXiv:2306.11644): labels → vectors → logistic regression → the highest share.

    The report gives the AUC on labels held out. Labels or vectors of a pretrained model break the paper's
    rule that nothing pretrained may enter the budget; the stage then says so.
    """

    kind: Literal["classifier"] = "classifier"
    labels: Annotated[
        Annotated[Heuristic | LabelFile | Endpoint, one_of], Knob("where the seed labels come from")
    ] = Heuristic()
    embedding: Annotated[
        Annotated[TfidfSvd | Pretrained, one_of], Knob("the vectors that the classifier sees")
    ] = TfidfSvd()
    keep: Annotated[
        float, Knob("share of the documents that is kept, the best first", 0.01, 1.0, log=True,
                    paper="not in the paper; the critique asks for it")
    ] = 0.5  # fmt: skip

    @property
    def name(self) -> str:
        return "quality"

    @property
    def scans(self) -> bool:
        return True

    @property
    def breaks_strict(self) -> str | None:
        reasons = [part.breaks_strict for part in (self.labels, self.embedding) if part.breaks_strict]
        return "; ".join(reasons) or None

    def problems(self) -> list[str]:
        return [*self.labels.problems(), *self.embedding.problems()]

    def fingerprint(self) -> dict[str, Any]:
        parts = {"labels": self.labels.fingerprint(), "embedding": self.embedding.fingerprint()}
        return {**self.model_dump(), **parts}

    def scan(self, shard: Iterable[Document], scratch: Path) -> list[Document]:
        sample = Lowest(EXCERPT)
        for document in shard:
            sample.add(document)
        return sample.documents()

    def combine(self, partials: Iterable[list[Document]], scratch: Path) -> Classifier:
        """Label, fit, validate, and read the threshold from a sample of the corpus."""
        sample = lowest(partials, EXCERPT)
        if not sample:
            raise DataError("the quality classifier needs documents; the corpus has none; add text")
        labelled = self.labels.of(sample)
        texts = [document.text for document in sample]
        embed = self.embedding.fit(texts)
        linear, auc = _fit(embed, labelled)
        fitted = Classifier(embed, linear, 0.0, len(labelled), sum(one.good for one in labelled), auc)
        scores = np.concatenate([fitted.scores(texts[i : i + 1000]) for i in range(0, len(texts), 1000)])
        return fitted._replace(threshold=threshold(scores, self.keep))

    def facts(self, state: Classifier) -> dict[str, Any]:
        return {
            "labels": state.labels,
            "labels_good": state.good,
            "validation_auc": round(state.auc, 4),
            "threshold": round(state.threshold, 6),
        }

    def apply(self, shard: Iterable[Document], state: Classifier, report: Report) -> Iterator[Document]:
        """The documents above the threshold; `details` hold a histogram of the scores."""
        histogram = report.details.setdefault("scores", {})
        for batch in batches(shard):
            scores = state.scores([document.text[:EXCERPT] for document in batch])
            for document, score in zip(batch, scores.tolist(), strict=True):
                tenth = f"{min(int(10 * score), 9) / 10:.1f}"
                histogram[tenth] = histogram.get(tenth, 0) + 1
                if score >= state.threshold:
                    yield report.keep(document)
                else:
                    report.drop(document, "below the threshold")


def _fit(embed: Embedder, labelled: list[Labelled]) -> tuple[LogisticRegression, float]:
    """The classifier of all labels, and the AUC of one that did not see the held-out ones."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    good = np.array([one.good for one in labelled], bool)
    held_out = np.arange(len(labelled)) % HELD_OUT == 0
    if any(len(set(good[part])) < 2 for part in (held_out, ~held_out)):
        raise DataError(
            f"the quality classifier needs good and bad labels, a dozen at least; of {len(labelled)} "
            f"{int(good.sum())} are good; label more texts, or move the limit"
        )
    vectors = embed([one.text[:EXCERPT] for one in labelled])
    linear = LogisticRegression(C=10.0, max_iter=2000, class_weight="balanced")
    seen = linear.fit(vectors[~held_out], good[~held_out])
    auc = float(roc_auc_score(good[held_out], seen.predict_proba(vectors[held_out])[:, 1]))
    return linear.fit(vectors, good), auc
