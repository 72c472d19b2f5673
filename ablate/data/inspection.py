"""What became of a corpus on its way to rows: counts per stage, examples, lengths, packing, overlaps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.data.cleaning import Report
from ablate.data.cleaning.decontaminate import Decontaminate
from ablate.data.mapping import Processes
from ablate.data.packing import Frame
from ablate.data.prepare import Pipeline, cleaning_reports, prepare
from ablate.data.text import Shards

if TYPE_CHECKING:
    from ablate.data.config import DataConfig
    from ablate.data.prepare import Prepared

SHOWN_ROWS = 50  # of a task's examples that overlap, with their text
SAMPLED_ROWS = 3  # of the training rows, decoded


@dataclass(frozen=True)
class Step:
    """One line of the table: what came in, what went on, and why the rest did not."""

    name: str
    documents_in: int
    documents_out: int
    characters_in: int | None
    characters_out: int | None  # None: counted in tokens from here on
    why: dict[str, int]  # reason → documents
    told: dict[str, Any]  # what else the stage says of itself


@dataclass(frozen=True)
class Overlap:
    """One split of an evaluation task against the training text."""

    name: str
    examples: int
    too_short: int  # to be looked for
    touched: int  # examples that some document holds
    documents: int  # that hold any
    rows: list[dict[str, Any]]  # the first of them: row, documents, text


@dataclass(frozen=True)
class Inspection:
    """A prepared corpus, as it is shown and as JSON."""

    name: str
    source: str
    licence: str
    tokenizer: str
    vocabulary: int
    steps: list[Step]
    reports: list[dict[str, Any]]  # of the cleaning stages, with examples
    lengths: dict[int, int]  # 2^k → training documents of 2^k tokens or more, and fewer than twice as many
    documents: int
    rows: int
    length: int
    tokens: int
    packed: float  # share of the rows' places that hold a token
    dropped_tokens: int  # the last partial row
    truncated_tokens: int
    across_rows: int  # documents that begin in one row and end in another
    overlaps: list[Overlap]
    sample: list[str]
    warnings: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def inspect(config: DataConfig, cache: Path, name: str) -> Inspection:
    """Look at the corpus of a config; what is not prepared yet is prepared first. Raises DataError."""
    data = prepare(config, cache)
    reports = cleaning_reports(config, cache)
    counts = data.manifest["counts"]["train"]
    return Inspection(
        name=name,
        source=config.source.short(),
        licence=data.manifest["licence"],
        tokenizer=config.tokenizer.short(),
        vocabulary=data.vocabulary,
        steps=[*map(_cleaning, reports), _filter(config, reports, counts)],
        reports=[report.to_dict() for report in reports],
        lengths=_lengths(config, cache),
        documents=counts["documents_kept"],
        rows=len(data.train),
        length=config.length,
        tokens=int(data.train.size),
        packed=1 - counts["tokens_padding"] / max(counts["tokens_packed"], 1),
        dropped_tokens=counts["tokens_dropped"],
        truncated_tokens=counts["tokens_truncated"],
        across_rows=counts["documents_across_rows"],
        overlaps=[line for report in reports for line in _overlaps(config, report)],
        sample=_sample(data),
        warnings=data.warnings,
    )


def _cleaning(report: Report) -> Step:
    told = {**report.facts, **report.details, "changed": report.changed}
    for long in ("examples", "rows", "documents", "scores"):  # tables and figures of their own
        told.pop(long, None)
    return Step(
        report.stage, report.documents_in, report.documents_out, report.characters_in, report.characters_out,
        report.dropped, {key: value for key, value in told.items() if value != 0},
    )  # fmt: skip


def _filter(config: DataConfig, reports: list[Report], counts: dict[str, int]) -> Step:
    """What the tokenizer's own filter does, as a step like the others."""
    why = {
        "without a token": counts["documents_empty"],
        f"{config.token_ratio} tokens per character or more": counts["documents_filtered"],
        "so that the shares of the mixture hold": counts["documents_left_out"],
    }
    return Step(
        "token ratio", counts["documents_read"], counts["documents_kept"], counts["characters_read"], None,
        {reason: count for reason, count in why.items() if count}, {"tokens": counts["tokens_encoded"]},
    )  # fmt: skip


def _lengths(config: DataConfig, cache: Path) -> dict[int, int]:
    """Powers of two → documents in the rows that have from that many tokens on."""
    folder, encoded = Pipeline(config, cache, Processes(), Shards()).tokens()
    frame, counts = Frame.of(config), np.zeros(33, np.int64)
    for shard in encoded["train"]:
        documents = np.load(folder / f"{shard['name']}.documents.npy", mmap_mode="r")
        tokens = np.asarray(documents["tokens"])[frame.kept(documents)]
        counts += np.bincount(np.log2(tokens).astype(int), minlength=33)
    return {1 << power: int(count) for power, count in enumerate(counts) if count}


def _overlaps(config: DataConfig, report: Report) -> list[Overlap]:
    stage = config.cleaning.decontaminate
    if report.stage != Decontaminate().name or stage is None:
        return []
    texts = {found.name: found for found in stage.sets()}
    lines = []
    for name, sizes in report.facts["examples"].items():
        touched: dict[str, int] = report.details.get("rows", {}).get(name, {})
        listed = sorted(touched.items(), key=lambda item: (-item[1], int(item[0])))[:SHOWN_ROWS]
        examples = texts[name].texts() if listed and name in texts else []
        rows = [{"row": int(r), "documents": n, "text": " / ".join(examples[int(r)])} for r, n in listed]
        documents = report.details.get("documents", {}).get(name, 0)
        lines.append(Overlap(name, sizes["all"], sizes["too_short"], len(touched), documents, rows))
    return lines


def _sample(data: Prepared) -> list[str]:
    """Some training rows as the model sees them."""
    count = len(data.train)
    chosen = sorted({count * i // SAMPLED_ROWS for i in range(SAMPLED_ROWS)})
    rows = data.train[np.array(chosen)]
    return [data.tokenizer.decode(row.tolist(), skip_special_tokens=False) for row in rows]
