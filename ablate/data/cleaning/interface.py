"""What a cleaning stage is: a frozen config that reads documents, perhaps twice, and says what it did.

A stage runs over a corpus in shards, in any number of processes, in any order, and comes to the same
documents: `scan` reads each shard once and returns a partial, `combine` makes one state of all partials,
`apply` reads each shard again. Nothing may depend on how documents are divided among shards; where one of
several copies stays or chance decides, the hash of a document's id does (`rank`).
Memory is bounded: a partial or a state that grows with the corpus lies in files below `scratch`, which
lives until the last shard is applied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BeforeValidator

from ablate.knobs import Config

EXAMPLES = 20  # of documents kept and dropped, per stage
EXCERPT = 400  # characters of each


class Document(NamedTuple):
    """A text and what identifies it in its corpus, whatever shard it lies in."""

    id: str
    text: str


def rank(document_id: str) -> int:
    """A document's place in an order that is random and the same everywhere: 64 bits of its id's hash."""
    return int.from_bytes(hashlib.blake2b(document_id.encode(), digest_size=8).digest(), "big")


class Example(NamedTuple):
    """A document shown in a report."""

    rank: int
    id: str
    text: str  # its first EXCERPT characters
    reason: str = ""


def _lowest(examples: Iterable[Example]) -> list[Example]:
    return sorted(set(examples))[:EXAMPLES]


def added(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Two dictionaries of numbers, or of such dictionaries, summed key by key."""
    out = dict(a)
    for key, value in b.items():
        if key in out:
            out[key] = added(out[key], value) if isinstance(value, dict) else out[key] + value
        else:
            out[key] = value
    return out


@dataclass
class Report:
    """What a stage did to the documents of a shard; `+` joins two, in any order."""

    stage: str
    documents_in: int = 0
    characters_in: int = 0
    documents_out: int = 0
    characters_out: int = 0
    changed: int = 0  # documents that stay with another text
    dropped: dict[str, int] = field(default_factory=dict)  # reason → documents
    lengths: dict[str, int] = field(default_factory=dict)  # 2^k as text → documents kept of 2^k characters on
    kept_examples: list[Example] = field(default_factory=list)
    dropped_examples: list[Example] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)  # numbers (or dictionaries of them) that add up
    facts: dict[str, Any] = field(default_factory=dict)  # of the state: the same for every shard

    def keep(self, document: Document, before: Document | None = None) -> Document:
        """Count a document that stays; `before` is what it was where the stage changed it."""
        source = document if before is None else before
        self._read(source)
        self.documents_out += 1
        self.characters_out += len(document.text)
        self.changed += source.text != document.text
        power = str(1 << max(len(document.text).bit_length() - 1, 0))
        self.lengths[power] = self.lengths.get(power, 0) + 1
        self._show(self.kept_examples, document, "")
        return document

    def drop(self, document: Document, reason: str) -> None:
        """Count a document that goes."""
        self._read(document)
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        self._show(self.dropped_examples, document, reason)

    def _read(self, document: Document) -> None:
        self.documents_in += 1
        self.characters_in += len(document.text)

    def _show(self, examples: list[Example], document: Document, reason: str) -> None:
        place = rank(document.id)
        if len(examples) == EXAMPLES and place > examples[-1].rank:
            return
        examples[:] = _lowest([*examples, Example(place, document.id, document.text[:EXCERPT], reason)])

    def __add__(self, other: Report) -> Report:
        assert self.stage == other.stage
        return Report(
            self.stage,
            self.documents_in + other.documents_in,
            self.characters_in + other.characters_in,
            self.documents_out + other.documents_out,
            self.characters_out + other.characters_out,
            self.changed + other.changed,
            added(self.dropped, other.dropped),
            added(self.lengths, other.lengths),
            _lowest([*self.kept_examples, *other.kept_examples]),
            _lowest([*self.dropped_examples, *other.dropped_examples]),
            added(self.details, other.details),
            {**self.facts, **other.facts},
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a manifest."""
        plain = asdict(self)
        for key in ("kept_examples", "dropped_examples"):
            plain[key] = [example._asdict() for example in plain[key]]
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Report:
        """The report that a manifest holds."""
        values: dict[str, Any] = dict(plain)
        for key in ("kept_examples", "dropped_examples"):
            values[key] = [Example(**example) for example in plain[key]]
        return cls(**values)


class Stage(Config):
    """One way to clean a corpus. Subclasses set `name` and `apply`, and what else they need of the rest;
    one that uses anything pretrained says so in `breaks_strict`.
    """

    @property
    def name(self) -> str:
        """How reports and folders call it."""
        raise NotImplementedError

    @property
    def scans(self) -> bool:
        """Whether it reads the corpus once before it is applied."""
        return False

    @property
    def training_only(self) -> bool:
        """Whether held-out text passes untouched, so that arms with and without the stage compare on it."""
        return True

    def problems(self) -> list[str]:
        """What keeps the stage from running, found without reading the corpus."""
        return []

    def fingerprint(self) -> dict[str, Any]:
        """What determines its result beside the documents: its knobs, digests of files that it reads."""
        return self.model_dump()

    def scan(self, shard: Iterable[Document], scratch: Path) -> Any:
        """The first pass over a shard: something picklable of bounded size."""
        raise NotImplementedError

    def combine(self, partials: Iterable[Any], scratch: Path) -> Any:
        """The state that all shards share, picklable; called once, without partials if nothing was scanned.

        `partials` may come in any order. Raises DataError where the corpus or a file cannot be used.
        """
        return None

    def facts(self, state: Any) -> dict[str, Any]:
        """What the state says for the report, JSON-able: thresholds, a classifier's AUC, an overlap table."""
        return {}

    def apply(self, shard: Iterable[Document], state: Any, report: Report) -> Iterator[Document]:
        """The documents that stay, in their order; every one read is counted in the report."""
        raise NotImplementedError


def _kind(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


# A stage of one variant may be written as its bare name, as members of a union may.
by_name = BeforeValidator(_kind)


def run(
    stages: Iterable[Stage], shards: list[list[Document]], scratch: Path
) -> tuple[list[list[Document]], list[Report]]:
    """Stages one after another over shards in memory: what any runner must come to, shard for shard."""
    reports = []
    for stage in stages:
        partials = [stage.scan(shard, scratch) for shard in shards] if stage.scans else []
        state = stage.combine(partials, scratch)
        total = Report(stage.name, facts=stage.facts(state))
        cleaned = []
        for shard in shards:
            report = Report(stage.name)
            cleaned.append(list(stage.apply(shard, state, report)))
            total += report
        shards = cleaned
        reports.append(total)
    return shards, reports
