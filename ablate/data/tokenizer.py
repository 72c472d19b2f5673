"""Tokenizers: a WordPiece trained on the corpus, or a given vocabulary. Special ids are always the same.

Lower-case, accents stripped, ASCII only (Geiping & Goldstein 2023, 4.1). The five special tokens are
[PAD]=0 [UNK]=1 [CLS]=2 [SEP]=3 [MASK]=4, whatever the corpus: the reference code draws them from a set,
so that they change from process to process. They are not looked for in running text: the word "[MASK]" in
a document is four ordinary tokens.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ablate.data.errors import DataError
from ablate.knobs import Config, Knob

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(len(SPECIALS))

# WordPiece statistics of a vocabulary of 2^15 are stable long before this many characters; the sample
# bounds time (about a second per 5 MB) and memory on corpora of many gigabytes.
SAMPLE_CHARACTERS = 64_000_000


class WordPiece(Config):
    """WordPiece trained on the corpus itself (Schuster & Nakajima 2012), without any pretrained part."""

    kind: Literal["wordpiece"] = "wordpiece"
    vocabulary: Annotated[
        int,
        Knob(
            "tokens in the vocabulary, special ones included; less where the text supports no more",
            256,
            131_072,
            log=True,
            paper="4.1: GLUE rises with the vocabulary, MNLI levels off at 32768; 2^12 to 2^14 are worse",
            cost="embedding and head grow in proportion",
        ),
    ] = 32_768

    def build(self, documents: Iterable[str]) -> Tokenizer:
        return assemble(trained_vocabulary(bounded(documents, SAMPLE_CHARACTERS), self.vocabulary))

    def fingerprint(self) -> dict[str, Any]:
        return {**self.model_dump(), "sample": SAMPLE_CHARACTERS}

    def problems(self) -> list[str]:
        return []

    def short(self) -> str:
        return f"wordpiece-{self.vocabulary}"


class GivenVocabulary(Config):
    """A WordPiece vocabulary from a file, one token per line; its special tokens are moved to our ids."""

    kind: Literal["given"] = "given"
    path: Annotated[str, Knob("vocabulary file; a relative path is looked up below ABLATE_DATA too")] = (
        "vocab/bert-base-uncased-vocab.txt"
    )

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


TokenizerConfig = WordPiece | GivenVocabulary


def bounded(documents: Iterable[str], characters: int) -> Iterator[str]:
    """The first documents of a stream, up to a number of characters."""
    for document in documents:
        yield document[:characters]
        characters -= len(document)
        if characters <= 0:
            return


def assemble(vocabulary: dict[str, int]) -> Tokenizer:
    """A tokenizer around a vocabulary; `encode(a, b)` frames a text or a pair with [CLS] and [SEP]."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIALS[UNK], max_input_chars_per_word=64))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.BertNormalizer(lowercase=True, strip_accents=True, handle_chinese_chars=False),
            normalizers.Replace(Regex("[^\\x00-\\x7f]+"), ""),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    return tokenizer


def trained_vocabulary(documents: Iterable[str], size: int) -> dict[str, int]:
    """A WordPiece vocabulary learnt from text, the same in every process.

    The library numbers continuation pieces in the order of a randomly seeded hash table, and breaks ties
    between merges by those numbers; giving all one-character pieces beforehand fixes both.
    """
    from tokenizers import trainers

    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = [*characters, *(f"##{c}" for c in characters)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=2, show_progress=False, special_tokens=[*SPECIALS, *pieces]
    )
    tokenizer = assemble({word: i for i, word in enumerate(SPECIALS)})
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer.get_vocab(with_added_tokens=True)


def hash_of(tokenizer: Tokenizer) -> str:
    """What identifies a tokenizer in caches and records."""
    return hashlib.sha256(tokenizer.to_str().encode()).hexdigest()
