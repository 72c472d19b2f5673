"""prepare(): text → tokenizer → packed rows → order, each stage cached by what determines it.

Arms that differ only in order share the rows, arms that differ only in length share the tokenizer:

    tokenizers/<key>/tokenizer.json     source, tokenizer config
    rows/<key>/{train,validation}.npy   source, tokenizer, length, separator, cls, token ratio, tokens
    orders/<key>/order.npy              rows, order
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.data.config import DataConfig
from ablate.data.errors import DataError
from ablate.data.order import fixed_order
from ablate.data.packing import Counts, Packer, pack
from ablate.data.sources import Split
from ablate.data.store import key_of, obtain
from ablate.data.tokenizer import hash_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# 2048 rows of 128 are 262 thousand tokens, some 65 thousand predictions at 25 %: the held-out loss is then
# known to about 0.01, and a hub corpus is not read to its end for it.
VALIDATION_ROWS = 2048


@dataclass(frozen=True)
class Prepared:
    """A corpus ready for training: packed rows on disk, mapped into memory."""

    path: Path  # folder of the rows
    config: DataConfig
    tokenizer: Tokenizer
    train: np.ndarray  # [rows, length], uint16 or uint32
    validation: np.ndarray  # [rows, length], at most VALIDATION_ROWS
    order: np.ndarray | None  # [rows] uint32; None: random, drawn from the order stream
    manifest: dict[str, Any]

    @property
    def vocabulary(self) -> int:
        """Tokens in the vocabulary as it came out, which may be fewer than asked for."""
        return int(self.tokenizer.get_vocab_size())

    @property
    def continues(self) -> np.ndarray:
        """[vocabulary] True for pieces that go on with the word before them, `##…` in WordPiece."""
        pieces = self.tokenizer.get_vocab()
        found = np.zeros(self.vocabulary, dtype=bool)
        found[[number for piece, number in pieces.items() if piece.startswith("##")]] = True
        return found

    @property
    def fingerprint(self) -> str:
        """What identifies the training tokens and their fixed order."""
        return str(self.manifest["fingerprint"])

    @property
    def warnings(self) -> list[str]:
        return list(self.manifest["warnings"])


def prepare(config: DataConfig, cache: Path) -> Prepared:
    """The corpus that a config describes, from the cache where it is there.

    Safe to call from several processes at once. Raises DataError when the source cannot be read, is too
    small, or gives fewer tokens than asked for.
    """
    cache = Path(cache)
    source = config.source.fingerprint()
    tokenizer_folder, tokenizer_manifest = _tokenizer(config, source, cache)
    tokenizer = _load_tokenizer(tokenizer_folder)
    what = config.model_dump(include={"length", "separator", "cls", "token_ratio", "tokens"})
    key = key_of(
        {"source": source, "tokenizer": tokenizer_manifest["sha256"], "validation": VALIDATION_ROWS, **what}
    )
    folder = cache / "rows" / key
    manifest = obtain(folder, lambda place: _rows(config, tokenizer, tokenizer_manifest, source, place))
    train = np.load(folder / "train.npy", mmap_mode="r")
    order = _order(config, train, tokenizer, key, cache)
    return Prepared(
        path=folder,
        config=config,
        tokenizer=tokenizer,
        train=train,
        validation=np.load(folder / "validation.npy", mmap_mode="r"),
        order=None if order is None else order[::-1] if config.reverse else order,
        # Rows are shared by configs that come to the same tokens: what this one asked for is added here.
        manifest={
            **manifest,
            "config": config.model_dump(),
            "order": config.order,
            "fingerprint": f"{key}-{config.order}{'-reversed' if config.reverse else ''}",
            "warnings": [*_smaller_vocabulary(config, tokenizer_manifest), *manifest["warnings"]],
        },
    )


def _tokenizer(config: DataConfig, source: dict[str, Any], cache: Path) -> tuple[Path, dict[str, Any]]:
    what = config.tokenizer.fingerprint()
    # A given vocabulary does not depend on the text.
    key = key_of({"tokenizer": what, "source": source if what["kind"] == "wordpiece" else None})

    def build(place: Path) -> dict[str, Any]:
        tokenizer = config.tokenizer.build(config.source.documents("train"))
        tokenizer.save(str(place / "tokenizer.json"))
        return {"tokenizer": what, "sha256": hash_of(tokenizer), "vocabulary": tokenizer.get_vocab_size()}

    folder = cache / "tokenizers" / key
    return folder, obtain(folder, build)


def _load_tokenizer(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def _rows(
    config: DataConfig,
    tokenizer: Tokenizer,
    tokenizer_manifest: dict[str, Any],
    source: dict[str, Any],
    place: Path,
) -> dict[str, Any]:
    started = time.monotonic()
    counts = {
        "train": _write(config, tokenizer, "train", place / "train.npy", None),
        "validation": _write(config, tokenizer, "validation", place / "validation.npy", VALIDATION_ROWS),
    }
    for split, count in counts.items():
        _require_rows(split, count, config)
    if config.tokens is not None:
        _cut(place / "train.npy", config.tokens)
    train = np.load(place / "train.npy", mmap_mode="r")
    return {
        "source": source,
        "licence": config.source.licence(),
        "counts": {split: count.to_dict() for split, count in counts.items()},
        "documents": counts["train"].documents_kept,
        "rows": len(train),
        "tokens": int(train.size),
        "validation_tokens": counts["validation"].tokens_packed,
        "content_sha256": hashlib.sha256(train).hexdigest(),
        "tokenizer": tokenizer_manifest["sha256"],
        "vocabulary": tokenizer_manifest["vocabulary"],
        "warnings": _much_filtered(config, counts["train"]),
        "seconds": round(time.monotonic() - started, 3),
    }


def _write(config: DataConfig, tokenizer: Tokenizer, split: Split, path: Path, most: int | None) -> Counts:
    """Pack a split into an .npy file, at most so many rows."""
    dtype = np.dtype(np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32)
    packer = Packer(config.length, separator=config.separator, cls=config.cls, dtype=dtype)
    counts = Counts()
    rows = pack(config.source.documents(split), tokenizer, packer, config.token_ratio, counts)
    counts_written = _stream(path, rows, config.length, dtype, most)
    counts.rows, counts.tokens_packed = counts_written, counts_written * config.length
    return counts


def _stream(path: Path, parts: Iterable[np.ndarray], length: int, dtype: np.dtype, most: int | None) -> int:
    """Write an .npy file whose number of rows is not known beforehand; memory holds one part at a time."""
    rows = 0
    with open(path, "wb") as file:
        _header(file.write, rows, length, dtype)
        for part in parts:
            kept = part if most is None else part[: most - rows]
            file.write(np.ascontiguousarray(kept).data)
            rows += len(kept)
            if rows == most:
                break
        file.seek(0)
        # numpy pads the header so that the first axis may grow: the length does not change.
        _header(file.write, rows, length, dtype)
    return rows


def _header(write: Callable[[bytes], Any], rows: int, length: int, dtype: np.dtype) -> None:
    class Sink:
        def write(self, data: bytes) -> None:
            write(data)

    description = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (rows, length),
    }
    np.lib.format.write_array_header_1_0(Sink(), description)


def _cut(path: Path, tokens: int) -> None:
    """Keep a random subset of the rows, in the order of the corpus.

    A random subset and not the first rows, because the rows of a novel are consecutive.
    """
    train = np.load(path, mmap_mode="r")
    rows = tokens // train.shape[1]
    if rows == 0 or rows > len(train):
        raise DataError(
            f"data.tokens must lie between one row ({train.shape[1]}) and what the source gives; "
            f"it is {tokens} and the source gives {train.size}; ask for fewer, or add text"
        )
    chosen = np.sort(np.random.Generator(np.random.Philox(key=0)).choice(len(train), rows, replace=False))
    np.save(path.with_name("cut.npy"), train[chosen])
    path.with_name("cut.npy").replace(path)


def _require_rows(split: str, count: Counts, config: DataConfig) -> None:
    if count.rows:
        return
    where = f"the {split} split of source '{config.source.short()}'"
    if count.documents_read == 0:
        raise DataError(f"{where} must hold documents; it holds none; correct the source")
    if count.documents_kept == 0 and count.documents_filtered:
        raise DataError(
            f"{where} must keep documents after the token-ratio filter; all {count.documents_filtered} have "
            f"{config.token_ratio} tokens per character or more; raise data.token_ratio or set it to none"
        )
    raise DataError(
        f"{where} must fill a row of {config.length} tokens; {count.documents_read} documents give "
        f"{count.tokens_encoded} tokens; add text or shorten data.length"
    )


def _smaller_vocabulary(config: DataConfig, tokenizer: dict[str, Any]) -> list[str]:
    asked = getattr(config.tokenizer, "vocabulary", None)
    if asked is None or tokenizer["vocabulary"] >= asked:
        return []
    return [f"the text supports a vocabulary of {tokenizer['vocabulary']}, not the {asked} asked for"]


def _much_filtered(config: DataConfig, count: Counts) -> list[str]:
    if count.documents_filtered <= count.documents_read / 4:
        return []
    share = count.documents_filtered / count.documents_read
    return [
        f"the token-ratio filter ({config.token_ratio}) dropped {share:.0%} of the documents; "
        "a small vocabulary needs a larger ratio"
    ]


def _order(
    config: DataConfig, train: np.ndarray, tokenizer: Tokenizer, rows_key: str, cache: Path
) -> np.ndarray | None:
    if config.order == "random":
        return None

    def build(place: Path) -> dict[str, Any]:
        np.save(place / "order.npy", fixed_order(config.order, train, tokenizer))
        return {"order": config.order, "rows": rows_key}

    folder = cache / "orders" / key_of({"rows": rows_key, "order": config.order})
    obtain(folder, build)
    order: np.ndarray = np.load(folder / "order.npy", mmap_mode="r")
    return order
