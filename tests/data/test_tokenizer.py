"""Tokenizers: fixed special ids, lower-case ASCII, the same vocabulary in every process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from ablate.data import BPE, ByteLevel, DataError, GivenVocabulary, Unigram, WordPiece
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


TRAINED = [WordPiece(vocabulary=600), BPE(vocabulary=600), Unigram(vocabulary=600), ByteLevel(vocabulary=600)]
every_trained = pytest.mark.parametrize("config", TRAINED, ids=[config.kind for config in TRAINED])


@every_trained
def test_every_tokenizer_has_the_special_tokens_at_their_ids_and_never_finds_them_in_text(config) -> None:
    tokenizer = config.build(documents(0, characters=100_000))
    assert [tokenizer.id_to_token(i) for i in range(len(SPECIALS))] == list(SPECIALS)
    assert tokenizer.get_vocab_size() <= 600
    framed = tokenizer.encode("the dog", "the cat").ids
    assert (framed[0], framed.count(SEP), framed[-1]) == (CLS, 2, SEP)
    plain = tokenizer.encode("the [SEP] dog [MASK] [CLS]", add_special_tokens=False).ids
    assert min(plain) >= len(SPECIALS) or config.kind == "unigram"
    assert not {CLS, SEP} & set(plain)


@every_trained
def test_every_tokenizer_gives_its_text_back(config) -> None:
    texts = list(documents(0, characters=60_000))
    tokenizer = config.build(texts)
    for text in texts[:20]:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert "".join(tokenizer.decode(ids).split()).lower() == "".join(text.split()).lower()


@every_trained
def test_pieces_that_go_on_with_a_word_are_told_from_those_that_begin_one(config) -> None:
    tokenizer = config.build(documents(0, characters=60_000))
    ids = tokenizer.encode("dogfishness . dog", add_special_tokens=False).ids
    goes_on = [config.goes_on(tokenizer.id_to_token(i)) for i in ids]
    assert not goes_on[0]
    assert not goes_on[-1] or config.goes_on(tokenizer.id_to_token(ids[-1])) is (len(ids) > 3 and goes_on[-1])
    assert sum(not on for on in goes_on if True) >= 3  # two words and a full stop
    assert any(goes_on)
    assert not any(config.goes_on(special) for special in SPECIALS)


@every_trained
def test_every_tokenizer_is_the_same_in_every_process(config) -> None:
    program = (
        "import sys; from ablate.data import DataConfig; from ablate.data.grammar import documents;"
        "from ablate.data.tokenizer import hash_of;"
        "config = DataConfig.model_validate_json(sys.argv[1]).tokenizer;"
        "print(hash_of(config.build(documents(0, characters=100_000))))"
    )
    from ablate.data import DataConfig

    given = DataConfig(tokenizer=config).model_dump_json()
    found = {
        subprocess.run(
            [sys.executable, "-c", program, given], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(3)
    }
    assert len(found) == 1


def test_byte_level_keeps_case_and_every_script() -> None:
    tokenizer = ByteLevel(vocabulary=512).build(["the dog sees the cat"] * 50)
    text = " Ein Hündchen 犬 says “Hi” 🐶"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


@pytest.mark.parametrize("kind", [WordPiece, BPE, ByteLevel, Unigram])
def test_a_word_without_end_does_not_hold_up_the_training(kind: type) -> None:
    text = "some words of text are read here and there, " * 50
    started = time.monotonic()
    found = kind(vocabulary=600).build(iter([f"{text} {'acgt' * 100_000} {text}"]))
    assert time.monotonic() - started < 20  # with the word in it: minutes
    assert found.to_str() == kind(vocabulary=600).build(iter([f"{text}   {text}"])).to_str()
