"""Text on disk in shards, and what cleaning makes of it.

    text/<key>/          one source: train-00000.parquet …, validation-00000.parquet … (columns id, text)
    cleaned/<key>/       what one cleaning stage leaves of it, shard by shard, and its report

A source is read once, in order, and cut into shards of some million characters; from then on every stage is
a map over shards. Several sources are a list of shards with the part that each belongs to: their text is
shared with arms that use one of them alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.data.cleaning import Document, Report, Stage
from ablate.data.mapping import Mapper
from ablate.data.sources import MixtureSource, Source, Split, side_of
from ablate.data.store import build_shards, keep_result, key_of, obtain, result_of

if TYPE_CHECKING:
    from ablate.data.config import DataConfig

# Held-out text beyond this many characters is passed over: 2048 rows of 1024 tokens need half of it.
HELD_OUT_CHARACTERS = 16_000_000


@dataclass(frozen=True)
class Shards:
    """How large shards are. Part of what is cached: other sizes are other files of the same tokens."""

    characters: int = 16_000_000  # of text: some 50 shards per GB, and some 300 MiB for one that is encoded
    tokens: int = 1 << 25  # in rows: 64 MiB in 16 bits


@dataclass(frozen=True)
class Shard:
    """A file of documents."""

    file: str  # relative to the cache
    documents: int
    characters: int
    part: int = 0  # of a source of several


@dataclass(frozen=True)
class Text:
    """The documents of a corpus at one stage."""

    key: str
    train: tuple[Shard, ...]
    validation: tuple[Shard, ...]

    def __getitem__(self, split: Split) -> tuple[Shard, ...]:
        return self.train if split == "train" else self.validation


# --- documents in files ------------------------------------------------------------------------------


def read_documents(path: Path) -> Iterator[Document]:
    """The documents of a shard."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1024, columns=["id", "text"]):
            yield from map(Document, batch.column(0).to_pylist(), batch.column(1).to_pylist())


class Writer:
    """Writes documents into a file a few hundred at a time, so that none is held for long."""

    def __init__(self, path: Path) -> None:
        self.path, self.documents, self.characters = path, 0, 0
        self._waiting: list[Document] = []
        self._size = 0
        self._file: Any = None

    def add(self, document: Document) -> None:
        self.documents += 1
        self.characters += len(document.text)
        self._waiting.append(document)
        self._size += len(document.text)
        if self._size > 1 << 20:
            self._flush()

    def _flush(self) -> None:
        import pyarrow
        import pyarrow.parquet

        schema = pyarrow.schema([("id", pyarrow.string()), ("text", pyarrow.large_string())])
        if self._file is None:
            # The fastest level: text shrinks to 40 % at some 300 MB/s, a hundred times the speed of encoding.
            self._file = pyarrow.parquet.ParquetWriter(
                self.path, schema, compression="zstd", compression_level=1, use_dictionary=False
            )
        columns = [list(column) for column in zip(*self._waiting, strict=True)] or [[], []]
        self._file.write_table(pyarrow.table(columns, schema=schema))
        self._waiting, self._size = [], 0

    def close(self) -> None:
        self._flush()
        self._file.close()

    def result(self) -> dict[str, Any]:
        """What a manifest says of the finished file."""
        return {"file": self.path.name, "documents": self.documents, "characters": self.characters}


def write_documents(path: Path, documents: Iterable[Document]) -> dict[str, Any]:
    """Write a shard; returns what a manifest says of it."""
    writer = Writer(path)
    for document in documents:
        writer.add(document)
    writer.close()
    return writer.result()


# --- sources -----------------------------------------------------------------------------------------


def parts_of(source: Source) -> list[Source]:
    """The sources that it consists of: itself, mostly."""
    if isinstance(source, MixtureSource):
        return [part.source for part in source.parts]
    parts = getattr(source, "parts", None)
    return list(parts()) if callable(parts) else [source]


def text_key(source: Source, shards: Shards) -> str:
    """What the text of a source is cached by."""
    return key_of({"text": source.fingerprint(), "characters": shards.characters})


def read_source(source: Source, cache: Path, shards: Shards) -> Text:
    """The text of a source, read when it is not there yet."""
    found: dict[Split, list[Shard]] = {"train": [], "validation": []}
    parts = parts_of(source)
    for number, part in enumerate(parts):
        key = text_key(part, shards)
        folder = cache / "text" / key
        manifest = obtain(folder, partial(_read, part, shards))
        for split, listed in found.items():
            listed += [_shard(f"text/{key}", entry, number) for entry in manifest[split]]
    key = text_key(source, shards)
    return Text(key, tuple(found["train"]), tuple(found["validation"]))


def _shard(folder: str, entry: Mapping[str, Any], part: int) -> Shard:
    return Shard(f"{folder}/{entry['file']}", entry["documents"], entry["characters"], part)


def _read(source: Source, shards: Shards, place: Path) -> dict[str, Any]:
    results = list(_cut(source, None, shards, place, "both" if source.hashed else "train"))
    if not source.hashed:
        results += _cut(source, "validation", shards, place, "validation")
    listed = {
        split: [result[split] for result in results if result[split]["documents"]]
        for split in ("train", "validation")
    }
    return {"source": source.fingerprint(), "licence": source.licence(), "extent": source.extent(), **listed}


def _cut(
    source: Source, split: Split | None, shards: Shards, place: Path, name: str
) -> Iterator[dict[str, Any]]:
    """Read a source to its end, a shard at a time; one that is complete is passed over in the source."""
    if split is None and not source.hashed:
        split = "train"
    number = read = held = 0
    while (done := result_of(place, f"{name}-{number:05d}")) is not None:
        yield done
        read, held, number = done["read"], done["held"], number + 1
        if done["last"]:
            return
    stream, prefix = source.stream(split, read), source.prefix()
    last = False
    while not last:
        files = {s: Writer(place / f"{s}-{number:05d}.parquet") for s in ("train", "validation")}
        start = held
        last = True
        for text in stream:
            text = _encodable(text)
            where = split or side_of(text)
            read += 1
            if where == "train" or held < HELD_OUT_CHARACTERS:
                files[where].add(Document(f"{prefix}/{where}/{read - 1}", text))
            held += len(text) if where == "validation" else 0
            if files["train"].characters + (held - start) >= shards.characters:
                last = False
                break
            if split == "validation" and held >= HELD_OUT_CHARACTERS:
                break
        written = [writer for writer in files.values() if writer.documents]
        for writer in written:
            writer.close()
        result = {s: writer.result() for s, writer in files.items()}
        where_to = {"files": [w.path.name for w in written], "read": read, "held": held, "last": last}
        yield keep_result(place, f"{name}-{number:05d}", {**result, **where_to})
        number += 1


def _encodable(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON may hold and UTF-8 may not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text


# --- cleaning ----------------------------------------------------------------------------------------


def cleaned_key(before: str, stage: Stage) -> str:
    """What the text that a stage leaves is cached by."""
    return key_of({"text": before, "stage": stage.name, "settings": stage.fingerprint()})


def clean(text: Text, stage: Stage, cache: Path, mapper: Mapper) -> tuple[Text, Report]:
    """What a stage leaves, and its report on the training text."""
    key = cleaned_key(text.key, stage)
    manifest = obtain(cache / "cleaned" / key, partial(_clean, text, stage, cache, mapper))
    train = tuple(Shard(**entry) for entry in manifest["train"])
    held_out = manifest["validation"]  # None where the stage leaves it alone
    validation = text.validation if held_out is None else tuple(Shard(**entry) for entry in held_out)
    return Text(key, train, validation), Report.from_dict(manifest["report"])


def _clean(text: Text, stage: Stage, cache: Path, mapper: Mapper, place: Path) -> dict[str, Any]:
    scratch = place / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    paths = [cache / shard.file for shard in text.train]
    partials = mapper(partial(_scan, stage, scratch), paths) if stage.scans else iter(())
    state = stage.combine(partials, scratch)
    splits: list[Split] = ["train"] if stage.training_only else ["train", "validation"]
    jobs = {
        f"{split}-{number:05d}": partial(_apply, stage, state, cache / shard.file, f"{split}-{number:05d}")
        for split in splits
        for number, shard in enumerate(text[split])
    }
    results = build_shards(place, jobs, mapper)
    shutil.rmtree(scratch)
    report = Report(stage.name, facts=stage.facts(state))
    for name, result in results.items():
        if name.startswith("train"):
            report += Report.from_dict(result["report"])
    folder = f"cleaned/{place.name.strip('.').removesuffix('.partial')}"
    kept: dict[str, Any] = {"train": None, "validation": None}
    for split in splits:
        entries = (results[f"{split}-{n:05d}"]["shard"] for n in range(len(text[split])))
        kept[split] = [
            asdict(_shard(folder, entry, shard.part))
            for entry, shard in zip(entries, text[split], strict=True)
        ]
    return {"stage": stage.name, "settings": stage.fingerprint(), "report": report.to_dict(), **kept}


def _scan(stage: Stage, scratch: Path, path: Path) -> Any:
    return stage.scan(read_documents(path), scratch)


def _apply(stage: Stage, state: Any, source: Path, name: str, place: Path) -> dict[str, Any]:
    report = Report(stage.name)
    shard = write_documents(place / f"{name}.parquet", stage.apply(read_documents(source), state, report))
    return {"files": [shard["file"]], "shard": shard, "report": report.to_dict()}


def stages_of(config: DataConfig) -> list[Stage]:
    """The cleaning stages of a config, in the order in which they run."""
    return config.cleaning.stages()
