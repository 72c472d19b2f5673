"""Decontamination: training documents that hold examples of the evaluation tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from ablate.data.cleaning.evaltexts import Splits, TextSet, text_sets
from ablate.data.cleaning.interface import Document, Report, Stage
from ablate.data.cleaning.spans import Words, batches, words
from ablate.data.errors import DataError
from ablate.knobs import Knob


class Index(NamedTuple):
    """What to look for: hashes of n-grams and sentences, and the examples that hold them."""

    keys: np.ndarray  # [keys] uint64, ascending
    begins: np.ndarray  # [keys + 1] where each key's examples begin in `examples`
    examples: np.ndarray  # numbers of examples over all sets
    names: tuple[str, ...]  # of the sets, in the order of the numbers
    sizes: tuple[int, ...]  # examples per set
    short: tuple[int, ...]  # of these, too short to be looked for

    def lookup(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions in `hashes` that are known, and for each the place of its key."""
        place = np.searchsorted(self.keys, hashes)
        inside = np.flatnonzero(place < len(self.keys))
        hit = inside[self.keys[place[inside]] == hashes[inside]]
        return hit, place[hit]


class Decontaminate(Stage):
    """Finds evaluation examples by n-grams of words, as GPT-3 did (Brown et al. 2020, appendix C: 13 words).

    Words are compared without case and punctuation. A text of fewer than `ngram` words has no n-gram (most
    of CoLA, half of SST-2): it is found where the same words make up whole sentences of a document. Texts
    of fewer than `sentence` words are not looked for, as "It works." proves nothing.
    """

    kind: Literal["decontaminate"] = "decontaminate"
    action: Annotated[
        Literal["drop", "report"], Knob("drop documents that overlap, or keep them and only say so",
                                        paper="not studied; the critique asks for it")
    ] = "drop"  # fmt: skip
    ngram: Annotated[
        int, Knob("shared words in a row that count as overlap", 5, 50, paper="not studied; GPT-3: 13")
    ] = 13
    sentence: Annotated[
        int, Knob("fewest words of a text that is looked for as whole sentences", 2, 50, paper="not studied")
    ] = 6
    splits: Annotated[
        Splits, Knob("which parts of the tasks are looked for", paper="not studied", cost="a pass over them")
    ] = "validation+test"
    tasks: Annotated[
        tuple[str, ...] | None, Knob("names of GLUE or grammar tasks; none: all of GLUE that is there")
    ] = None
    files: Annotated[
        tuple[str, ...], Knob("files of further tasks (.parquet, .jsonl, .csv, .tsv); all their text columns")
    ] = ()

    @property
    def name(self) -> str:
        return "decontaminate"

    def sets(self) -> list[TextSet]:
        """The evaluation texts that are looked for. Raises DataError when there are none."""
        return text_sets(self.tasks, self.files, self.splits)

    def problems(self) -> list[str]:
        try:
            self.sets()
        except DataError as error:
            return [str(error)]
        return []

    def fingerprint(self) -> dict[str, Any]:
        return {**self.model_dump(), "sets": [found.fingerprint() for found in self.sets()]}

    def combine(self, partials: Iterable[Any], scratch: Path) -> Index:
        """The index of the evaluation texts; the corpus is not needed for it."""
        sets = self.sets()
        keys, owners = [], []
        sizes: list[int] = []
        short: list[int] = []
        for found in sets:
            examples = found.texts()
            flat = [text for example in examples for text in example]
            example_of = np.array([i for i, example in enumerate(examples) for _ in example], np.int64)
            text, hashes = self._wanted(words(flat), len(flat))
            keys.append(hashes)
            owners.append(example_of[text] + sum(sizes))
            sizes.append(len(examples))
            short.append(len(examples) - len(np.unique(example_of[text])))
        key, owner = np.concatenate(keys), np.concatenate(owners)
        order = np.lexsort((owner, key))
        key, owner = key[order], owner[order]
        new = np.append(True, (key[1:] != key[:-1]) | (owner[1:] != owner[:-1]))[: len(key)]
        key, owner = key[new], owner[new]
        unique, begins = np.unique(key, return_index=True)
        return Index(
            unique, np.append(begins, len(key)), owner,
            tuple(found.name for found in sets), tuple(sizes), tuple(short),
        )  # fmt: skip

    def _wanted(self, found: Words, texts: int) -> tuple[np.ndarray, np.ndarray]:
        """(text, hash) of every n-gram, and of every whole text that is too short for one."""
        first, hashes = found.grams(self.ngram)
        lengths = np.bincount(found.text, minlength=texts)
        starts = np.cumsum(lengths) - lengths
        text, key = [found.text[first]], [hashes]
        for n in range(self.sentence, self.ngram):
            whole = np.flatnonzero(lengths == n)
            text.append(whole)
            key.append(found.hashes(starts[whole], n))
        return np.concatenate(text), np.concatenate(key)

    def overlaps(self, texts: list[str], index: Index) -> dict[int, list[int]]:
        """Text → examples that it shares an n-gram or whole sentences with."""
        found = words(texts)
        spans = [found.grams(self.ngram)]
        opening = np.flatnonzero(found.opens)
        for n in range(self.sentence, self.ngram):
            first = opening[opening + n <= len(found.start)]
            last = first + n - 1
            first = first[(found.text[first] == found.text[last]) & found.closes[last]]
            spans.append((first, found.hashes(first, n)))
        touched: dict[int, set[int]] = {}
        for first, hashes in spans:
            hit, place = index.lookup(hashes)
            for text, key in zip(found.text[first[hit]].tolist(), place.tolist(), strict=True):
                examples = index.examples[index.begins[key] : index.begins[key + 1]]
                touched.setdefault(text, set()).update(examples.tolist())
        return {text: sorted(examples) for text, examples in touched.items()}

    def facts(self, state: Index) -> dict[str, Any]:
        sets = zip(state.names, state.sizes, state.short, strict=True)
        return {"examples": {name: {"all": size, "too_short": short} for name, size, short in sets}}

    def apply(self, shard: Iterable[Document], state: Index, report: Report) -> Iterator[Document]:
        """Documents without overlap; `details` count, per set, documents and the rows that they touch."""
        ends = np.cumsum(state.sizes)
        for batch in batches(shard):
            touched = self.overlaps([document.text for document in batch], state)
            for number, document in enumerate(batch):
                sets = self._count(touched.get(number, []), ends, state, report)
                if sets and self.action == "drop":
                    report.drop(document, f"overlaps {sets[0]}")
                else:
                    yield report.keep(document)

    def _count(self, examples: list[int], ends: np.ndarray, state: Index, report: Report) -> list[str]:
        """Write a document's overlaps into the report; the sets that it touches."""
        documents = report.details.setdefault("documents", {})
        rows = report.details.setdefault("rows", {})
        sets: dict[str, None] = {}
        for example in examples:
            which = int(np.searchsorted(ends, example, side="right"))
            name, row = state.names[which], str(example - int(ends[which]) + state.sizes[which])
            sets[name] = None
            rows.setdefault(name, {})
            rows[name][row] = rows[name].get(row, 0) + 1
        for name in sets:
            documents[name] = documents.get(name, 0) + 1
        return list(sets)
