"""Tokenizers: fixed special ids, lower-case ASCII, the same vocabulary in every process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ablate.data import DataError, GivenVocabulary, WordPiece
from ablate.data.grammar import documents
from ablate.data.tokenizer import CLS, SEP, SPECIALS, bounded, hash_of


@pytest.fixture(scope="module")
def corpus() -> list[str]:
    return list(documents(0, characters=100_000))


@pytest.fixture(scope="module")
def trained(corpus):
    return WordPiece(vocabulary=400).build(corpus)


def test_special_ids_are_fixed_and_the_rest_follow(trained) -> None:
    vocabulary = trained.get_vocab()
    assert [trained.token_to_id(special) for special in SPECIALS] == [0, 1, 2, 3, 4]
    assert sorted(vocabulary.values()) == list(range(400))


def test_frequent_words_are_one_token(trained) -> None:
    assert trained.encode("the dogs", add_special_tokens=False).tokens[0] == "the"


def test_text_is_lowered_and_reduced_to_ascii(trained) -> None:
    plain, fancy = (trained.encode(t).ids for t in ("the cafe is good", "THE Café is “good”"))
    assert plain == fancy


def test_encoding_frames_texts_and_pairs(trained) -> None:
    ids = trained.encode("the dog", "the cat").ids
    assert ids[0] == CLS
    assert ids[-1] == SEP
    assert ids.count(SEP) == 2


def test_special_tokens_spelt_out_in_running_text_are_ordinary_text(trained) -> None:
    ids = trained.encode("the [MASK] and [SEP]", add_special_tokens=False).ids
    assert not {0, 2, 3, 4} & set(ids)


def test_every_word_of_the_corpus_can_be_written(trained, corpus) -> None:
    assert not any(1 in e.ids for e in trained.encode_batch(corpus))


def test_every_process_trains_the_same_vocabulary(trained) -> None:
    program = (
        "from ablate.data import WordPiece; from ablate.data.grammar import documents;"
        "from ablate.data.tokenizer import hash_of;"
        "print(hash_of(WordPiece(vocabulary=400).build(documents(0, characters=100_000))))"
    )
    ran = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True) for _ in range(2)]
    assert {r.stdout.strip() for r in ran} == {hash_of(trained)}, ran[0].stderr


def test_a_given_vocabulary_moves_its_special_tokens_to_our_ids(tmp_path: Path) -> None:
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(["dog", "[MASK]", "[SEP]", "[CLS]", "cat", "[UNK]", "[PAD]", "##s"]))
    tokenizer = GivenVocabulary(path=str(file)).build([])
    assert [tokenizer.token_to_id(special) for special in SPECIALS] == [0, 1, 2, 3, 4]
    assert tokenizer.encode("Dogs", add_special_tokens=False).tokens == ["dog", "##s"]


def test_a_given_vocabulary_without_special_tokens_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "vocab.txt"
    file.write_text("dog\ncat\n[MASK]\n")
    with pytest.raises(DataError, match=r"lacks \[PAD\], \[UNK\], \[CLS\], \[SEP\]"):
        GivenVocabulary(path=str(file)).build([])


def test_a_missing_vocabulary_is_a_problem_before_anything_starts(tmp_path: Path) -> None:
    assert "vocabulary file" in GivenVocabulary(path=str(tmp_path / "none.txt")).problems()[0]


def test_the_training_sample_is_bounded() -> None:
    assert list(bounded(["aaaa", "bbbb", "cccc"], 6)) == ["aaaa", "bb"]
    assert list(bounded(["aaaa"], 4)) == ["aaaa"]
