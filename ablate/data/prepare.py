"""prepare(): text → cleaned text → tokenizer → tokens → rows → order, each cached by what determines it.

    text/<key>/         source                                     tokenizers/<key>/   text, tokenizer config
    cleaned/<key>/      text before, stage                         tokens/<key>/       text, tokenizer
    rows/<key>/         tokens, length, separator, cls, ratio      orders/<key>/       rows, order
    cuts/<key>/         rows, number of tokens

Arms share every stage before the first in which they differ: those that differ in order share the rows,
those that differ in length the tokens. Keys follow from configs alone: a finished stage is found without
the ones before it, which may be removed to save space.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.data import order, text
from ablate.data.cleaning import Document, Report, rank
from ablate.data.config import DataConfig
from ablate.data.encoding import encode, width
from ablate.data.errors import DataError
from ablate.data.mapping import Mapper, Processes
from ablate.data.packing import Counts, Frame, pack, plan
from ablate.data.rows import Rows
from ablate.data.sources import HELD_OUT, MixtureSource
from ablate.data.store import VERSION, key_of, obtain
from ablate.data.text import Shards, Text
from ablate.data.tokenizer import hash_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger(__name__)

# 2048 rows of 128 are 262 thousand tokens, some 65 thousand predictions at 25 %: the held-out loss is then
# known to about 0.01, and a hub corpus is not read to its end for it.
VALIDATION_ROWS = 2048


@dataclass(frozen=True)
class Prepared:
    """A corpus ready for training: packed rows on disk, mapped into memory."""

    path: Path  # folder of the rows
    config: DataConfig
    tokenizer: Tokenizer
    train: Rows  # [rows, length], uint16 or uint32
    validation: Rows  # [rows, length], at most VALIDATION_ROWS
    order: np.ndarray | None  # [rows] uint32; None: random, drawn from the order stream
    manifest: dict[str, Any]

    @property
    def vocabulary(self) -> int:
        """Tokens in the vocabulary as it came out, which may be fewer than asked for."""
        return int(self.tokenizer.get_vocab_size())

    @property
    def continues(self) -> np.ndarray:
        """[vocabulary] True for pieces that go on with the word before them, `##…` in WordPiece."""
        goes_on = self.config.tokenizer.goes_on
        found = np.zeros(self.vocabulary, dtype=bool)
        found[[number for piece, number in self.tokenizer.get_vocab().items() if goes_on(piece)]] = True
        return found

    @property
    def fingerprint(self) -> str:
        """What identifies these rows in this order."""
        return str(self.manifest["fingerprint"])

    @property
    def warnings(self) -> list[str]:
        """What the user should know although nothing failed."""
        return list(self.manifest["warnings"])


def prepare(
    config: DataConfig, cache: Path, *, mapper: Mapper | None = None, shards: Shards | None = None
) -> Prepared:
    """The corpus of a config, from the cache or prepared into it; shards go through `mapper`.

    Raises DataError when the source cannot be read or does not fill a row. Of several processes that ask at
    once one prepares; one that was killed is gone on with from the first shard that it had not finished.
    """
    return Pipeline(config, Path(cache), mapper or Processes(), shards or Shards()).prepared()


def is_prepared(config: DataConfig, cache: Path, *, shards: Shards | None = None) -> bool:
    """Whether the rows of a config are in the cache."""
    from ablate.data.store import finished

    return finished(Pipeline(config, Path(cache), Processes(), shards or Shards()).rows_folder) is not None


def cleaning_reports(config: DataConfig, cache: Path, *, mapper: Mapper | None = None) -> list[Report]:
    """What each cleaning stage did, with examples; runs the stages that are not in the cache."""
    return Pipeline(config, Path(cache), mapper or Processes(), Shards()).cleaned()[1]


@dataclass
class Pipeline:
    """The stages of one config in one cache."""

    config: DataConfig
    cache: Path
    mapper: Mapper
    shards: Shards
    _text: tuple[Text, list[Report]] | None = field(default=None, init=False)

    # --- keys ------------------------------------------------------------------------------------------

    @cached_property
    def source(self) -> dict[str, Any]:
        """What the text is identified by; reads files to hash them."""
        return self.config.source.fingerprint()

    @cached_property
    def text_key(self) -> str:
        """Of the cleaned text."""
        key = key_of({"text": self.source, "characters": self.shards.characters})
        for stage in text.stages_of(self.config):
            key = text.cleaned_key(key, stage)
        return key

    @cached_property
    def tokenizer_key(self) -> str:
        config = self.config.tokenizer
        # A given vocabulary does not depend on the text.
        return key_of(
            {"tokenizer": config.fingerprint(), "text": self.text_key if config.reads_text else None}
        )

    @cached_property
    def rows_key(self) -> str:
        frame = self.config.model_dump(include={"length", "separator", "cls", "token_ratio"})
        return key_of(
            {
                "tokens": self.tokens_key, "validation": VALIDATION_ROWS, "weights": self.weights,
                "file": self.shards.tokens, **frame,
            }
        )  # fmt: skip

    @cached_property
    def tokens_key(self) -> str:
        return key_of({"text": self.text_key, "tokenizer": self.tokenizer_key})

    @property
    def weights(self) -> list[float] | None:
        source = self.config.source
        return [part.weight for part in source.parts] if isinstance(source, MixtureSource) else None

    @property
    def rows_folder(self) -> Path:
        return self.cache / "rows" / self.rows_key

    # --- stages ----------------------------------------------------------------------------------------

    def cleaned(self) -> tuple[Text, list[Report]]:
        """The text that is left, and what each cleaning stage did."""
        if self._text is None:
            found, reports = text.read_source(self.config.source, self.cache, self.shards), []
            for stage in text.stages_of(self.config):
                log.info("cleaning: %s", stage.name)
                found, report = text.clean(found, stage, self.cache, self.mapper)
                reports.append(report)
            self._text = found, reports
        return self._text

    def tokenizer(self) -> tuple[Path, dict[str, Any]]:
        """Folder and manifest of the tokenizer."""
        config = self.config.tokenizer

        def build(place: Path) -> dict[str, Any]:
            documents = self._sample(config.sample) if config.reads_text else iter(())
            tokenizer = config.build(documents)
            tokenizer.save(str(place / "tokenizer.json"))
            return {
                "tokenizer": config.fingerprint(),
                "sha256": hash_of(tokenizer),
                "vocabulary": tokenizer.get_vocab_size(),
            }

        folder = self.cache / "tokenizers" / self.tokenizer_key
        return folder, obtain(folder, build)

    def _sample(self, characters: int) -> Iterator[str]:
        """Training documents of about so many characters, from everywhere in the corpus."""
        found, _ = self.cleaned()
        total = sum(shard.characters for shard in found.train)
        share = 1.0 if total <= characters else characters / total
        for shard in found.train:
            for document in text.read_documents(self.cache / shard.file):
                if share == 1.0 or _drawn(document, share):
                    yield document.text

    def tokens(self) -> tuple[Path, dict[str, Any]]:
        """Folder and manifest of the encoded documents."""
        folder = self.cache / "tokens" / self.tokens_key

        def build(place: Path) -> dict[str, Any]:
            found, _ = self.cleaned()
            tokenizer, _ = self.tokenizer()
            return encode(found, tokenizer, self.cache, self.mapper, place)

        return folder, obtain(folder, build)

    def rows(self) -> dict[str, Any]:
        """Manifest of the rows."""
        return obtain(self.rows_folder, self._pack)

    def _pack(self, place: Path) -> dict[str, Any]:
        started = time.monotonic()
        config, frame = self.config, Frame.of(self.config)
        folder, encoded = self.tokens()
        _, tokenizer = self.tokenizer()
        found, reports = self.cleaned()
        counts: dict[str, Counts] = {}
        written: dict[str, list[dict[str, Any]]] = {}
        for split, most in (("train", None), ("validation", VALIDATION_ROWS)):
            shares = self.weights or (_sizes_of_parts(encoded["train"]) if most else None)
            placed, count = plan(folder, encoded[split], frame, shares, most and most * config.length)
            _require_rows(split, count, config, reports)
            if most is not None and count.rows > most:
                count.rows, count.tokens_packed = most, most * config.length
            rows_per_file = max(1, self.shards.tokens // config.length)
            written[split] = pack(split, placed, frame, count.rows, rows_per_file, self.mapper, place)
            counts[split] = count
        digest = hashlib.sha256("".join(entry["sha256"] for entry in written["train"]).encode())
        return {
            "source": self.source,
            "licence": config.source.licence(),
            "extent": config.source.extent(),
            "text": {
                split: {"documents": sum(s.documents for s in found[split]), "shards": len(found[split])}
                for split in ("train", "validation")
            },
            "cleaning": [_without_examples(report) for report in reports],
            "counts": {split: count.to_dict() for split, count in counts.items()},
            "shards": written,
            "per_file": rows_per_file,
            "length": config.length,
            "dtype": width(tokenizer["vocabulary"]).name,
            "documents": counts["train"].documents_kept,
            "rows": counts["train"].rows,
            "tokens": counts["train"].tokens_packed,
            "validation_tokens": counts["validation"].tokens_packed,
            "content_sha256": digest.hexdigest(),
            "tokenizer": tokenizer["sha256"],
            "vocabulary": tokenizer["vocabulary"],
            "warnings": _much_filtered(config, counts["train"]),
            "seconds": round(time.monotonic() - started, 3),
        }

    def cut(self, rows: int) -> np.ndarray | None:
        """Which of the rows stay where the config asks for fewer tokens than there are; None: all.

        A random subset in the order of the corpus, and not the first rows, because the rows of a novel are
        consecutive.
        """
        tokens, length = self.config.tokens, self.config.length
        if tokens is None:
            return None
        most = tokens // length
        if most == 0 or most > rows:
            raise DataError(
                f"data.tokens must lie between one row ({length}) and what the source gives; "
                f"it is {tokens} and the source gives {rows * length}; ask for fewer, or add text"
            )

        def build(place: Path) -> dict[str, Any]:
            chance = np.random.Generator(np.random.Philox(key=0))
            chosen = np.sort(chance.choice(rows, most, replace=False)).astype(np.uint32)
            np.save(place / "rows.npy", chosen)
            return {"rows": self.rows_key, "tokens": most * length}

        folder = self.cache / "cuts" / key_of({"rows": self.rows_key, "tokens": tokens})
        obtain(folder, build)
        chosen: np.ndarray = np.load(folder / "rows.npy", mmap_mode="r")
        return chosen

    def order(self, rows: Rows, tokenizer: Tokenizer) -> np.ndarray | None:
        """In which order all rows are read; None: random."""
        config = self.config
        if config.order == "random":
            return None

        def build(place: Path) -> dict[str, Any]:
            score = order.score_for(config.order, rows, tokenizer)
            order.sort(score, rows, place, mapper=self.mapper)
            return {"order": config.order, "rows": self.rows_key}

        folder = self.cache / "orders" / key_of({"rows": self.rows_key, "order": config.order})
        obtain(folder, build)
        found: np.ndarray = np.load(folder / "order.npy", mmap_mode="r")
        return found

    # --- the whole ---------------------------------------------------------------------------------------

    def prepared(self) -> Prepared:
        """Every stage, from the cache where it is there."""
        from tokenizers import Tokenizer

        config, manifest = self.config, self.rows()
        folder, tokenizer_manifest = self.tokenizer()
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        whole = self._mapped("train", manifest, None)
        found = self.order(whole, tokenizer)
        chosen = self.cut(len(whole))
        train = whole if chosen is None else self._mapped("train", manifest, chosen)
        if found is not None:
            found = order.of_chosen(found, chosen, len(whole))
        return Prepared(
            path=self.rows_folder,
            config=config,
            tokenizer=tokenizer,
            train=train,
            validation=self._mapped("validation", manifest, None),
            order=None if found is None else found[::-1] if config.reverse else found,
            # Rows are shared by configs that come to the same tokens: what this one asked for is added here.
            manifest={
                **{key: value for key, value in manifest.items() if key not in ("files", "shards")},
                "version": VERSION,
                "config": config.model_dump(mode="json"),
                "licence": config.source.licence(),
                "order": config.order,
                "rows": len(train),
                "tokens": train.size,
                "fingerprint": self._fingerprint(),
                "warnings": [*_smaller_vocabulary(config, tokenizer_manifest), *manifest["warnings"]],
            },
        )

    def _mapped(self, split: str, manifest: dict[str, Any], chosen: np.ndarray | None) -> Rows:
        shards = manifest["shards"][split]
        return Rows(
            [self.rows_folder / f"{split}-{number:05d}.npy" for number in range(len(shards))],
            rows=sum(shard["rows"] for shard in shards),
            length=manifest["length"],
            per_file=manifest["per_file"],
            dtype=np.dtype(manifest["dtype"]),
            chosen=chosen,
        )

    def _fingerprint(self) -> str:
        config = self.config
        parts = [self.rows_key, config.order]
        if config.order != "random":
            parts += ["reversed"] if config.reverse else []
            parts += [f"{config.sorted_passes or 'all'}-passes"] if config.sorted_passes != 1 else []
        parts += [f"{config.tokens}-tokens"] if config.tokens is not None else []
        return "-".join(parts)


def _sizes_of_parts(shards: Sequence[dict[str, Any]]) -> list[float] | None:
    """Training tokens of each part of a source of several, in whose shares held-out rows stand for them."""
    sizes = [0.0] * (1 + max((shard["part"] for shard in shards), default=0))
    for shard in shards:
        sizes[shard["part"]] += shard["tokens"]
    return sizes if len(sizes) > 1 and any(sizes) else None


def _drawn(document: Document, share: float) -> bool:
    # Another hash than the one by which documents are ranked, or a cut would keep just the sample.
    return rank(f"sample/{document.id}") < share * 2**64


def _without_examples(report: Report) -> dict[str, Any]:
    """A report as records hold it; `ablate data inspect` shows the examples."""
    return {key: value for key, value in report.to_dict().items() if not key.endswith("_examples")}


def _require_rows(split: str, count: Counts, config: DataConfig, reports: list[Report]) -> None:
    if count.rows:
        return
    where = f"the {split} split of source '{config.source.short()}'"
    for report in reports if split == "train" else []:
        if report.documents_in and not report.documents_out:
            raise DataError(
                f"{where} must keep documents after cleaning; stage '{report.stage}' drops all "
                f"{report.documents_in}; loosen it"
            )
    if count.documents_read == 0 and split == "validation" and config.source.hashed:
        raise DataError(
            f"{where} is one document in {HELD_OUT}, picked by its hash; none was picked; add text, or name "
            "held-out text in data.source.validation"
        )
    if count.documents_read == 0:
        raise DataError(f"{where} must hold documents; it holds none; correct the source")
    if count.documents_kept == 0 and count.documents_left_out:
        raise DataError(
            f"{where} must hold text of every part; of one nothing is left after cleaning and the ratio "
            "filter, and in its share the others give nothing; leave that part out"
        )
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
