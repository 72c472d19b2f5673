"""Near-duplicates: joined as often as theory says, one of each group stays."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from ablate.data.cleaning import Document, rank
from ablate.data.cleaning.duplicates import NearDuplicates
from tests.data.cleaning.corpora import cleaned, generated


def edited(text: str, words: int, chance: random.Random) -> str:
    """A text with so many of its words replaced."""
    parts = text.split()
    for place in chance.sample(range(len(parts)), words):
        parts[place] = f"word{chance.random():.6f}".replace("0.", "")
    return " ".join(parts)


def similarity(a: str, b: str, n: int) -> float:
    """Jaccard similarity of two texts' word n-grams, counted."""
    grams = [{tuple(w[i : i + n]) for i in range(len(w) - n + 1)} for w in (a.split(), b.split())]
    return len(grams[0] & grams[1]) / len(grams[0] | grams[1])


def random_text(chance: random.Random, words: int = 200) -> str:
    return " ".join(f"w{chance.randrange(5000)}" for _ in range(words))


def test_of_exact_copies_the_lowest_rank_stays() -> None:
    plain = generated(60)
    documents = [Document(f"{copy}-{d.id}", d.text) for d in plain for copy in range(3)]
    kept, _ = cleaned(NearDuplicates(), documents)
    groups: dict[str, list[Document]] = {}
    for document in documents:
        groups.setdefault(document.text, []).append(document)
    lowest = {min(group, key=lambda d: rank(d.id)) for group in groups.values()}
    assert set(kept) <= lowest
    assert Counter(document.text for document in kept).most_common(1)[0][1] == 1


@pytest.mark.parametrize("replaced", [2, 8, 30])
def test_pairs_are_joined_as_often_as_their_similarity_says(replaced: int) -> None:
    """Within three standard errors of the mean of 1 - (1 - s^rows)^bands over 300 pairs of known similarity."""
    stage, chance = NearDuplicates(), random.Random(replaced)
    bands, rows = stage.bands()
    pairs, expected = [], []
    for i in range(300):
        text = random_text(chance)
        other = edited(text, replaced, chance)
        pairs += [Document(f"a{i}", text), Document(f"b{i}", other)]
        expected.append(1 - (1 - similarity(text, other, stage.ngram) ** rows) ** bands)
    _, report = cleaned(stage, pairs)
    joined = sum(report.dropped.values()) / 300
    probabilities = np.array(expected)
    error = np.sqrt((probabilities * (1 - probabilities)).sum()) / 300
    assert abs(joined - probabilities.mean()) <= 3 * error + 0.01


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_bands_put_the_rise_near_the_threshold(threshold: float) -> None:
    bands, rows = NearDuplicates(threshold=threshold).bands()
    assert bands * rows <= 128
    assert (1 / bands) ** (1 / rows) == pytest.approx(threshold, abs=0.08)


def test_unlike_documents_and_documents_without_words_stay() -> None:
    chance = random.Random(0)
    documents = [Document(str(i), random_text(chance)) for i in range(200)]
    documents += [Document(f"odd{i}", "... !" * i) for i in range(20)]
    assert cleaned(NearDuplicates(), documents)[0] == documents


def test_a_chain_of_likenesses_is_one_group() -> None:
    chance = random.Random(1)
    chain = [random_text(chance)]
    for _ in range(9):
        chain.append(edited(chain[-1], 1, chance))
    kept, report = cleaned(NearDuplicates(), [Document(str(i), text) for i, text in enumerate(chain)])
    assert len(kept) == 1
    assert report.facts["groups"] == 1
    assert report.facts["largest_group"] == 10
