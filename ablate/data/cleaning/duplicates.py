"""Near-duplicate removal: of documents that share most of their word n-grams, one stays."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from ablate.data.cleaning.interface import Document, Report, Stage, rank
from ablate.data.cleaning.runs import ROW, RUN_ROWS, Groups, grouped, merged, write_run
from ablate.data.cleaning.spans import batches, mixed, words
from ablate.knobs import Knob

SEED = 1
PAIRS = 4_000_000  # joined at a time


class NearDuplicates(Stage):
    """MinHash with locality-sensitive hashing (Broder 1997), as in the cleaning of C4-like corpora.

    Signatures are rensa's: 128 permutations of a megabyte of text take 4 ms, of datasketch 200 ms.
    Documents that share a band of their signature are joined, and of each joined group the one stays whose
    id hashes lowest. Disk holds 21 bytes per band and document while it runs, memory 16 bytes per duplicate.
    """

    kind: Literal["minhash"] = "minhash"
    threshold: Annotated[
        float,
        Knob("Jaccard similarity of n-grams from which documents count as copies", 0.3, 0.99,
             paper="4.4: exact deduplication does not help downstream; near-duplicates were not tried"),
    ] = 0.7  # fmt: skip
    ngram: Annotated[int, Knob("words per n-gram", 1, 20, paper="not in the paper")] = 5
    permutations: Annotated[
        int,
        Knob("hash functions; more separate similarities better", 16, 1024, log=True,
             paper="not in the paper", cost="linear in time and disk"),
    ] = 128  # fmt: skip

    @property
    def name(self) -> str:
        return "near-duplicates"

    @property
    def scans(self) -> bool:
        return True

    def problems(self) -> list[str]:
        try:
            import rensa  # noqa: F401
        except ImportError:
            return [
                "cleaning stage 'near-duplicates' needs the package rensa; it is not installed; "
                "pip install 'ablate-bert[cleaning]'"
            ]
        return []

    def fingerprint(self) -> dict[str, Any]:
        import rensa

        return {**self.model_dump(), "rensa": rensa.RMinHash.ALGORITHM_VERSION}

    def bands(self) -> tuple[int, int]:
        """Bands and rows per band that put the least chance on the wrong side of the threshold.

        Documents of similarity s share a band with probability 1 - (1 - s^rows)^bands.
        """
        options = [(self.permutations // rows, rows) for rows in range(1, self.permutations + 1)]
        return min(options, key=lambda option: self._wrong(*option))

    def _wrong(self, bands: int, rows: int) -> float:
        similarity = np.linspace(0.0, 1.0, 201)
        joined = 1 - (1 - similarity**rows) ** bands
        return float(np.where(similarity < self.threshold, joined, 1 - joined).sum())

    def keys(self, documents: list[Document]) -> np.ndarray:
        """[documents, bands] a hash per band of each document's signature; documents without words aside."""
        import rensa

        found = words([document.text for document in documents])
        first, hashes = found.grams(self.ngram)
        text = found.text[first]
        # A document shorter than an n-gram is one of its words.
        few = np.setdiff1d(found.text, text)
        if len(few):
            short = np.isin(found.text, few)
            text, hashes = (
                np.concatenate([text, found.text[short]]),
                np.concatenate([hashes, found.hashes(np.flatnonzero(short), 1)]),
            )
            order = np.argsort(text, kind="stable")
            text, hashes = text[order], hashes[order]
        offsets = np.searchsorted(text, np.arange(len(documents) + 1)).astype(np.uint64)
        matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(
            np.ascontiguousarray(hashes), offsets, self.permutations, SEED
        )
        bands, rows = self.bands()
        signature = np.array(matrix.to_rows(), np.uint64)[:, : bands * rows]
        keys = np.tile(np.arange(bands, dtype=np.uint64), (len(documents), 1))
        for row in range(rows):
            keys = mixed(keys ^ (signature[:, row * bands : (row + 1) * bands] + np.uint64(row)))
        # Documents without a word resemble none: the highest key is never grouped.
        keys[offsets[1:] == offsets[:-1]] = np.uint64(2**64 - 1)
        return keys

    def scan(self, shard: Iterable[Document], scratch: Path) -> dict[str, list[str]]:
        """Sorted runs of (band's hash, document), and pairs of documents that met within a run."""
        paths: dict[str, list[str]] = {"runs": [], "pairs": []}
        waiting: list[np.ndarray] = []

        def flush() -> None:
            groups = grouped(np.concatenate(waiting))
            paths["runs"].append(write_run(groups.leaders, scratch))
            paths["pairs"].append(_write_pairs(_pairs(groups), scratch))
            waiting.clear()

        for batch in batches(shard):
            waiting.append(self._rows(batch))
            if sum(map(len, waiting)) >= RUN_ROWS:
                flush()
        if waiting:
            flush()
        return paths

    def _rows(self, batch: list[Document]) -> np.ndarray:
        keys = self.keys(batch)
        owner = np.array([rank(document.id) for document in batch], np.uint64)
        rows = np.zeros(keys.size, ROW)
        rows["key"], rows["owner"] = keys.ravel(), np.repeat(owner, keys.shape[1])
        return rows[rows["key"] != np.uint64(2**64 - 1)]

    def combine(self, partials: Iterable[dict[str, list[str]]], scratch: Path) -> dict[str, Any]:
        """Ranks of the documents that go, in a file, ascending."""
        partials = list(partials)
        forest = np.empty((0, 2), np.uint64)
        waiting, size = [], 0
        for pairs in self._all_pairs(partials):
            waiting.append(pairs)
            size += len(pairs)
            if size >= PAIRS:
                forest, waiting, size = _joined(np.concatenate([forest, *waiting])), [], 0
        forest = _joined(np.concatenate([forest, *waiting]))
        path = scratch / "copies.npy"
        np.save(path, np.sort(forest[:, 1]))
        sizes = np.unique(forest[:, 0], return_counts=True)[1] + 1
        return {
            "path": str(path),
            "groups": len(sizes),
            "largest_group": int(sizes.max(initial=0)),
        }

    def _all_pairs(self, partials: list[dict[str, list[str]]]) -> Iterator[np.ndarray]:
        for partial in partials:
            for path in partial["pairs"]:
                yield np.fromfile(path, np.uint64).reshape(-1, 2)
        for groups in merged([path for partial in partials for path in partial["runs"]]):
            yield _pairs(groups)

    def facts(self, state: dict[str, Any]) -> dict[str, Any]:
        bands, rows = self.bands()
        caught = 1 - (1 - self.threshold**rows) ** bands
        return {
            "groups": state["groups"],
            "largest_group": state["largest_group"],
            "bands": bands,
            "rows_per_band": rows,
            "caught_at_threshold": round(caught, 4),
        }

    def apply(self, shard: Iterable[Document], state: dict[str, Any], report: Report) -> Iterator[Document]:
        copies = np.load(state["path"], mmap_mode="r")
        for document in shard:
            mine = np.uint64(rank(document.id))
            place = np.searchsorted(copies, mine)
            if place < len(copies) and copies[place] == mine:
                report.drop(document, "near-duplicate")
            else:
                yield report.keep(document)


def _pairs(groups: Groups) -> np.ndarray:
    """[pairs, 2] (leader, member) of every group, the leader's rank being the lower."""
    leader = groups.leaders["owner"][groups.leader_of]
    member = groups.rows["owner"]
    apart = leader != member
    return np.stack([leader[apart], member[apart]], axis=1)


def _write_pairs(pairs: np.ndarray, scratch: Path) -> str:
    handle, path = tempfile.mkstemp(suffix=".pairs", dir=scratch)
    with open(handle, "wb") as file:
        pairs.tofile(file)
    return path


def _joined(pairs: np.ndarray) -> np.ndarray:
    """Pairs joined to groups: (lowest rank, member) for every member but the lowest."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not len(pairs):
        return pairs
    names, numbers = np.unique(pairs, return_inverse=True)
    numbers = numbers.reshape(pairs.shape)
    graph = coo_matrix(
        (np.ones(len(pairs), bool), (numbers[:, 0], numbers[:, 1])), shape=(len(names), len(names))
    )
    group = connected_components(graph, directed=False)[1]
    # Names ascend, so the first of a group is its lowest.
    lowest = names[np.unique(group, return_index=True)[1]][group]
    others = lowest != names
    return np.stack([lowest[others], names[others]], axis=1)
