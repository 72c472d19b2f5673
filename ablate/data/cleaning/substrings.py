"""Exact-substring removal: a passage that stands elsewhere in the corpus as well stays in one place only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from ablate.data.cleaning.interface import Document, Report, Stage, rank
from ablate.data.cleaning.runs import ROW, RUN_ROWS, grouped, merged, write_run
from ablate.data.cleaning.spans import Hashed, batches
from ablate.knobs import Knob


class Windows(NamedTuple):
    """Every window of a batch: `length` bytes that begin or end with a word, inside one document."""

    document: np.ndarray  # [windows] index into the batch
    at: np.ndarray  # [windows] first byte in the document
    key: np.ndarray  # [windows] hash


class ExactSubstrings(Stage):
    """Cuts passages of at least `length` bytes that occur before, after Lee et al. 2022 (arXiv:2107.06499).

    Passages are compared byte for byte where words begin and where they end: whole words go, and no repeated
    run of words of `length` bytes escapes. Where no blanks part words, only the ends of lines are compared.
    Of all copies the one stays whose document's id hashes lowest, of copies in one document the first; a
    document that is left with fewer than `length` bytes goes. Sorted runs on disk take the place of a suffix
    array: 42 bytes a word there, some hundred MB in memory.
    """

    kind: Literal["exact-substrings"] = "exact-substrings"
    length: Annotated[
        int,
        Knob(
            "shortest repeated passage that is cut, in bytes of UTF-8",
            25,
            1000,
            log=True,
            paper="4.4: thresholds 50, 75, 100; deduplication does not help downstream",
            cost="reads the corpus once more; 42 bytes of disk per word while it runs",
        ),
    ] = 75

    @property
    def name(self) -> str:
        return "exact-substrings"

    @property
    def scans(self) -> bool:
        return True

    def windows(self, documents: list[Document]) -> Windows:
        """The windows of a batch of documents."""
        texts = [document.text.encode(errors="replace") for document in documents]
        data = np.frombuffer(b"\n".join([*texts, b""]), np.uint8)
        ends = np.cumsum([len(text) + 1 for text in texts]) - 1  # of each document's own bytes
        blank = np.concatenate([[True], data <= 32])  # blank[i + 1]: byte i
        begins = np.flatnonzero(blank[:-1] & ~blank[1:])
        closes = np.flatnonzero(~blank[:-1] & blank[1:]) - self.length
        start = np.union1d(begins, closes[closes >= 0])
        document = np.searchsorted(ends, start, side="right")
        first = np.concatenate([[0], ends[:-1] + 1])
        inside = (start >= first[document]) & (start + self.length <= ends[document])
        start, document = start[inside], document[inside]
        return Windows(document, start - first[document], Hashed(data)(start, start + self.length))

    def scan(self, shard: Iterable[Document], scratch: Path) -> list[str]:
        """Sorted runs of (hash, document, place) of all windows."""
        paths, waiting, size = [], [], 0
        for batch in batches(shard):
            rows = self._rows(batch)
            waiting.append(rows)
            size += len(rows)
            if size >= RUN_ROWS:
                paths.append(write_run(grouped(np.concatenate(waiting)).leaders, scratch))
                waiting, size = [], 0
        if size:
            paths.append(write_run(grouped(np.concatenate(waiting)).leaders, scratch))
        return paths

    def _rows(self, batch: list[Document]) -> np.ndarray:
        windows = self.windows(batch)
        rows = np.zeros(len(windows.key), ROW)
        rows["key"], rows["at"] = windows.key, windows.at
        rows["owner"] = np.array([rank(document.id) for document in batch], np.uint64)[windows.document]
        return rows

    def combine(self, partials: Iterable[list[str]], scratch: Path) -> dict[str, Any]:
        """The windows that occur more than once, each with its keeper, in a file."""
        path = scratch / "repeated.rows"
        count = windows = 0
        with open(path, "wb") as file:
            for groups in merged([path for paths in partials for path in paths]):
                repeated = groups.leaders[groups.leaders["several"]]
                repeated.tofile(file)
                count += len(repeated)
                windows += len(groups.leaders)
        return {"path": str(path), "repeated": count, "different": windows}

    def facts(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"windows": state["different"], "windows_repeated": state["repeated"]}

    def apply(self, shard: Iterable[Document], state: dict[str, Any], report: Report) -> Iterator[Document]:
        table = np.memmap(state["path"], ROW, mode="r") if state["repeated"] else np.empty(0, ROW)
        keys = np.ascontiguousarray(table["key"])
        details = report.details
        for batch in batches(shard):
            for document, text in zip(batch, self._cut(batch, table, keys), strict=True):
                if text == document.text:
                    yield report.keep(document)
                    continue
                removed = len(document.text) - len(text)
                details["characters_cut"] = details.get("characters_cut", 0) + removed
                if len(text.encode(errors="replace")) >= self.length:
                    yield report.keep(document._replace(text=text.strip()), document)
                else:
                    report.drop(document, "repeated passages only")

    def _cut(self, batch: list[Document], table: np.ndarray, keys: np.ndarray) -> list[str]:
        """The batch's texts without their repeated passages."""
        windows = self.windows(batch)
        place = np.searchsorted(keys, windows.key)
        known = np.flatnonzero(place < len(keys))
        known = known[keys[place[known]] == windows.key[known]]
        texts = [document.text for document in batch]
        if not len(known):
            return texts
        keeper = table[place[known]]
        owner = np.array([rank(document.id) for document in batch], np.uint64)[windows.document[known]]
        at, own = windows.at[known].astype(np.int64), keeper["owner"] == owner
        # The copy that stays is not cut into by one that begins inside it.
        start = np.where(own, np.maximum(at, keeper["at"].astype(np.int64) + self.length), at)
        cut = ~own | (at != keeper["at"])
        document, start, at = windows.document[known][cut], start[cut], at[cut]
        numbers, firsts = np.unique(document, return_index=True)  # documents ascend
        for number, a, b in zip(numbers, firsts, [*firsts[1:], len(document)], strict=True):
            texts[number] = _without(texts[number], start[a:b], at[a:b] + self.length)
        return texts


def _without(text: str, start: np.ndarray, end: np.ndarray) -> str:
    """A text without stretches of its bytes, each shrunk to whole words."""
    data = text.encode(errors="replace")
    blank = np.concatenate([[True], np.frombuffer(data, np.uint8) <= 32, [True]])  # blank[i + 1]: byte i
    marked = np.zeros(len(data) + 1, np.int32)
    np.add.at(marked, start, 1)
    np.add.at(marked, end, -1)
    gone = np.cumsum(marked)[:-1] > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], gone, [False]]).astype(np.int8)))
    words = np.flatnonzero(blank[:-1] & ~blank[1:])  # first bytes of words
    kept, last = [], 0
    for first, stop in edges.reshape(-1, 2):
        # From the first word that begins inside to the last that ends inside, the blanks after it included.
        before = np.searchsorted(words, first)
        begin = words[before] if before < len(words) else len(data)
        after = np.searchsorted(words, stop)  # the first word from there on
        if stop < len(data) and not blank[stop] and not blank[stop + 1]:  # it ends inside a word, which stays
            finish = words[after - 1]
        else:
            finish = words[after] if after < len(words) else len(data)
        if finish > begin:
            kept.append(data[last:begin])
            last = finish
    kept.append(data[last:])
    return b"".join(kept).decode(errors="replace")
