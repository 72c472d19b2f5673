"""Hashes of stretches: equal exactly where the texts are equal, words as a plain reader finds them."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ablate.data.cleaning.runs import ROW, grouped, merged, write_run
from ablate.data.cleaning.spans import Hashed, words

texts = st.lists(st.text(alphabet="abC 1.,\n\"'é“你\0", max_size=40), max_size=6)
data = st.binary(max_size=120)


@given(data, data)
def test_stretches_have_equal_hashes_exactly_where_their_bytes_are_equal(a: bytes, b: bytes) -> None:
    joined = a + b + a
    hashed = Hashed(np.frombuffer(joined, np.uint8))
    spans = [(i, min(i + n, len(joined))) for n in (1, 5, 17) for i in range(len(joined))]
    start, end = np.array([s for s, _ in spans], int), np.array([e for _, e in spans], int)
    keys = hashed(start, end).tolist()
    by_key: dict[int, set[bytes]] = {}
    for key, (s, e) in zip(keys, spans, strict=True):
        by_key.setdefault(key, set()).add(joined[s:e])
    assert all(len(found) == 1 for found in by_key.values())
    assert len(by_key) == len({joined[s:e] for s, e in spans})


def plain_words(text: str) -> list[str]:
    """What the words of a text are, said once more without arrays."""
    return re.findall(r"(?:[a-z0-9]|(?![\x00-\x7f])\w)+", text.lower())


@given(texts, st.integers(1, 4))
def test_n_grams_are_those_of_a_plain_reader(given_texts: list[str], n: int) -> None:
    found = words(given_texts)
    expected = [plain_words(text) for text in given_texts]
    assert np.bincount(found.text, minlength=len(given_texts)).tolist() == [len(w) for w in expected]
    first, hashes = found.grams(n)
    grams = [tuple(w[i : i + n]) for w in expected for i in range(len(w) - n + 1)]
    assert len(hashes) == len(grams)
    assert len(set(zip(grams, hashes.tolist(), strict=True))) == len(set(grams)) == len(set(hashes.tolist()))
    assert [found.text[f] for f in first] == [
        i for i, w in enumerate(expected) for _ in range(len(w) - n + 1)
    ]


def test_sentences_open_and_close_at_marks_quotes_and_lines() -> None:
    found = words(['Mr. Smith left, alone. "Why?" she asked\nNobody knew', "Next"])
    assert found.opens.tolist() == [1, 1, 0, 0, 1, 1, 0, 1, 0, 1]
    assert found.closes.tolist() == [1, 0, 0, 1, 1, 0, 1, 0, 1, 1]


def test_a_texts_hash_does_not_depend_on_its_neighbours_case_or_punctuation() -> None:
    alone = words(["the ship sank quickly"]).grams(4)[1]
    beside = words(["Before. ", "THE  ship; sank -- quickly!", "after"]).grams(4)[1]
    assert alone.tolist() == beside.tolist()


rows = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9), st.integers(0, 5)), max_size=60)


@given(rows, st.integers(1, 4), st.integers(1, 40))
def test_runs_group_keys_as_a_dictionary_does(
    tmp_path_factory, given_rows: list, parts: int, at_once: int
) -> None:
    scratch = tmp_path_factory.mktemp("runs")
    table = np.zeros(len(given_rows), ROW)
    # Keys spread over their whole range, as hashes do.
    table["key"] = np.array([k for k, _, _ in given_rows], np.uint64) * np.uint64(2**59)
    table["owner"], table["at"] = [o for _, o, _ in given_rows], [a for _, _, a in given_rows]
    paths = [write_run(grouped(part).leaders, scratch) for part in np.array_split(table, parts)]
    expected: dict[int, list[tuple[int, int]]] = {}
    for key, owner, at in given_rows:
        expected.setdefault(key * 2**59, []).append((owner, at))
    leaders = [row for groups in merged(paths, at_once) for row in groups.leaders.tolist()]
    assert leaders == [(key, *min(found), len(found) > 1) for key, found in sorted(expected.items())]
