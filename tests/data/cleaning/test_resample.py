"""DSIR: weights as the reference computes them, a draw of the right size, nearer to the target."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ablate.data.cleaning import Document, rank
from ablate.data.cleaning.resample import SMOOTHING, Dsir
from ablate.data.cleaning.sample import gumbel, threshold
from tests.data.cleaning.corpora import cleaned

CORPUS = [
    "the cat sat on the mat", "the dog sat on the log", "stocks fell and bonds rose", "a cat and a dog",
    "the bonds of the cat", "rates rose as stocks fell",
]  # fmt: skip
TARGET = ["the cat sat", "a dog sat on a cat", "the mat"]


def stage(tmp_path: Path, texts: list[str] = TARGET, **knobs: object) -> Dsir:
    path = tmp_path / "target.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    return Dsir(target=str(path), **knobs)


def features(text: str, n: int) -> Counter[str]:
    """Words and n-grams of a text, as `data-selection` counts them before it hashes."""
    words = re.findall(r"\w+", text.lower())
    return Counter(" ".join(words[i : i + k]) for k in range(1, n + 1) for i in range(len(words) - k + 1))


def reference(texts: list[str], target: list[str], n: int) -> np.ndarray:
    """Log importance weights by `data-selection`'s formulas, with a bucket for every n-gram there is."""
    raw = sum((features(text, n) for text in texts), Counter())
    wanted = sum((features(text, n) for text in target), Counter())
    ratio = {
        gram: np.log(wanted[gram] / wanted.total() + SMOOTHING) - np.log(raw[gram] / raw.total() + SMOOTHING)
        for gram in raw
    }
    return np.array([sum(count * ratio[gram] for gram, count in features(text, n).items()) for text in texts])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_weights_are_the_references(tmp_path: Path, n: int) -> None:
    """With more buckets than n-grams hashing changes nothing: these few dozen meet no collision."""
    dsir = stage(tmp_path, ngrams=n, buckets=1_000_000)
    documents = [Document(str(i), text) for i, text in enumerate(CORPUS)]
    state = dsir.combine([dsir.scan(documents, tmp_path)], tmp_path)
    weights = dsir.weights(documents, state.log_ratio) - gumbel(documents)
    assert weights == pytest.approx(reference(CORPUS, TARGET, n), rel=1e-9)


def test_a_hand_worked_case(tmp_path: Path) -> None:
    """Corpus a a b c, target a b b b: weights log 1/2, log 3 and log (tiny) per word."""
    dsir = stage(tmp_path, ["a b b b"], ngrams=1, buckets=1_000_000)
    documents = [Document("0", "a a"), Document("1", "b"), Document("2", "c")]
    state = dsir.combine([dsir.scan(documents, tmp_path)], tmp_path)
    weights = dsir.weights(documents, state.log_ratio) - gumbel(documents)
    expected = [2 * np.log(0.25 / 0.5), np.log(0.75 / 0.25), np.log(SMOOTHING / 0.25)]
    assert weights == pytest.approx(expected, abs=1e-6)


def mixture(count: int) -> list[Document]:
    chance = np.random.Generator(np.random.Philox(key=3))
    animals, money = (
        ["cat", "dog", "bird", "horse", "mat", "log", "barn"],
        ["stock", "bond", "rate", "fund", "loan", "bank", "debt"],
    )
    return [
        Document(
            f"{'animal' if i % 2 else 'money'}-{i}", " ".join(chance.choice(animals if i % 2 else money, 12))
        )
        for i in range(count)
    ]


def test_the_draw_prefers_what_resembles_the_target(tmp_path: Path) -> None:
    kept, report = cleaned(stage(tmp_path, ["cat dog bird horse mat log barn"] * 3, keep=0.5), mixture(400))
    assert len(kept) == 200
    assert sum(document.id.startswith("animal") for document in kept) == 200
    facts = report.facts
    assert facts["divergence_from_target_after"] < facts["divergence_from_target_before"]


def test_where_target_and_corpus_are_alike_the_draw_is_random(tmp_path: Path) -> None:
    """All weights are then nearly equal, and the noise, which belongs to the ids, decides."""
    texts = ["cat dog bird horse"] * 3
    documents = [Document(str(i), "cat dog bird horse") for i in range(300)]
    kept, _ = cleaned(stage(tmp_path, texts, keep=0.3), documents)
    noise = dict(zip((d.id for d in documents), gumbel(documents), strict=True))
    assert {d.id for d in kept} == set(sorted(noise, key=noise.__getitem__)[-90:])


def test_the_noise_is_gumbels() -> None:
    noise = gumbel([Document(str(i), "") for i in range(20_000)])
    assert noise.mean() == pytest.approx(0.5772, abs=0.03)
    assert noise.std() == pytest.approx(np.pi / 6**0.5, abs=0.03)
    assert len({rank(str(i)) for i in range(20_000)}) == 20_000


@pytest.mark.parametrize(("share", "kept"), [(1.0, 10), (0.5, 5), (0.11, 1), (0.01, 1)])
def test_a_threshold_keeps_a_share_and_at_least_one(share: float, kept: int) -> None:
    scores = np.random.Generator(np.random.Philox(key=1)).permutation(10).astype(float)
    assert (scores >= threshold(scores, share)).sum() == kept


def test_a_missing_target_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_DATA", str(tmp_path))
    assert "needs target text" in Dsir().problems()[0]
    assert "needs the text column 'title'" in Dsir(target=_parquet(tmp_path), column="title").problems()[0]


def _parquet(tmp_path: Path) -> str:
    import pandas as pd

    pd.DataFrame({"text": ["some words"]}).to_parquet(tmp_path / "target.parquet")
    return "target.parquet"  # found below ABLATE_DATA
