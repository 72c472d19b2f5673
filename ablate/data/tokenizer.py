"""Tokenizers: trained on a sample of the corpus, or from a given vocabulary. Special ids are always the same.

Lower-case, accents stripped, ASCII only (Geiping & Goldstein 2023, 4.1); byte-level alone reads text as it
stands. The five special tokens are
[PAD]=0 [UNK]=1 [CLS]=2 [SEP]=3 [MASK]=4, whatever the corpus: the reference code draws them from a set,
so that they change from process to process. They are not looked for in running text: the word "[MASK]" in
a document is four ordinary tokens.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ablate.data.errors import DataError
from ablate.knobs import Config, Knob, one_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(len(SPECIALS))

# Statistics of a vocabulary of 2^15 are stable long before this many characters; the sample bounds time
# (about a second per 5 MB) and memory on corpora of many gigabytes. It is drawn by a hash of the documents'
# ids, so that it comes from everywhere and does not depend on shards.
SAMPLE_CHARACTERS = 64_000_000


class _Tokenizer(Config):
    """What tokenizers share."""

    @property
    def reads_text(self) -> bool:
        """Whether it is trained on the corpus."""
        return True

    @property
    def sample(self) -> int:
        """Characters that it is trained on, at most."""
        return SAMPLE_CHARACTERS

    def build(self, documents: Iterable[str]) -> Tokenizer:
        """The tokenizer that these documents train. Raises DataError."""
        raise NotImplementedError

    def fingerprint(self) -> dict[str, Any]:
        """What determines it beside the text."""
        return {**self.model_dump(), "sample": self.sample}

    def problems(self) -> list[str]:
        """What is wrong, found without reading the text."""
        return []

    def goes_on(self, piece: str) -> bool:
        """Whether a piece goes on with the word before it."""
        return piece.startswith("##")


Size = Annotated[
    int,
    Knob(
        "tokens in the vocabulary, special ones included; less where the text supports no more",
        256,
        131_072,
        log=True,
        paper="4.1: GLUE rises with the vocabulary, MNLI levels off at 32768; 2^12 to 2^14 are worse",
        cost="embedding and head grow in proportion",
    ),
]


class WordPiece(_Tokenizer):
    """WordPiece trained on the corpus itself (Schuster & Nakajima 2012), without any pretrained part."""

    kind: Literal["wordpiece"] = "wordpiece"
    vocabulary: Size = 32_768

    def build(self, documents: Iterable[str]) -> Tokenizer:
        return assemble(trained_vocabulary(bounded(documents, self.sample), self.vocabulary))

    def short(self) -> str:
        return f"wordpiece-{self.vocabulary}"


class BPE(_Tokenizer):
    """Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909): merges in the order they were learnt."""

    kind: Literal["bpe"] = "bpe"
    vocabulary: Size = 32_768

    def build(self, documents: Iterable[str]) -> Tokenizer:
        from tokenizers import decoders, models, trainers

        trainer = trainers.BpeTrainer(
            vocab_size=self.vocabulary, min_frequency=2, show_progress=False,
            special_tokens=[*SPECIALS, *_characters()], continuing_subword_prefix="##",
        )  # fmt: skip
        tokenizer = _plain(models.BPE(unk_token=SPECIALS[UNK], continuing_subword_prefix="##"))
        tokenizer.train_from_iterator(bounded(documents, self.sample), trainer)
        # Built anew: the pieces that were given beforehand are no special tokens to look for in running text.
        trained = json.loads(tokenizer.to_str())["model"]
        merges = [(left, right) for left, right in trained["merges"]]
        model = models.BPE(trained["vocab"], merges, unk_token=SPECIALS[UNK], continuing_subword_prefix="##")
        built = _plain(model)
        built.decoder = decoders.WordPiece()
        return framed(built)

    def short(self) -> str:
        return f"bpe-{self.vocabulary}"


class Unigram(_Tokenizer):
    """Pieces of a unigram language model (Kudo 2018, arXiv:1804.10959), words told by their leading space."""

    kind: Literal["unigram"] = "unigram"
    vocabulary: Size = 32_768

    @property
    def sample(self) -> int:
        return SAMPLE_CHARACTERS // 4  # its suffix array takes some twenty times the text

    def build(self, documents: Iterable[str]) -> Tokenizer:
        from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

        def around(model: Any) -> Tokenizer:
            tokenizer = _plain(model)
            single = [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
            tokenizer.normalizer = normalizers.Sequence([tokenizer.normalizer, *single])
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
            )
            tokenizer.decoder = decoders.Metaspace()
            return tokenizer

        trainer = trainers.UnigramTrainer(
            vocab_size=self.vocabulary, show_progress=False, special_tokens=list(SPECIALS),
            unk_token=SPECIALS[UNK], initial_alphabet=["▁", *_alphabet()],
        )  # fmt: skip
        tokenizer = around(models.Unigram())
        tokenizer.train_from_iterator(bounded(documents, self.sample), trainer)
        pieces = _settled(
            [(piece, score) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]
        )
        return framed(around(models.Unigram(pieces, unk_id=UNK, byte_fallback=False)))

    def goes_on(self, piece: str) -> bool:
        return piece not in SPECIALS and piece[0] != "▁" and piece[0].isalnum()

    def short(self) -> str:
        return f"unigram-{self.vocabulary}"


class ByteLevel(_Tokenizer):
    """Byte-pair encoding of bytes, as in GPT-2 and RoBERTa: case, accents and every script are kept."""

    kind: Literal["byte-level"] = "byte-level"
    vocabulary: Annotated[
        int,
        Knob("tokens in the vocabulary, 256 bytes and special ones included", 512, 131_072, log=True,
             cost="embedding and head grow in proportion"),
    ] = 32_768  # fmt: skip

    def build(self, documents: Iterable[str]) -> Tokenizer:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        trainer = trainers.BpeTrainer(
            vocab_size=self.vocabulary, min_frequency=2, show_progress=False, special_tokens=list(SPECIALS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.train_from_iterator(bounded(documents, self.sample), trainer)
        trained = json.loads(tokenizer.to_str())["model"]
        built = Tokenizer(models.BPE(trained["vocab"], [(a, b) for a, b in trained["merges"]]))
        built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        built.decoder = decoders.ByteLevel()
        return framed(built)

    def goes_on(self, piece: str) -> bool:
        return piece not in SPECIALS and piece[0] != "Ġ" and piece[0].isalnum()

    def short(self) -> str:
        return f"byte-level-{self.vocabulary}"


class GivenVocabulary(_Tokenizer):
    """A WordPiece vocabulary from a file, one token per line; its special tokens are moved to our ids."""

    kind: Literal["given"] = "given"
    path: Annotated[str, Knob("vocabulary file; a relative path is looked up below ABLATE_DATA too")] = (
        "vocab/bert-base-uncased-vocab.txt"
    )

    @property
    def reads_text(self) -> bool:
        return False

    def file(self) -> Path:
        """The file meant. Raises DataError when there is none."""
        plain = Path(self.path).expanduser()
        below = Path(os.environ.get("ABLATE_DATA", "."), plain)
        for candidate in (plain, below):
            if candidate.is_file():
                return candidate
        raise DataError(
            f"tokenizer 'given' needs a vocabulary file; neither {plain} nor {below} exists; correct it"
        )

    def build(self, documents: Iterable[str]) -> Tokenizer:
        words = [word for word in self.file().read_text(encoding="utf-8").splitlines() if word]
        missing = [special for special in SPECIALS if special not in words]
        if missing:
            raise DataError(
                f"{self.file()} must hold {', '.join(SPECIALS)}; it lacks {', '.join(missing)}; add them"
            )
        ordinary = [word for word in dict.fromkeys(words) if word not in SPECIALS]
        return assemble({word: i for i, word in enumerate([*SPECIALS, *ordinary])})

    def fingerprint(self) -> dict[str, Any]:
        return {"kind": self.kind, "sha256": hashlib.sha256(self.file().read_bytes()).hexdigest()}

    def problems(self) -> list[str]:
        try:
            self.file()
        except DataError as error:
            return [str(error)]
        return []

    def short(self) -> str:
        return Path(self.path).stem


TokenizerConfig = Annotated[WordPiece | BPE | Unigram | ByteLevel | GivenVocabulary, one_of]


def bounded(documents: Iterable[str], characters: int) -> Iterator[str]:
    """The first documents of a stream, up to a number of characters, without words that never end."""
    for document in documents:
        yield _without_endless(document[:characters])
        characters -= len(document)
        if characters <= 0:
            return


# A trainer's time grows with the square of a word's length: 100,000 letters of a genome take 4 s, of a base64
# image 17 s, 400,000 of either minutes. A vocabulary has no use for their pieces.
ENDLESS = 10_000
_ENDLESS = re.compile(rf"(?<![^\W_])[^\W_]{{{ENDLESS},}}")


def _without_endless(document: str) -> str:
    """The document without words of so many characters."""
    half = ENDLESS // 2  # such a word fills at least one window of half its size; looking there costs nothing
    starts = range(0, len(document) - half + 1, half)
    if all(document.find(" ", start, start + half) >= 0 for start in starts):
        return document
    return _ENDLESS.sub(" ", document)


def _alphabet() -> list[str]:
    """What is left of a text in lower-case ASCII, spaces aside."""
    return [chr(code) for code in range(33, 127) if not chr(code).isupper()]


def _characters() -> list[str]:
    """All pieces of one character, at the beginning of a word and within it."""
    return [*_alphabet(), *(f"##{c}" for c in _alphabet())]


def _settled(pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """The pieces of a unigram model, special ones first, the same in every process.

    The library sums probabilities in the order of a randomly seeded hash table, and gives the characters that
    it keeps although they are not learnt scores of 1e-4, 2e-4 … above the lowest, in that order too. Nine
    decimals hide the first; the second get the lowest score, all of them.
    """
    learnt = pieces[len(SPECIALS) :]
    lowest = min((score for _, score in learnt), default=0.0)
    unseen = lowest + 1e-4 * (len(_alphabet()) + 2)
    kept = [
        (piece, round(lowest if len(piece) == 1 and score <= unseen else score, 9)) for piece, score in learnt
    ]
    return [*((special, 0.0) for special in SPECIALS), *sorted(kept, key=lambda item: (-item[1], item[0]))]


def _plain(model: Any) -> Tokenizer:
    """A tokenizer of lower-case ASCII words around a model."""
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.BertNormalizer(lowercase=True, strip_accents=True, handle_chinese_chars=False),
            normalizers.Replace(Regex("[^\\x00-\\x7f]+"), ""),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def framed(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer, whose `encode(a, b)` frames a text or a pair with [CLS] and [SEP]."""
    from tokenizers import processors

    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    return tokenizer


def assemble(vocabulary: dict[str, int]) -> Tokenizer:
    """A WordPiece tokenizer around a vocabulary."""
    from tokenizers import decoders, models

    model = models.WordPiece(vocabulary, unk_token=SPECIALS[UNK], max_input_chars_per_word=64)
    tokenizer = _plain(model)
    tokenizer.decoder = decoders.WordPiece()
    return framed(tokenizer)


def trained_vocabulary(documents: Iterable[str], size: int) -> dict[str, int]:
    """A WordPiece vocabulary learnt from text, the same in every process.

    The library numbers continuation pieces in the order of a randomly seeded hash table, and breaks ties
    between merges by those numbers; giving all one-character pieces beforehand fixes both.
    """
    from tokenizers import trainers

    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=2, show_progress=False, special_tokens=[*SPECIALS, *_characters()]
    )
    tokenizer = assemble({word: i for i, word in enumerate(SPECIALS)})
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer.get_vocab(with_added_tokens=True)


def hash_of(tokenizer: Tokenizer) -> str:
    """What identifies a tokenizer in caches and records."""
    return hashlib.sha256(tokenizer.to_str().encode()).hexdigest()
