"""`ablate bench data`: how fast text becomes rows, how much memory it takes, how fast batches are cut.

Preparation is compared with `encode_batch` of the tokenizers library alone on the same text and machine, in
megabytes per CPU-second, so that a neighbour on the machine does not count; wall-clock stands beside it.
Batches are compared with `datasets` and transformers' DataCollatorForLanguageModeling on the same rows, with
the same share of hidden tokens and the same rule.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

SAMPLE_MEGABYTES = 16.0  # encoded for comparison
MICRO = 32  # rows of a micro-batch
LARGE = 512  # rows of one on a GPU
RATE = 0.25  # of tokens hidden
ROUNDS = 3  # of batches, ours and the peers' in turns


@dataclass(frozen=True)
class DataReport:
    """What was measured, each beside its floor."""

    megabytes: float  # of text prepared
    prepare_seconds: float
    prepare_cpu_seconds: float
    encode_mb_per_cpu_second: float  # encode_batch alone, of tokenizers
    prepare_mb_per_cpu_second: float
    share_of_encode: float  # the floor is 0.7
    peak_gib: float  # resident, of all processes together; the ceiling is 2
    tokens: int
    batches: dict[int, dict[str, float]]  # rows of a batch → who makes it → masked tokens per CPU-second
    times_peer: dict[int, float]  # rows of a batch → ours over the fastest peer; the floor is 30
    loader_times_step: float  # micro-batches over what the small recipe trains on; the floor is 20
    step_tokens_per_cpu_second: float  # training the small recipe in fp32
    loader_share_of_step: float  # the ceiling is 0.03
    cores: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """For people."""
        lines = [
            f"prepared {self.megabytes:.0f} MB in {self.prepare_seconds:.0f} s "
            f"({self.prepare_cpu_seconds:.0f} CPU-seconds, {self.cores} cores), {self.tokens:,} tokens",
            f"preparation  {self.prepare_mb_per_cpu_second:6.2f} MB per CPU-second, everything included",
            f"encode_batch {self.encode_mb_per_cpu_second:6.2f} MB per CPU-second, alone",
            f"share        {self.share_of_encode:6.0%} (floor 70 %)",
            f"peak memory  {self.peak_gib:6.2f} GiB resident, all processes together (ceiling 2 GiB)",
            f"batches      {self.loader_times_step:,.0f} times what the small recipe trains on in fp32 "
            f"(floor 20), {self.loader_share_of_step:.2%} of its step (ceiling 3 %)",
            "",
            "masked tokens per CPU-second, millions",
        ]
        for rows, rates in self.batches.items():
            lines += [f"  {who:34} {rate / 1e6:6.2f}  {rows} x 128" for who, rate in rates.items()]
            lines.append(f"  ablate over the fastest of them    {self.times_peer[rows]:6.1f}  (floor 30)")
        return "\n".join(lines)


def bench(source: str | None, megabytes: float, workers: int | None = None) -> DataReport:
    """Measure in a scratch folder. `source`: a glob of text files; None: the embedded grammar."""
    with tempfile.TemporaryDirectory(prefix="ablate-bench-") as name:
        scratch = Path(name)
        corpus = scratch / "corpus.jsonl"
        sample = write_corpus(corpus, source, megabytes)
        seconds, cpu, peak = _prepare(corpus, scratch, workers)
        prepared = _prepared(corpus, scratch)
        alone = _encode_alone(prepared.tokenizer, sample)
        batches = {rows: _batches(prepared, rows, scratch) for rows in (MICRO, LARGE)}
        step = _step()
    rate = megabytes / cpu
    loader = batches[MICRO][OURS]
    return DataReport(
        megabytes=megabytes,
        prepare_seconds=seconds,
        prepare_cpu_seconds=cpu,
        encode_mb_per_cpu_second=alone,
        prepare_mb_per_cpu_second=rate,
        share_of_encode=rate / alone,
        peak_gib=peak / 2**30,
        tokens=prepared.train.size,
        batches=batches,
        times_peer={
            rows: rates[OURS] / max(rate for who, rate in rates.items() if who != OURS)
            for rows, rates in batches.items()
        },
        loader_times_step=loader / step,
        step_tokens_per_cpu_second=step,
        loader_share_of_step=step / loader,
        cores=_cores(),
    )


def write_corpus(path: Path, source: str | None, megabytes: float) -> list[str]:
    """A corpus of a size: the source over and over, each time with other edits. Returns its beginning."""
    chance, written, sample, sampled = random.Random(0), 0.0, list[str](), 0.0
    with open(path, "w", encoding="utf-8") as file:
        for text in chain.from_iterable(_texts(source) for _ in repeat(None)):
            edited = edit(text, chance) if written else text
            file.write(json.dumps({"text": edited}) + "\n")
            written += len(edited) / 1e6
            if sampled < SAMPLE_MEGABYTES:
                sample.append(edited)
                sampled += len(edited) / 1e6
            if written >= megabytes:
                return sample
    raise AssertionError


def _texts(source: str | None) -> Iterator[str]:
    from ablate.data import FilesSource, GrammarSource

    if source is None:
        return GrammarSource(megabytes=8.0).documents("train")
    return FilesSource(train=source, validation=source).documents("train")


def edit(text: str, chance: random.Random) -> str:
    """The text with one word in fifty replaced, so that copies differ and merges cannot be remembered."""
    words = text.split(" ")
    for place in range(chance.randrange(50), len(words), 50):
        words[place] = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9)))
    return " ".join(words)


# --- preparation -------------------------------------------------------------------------------------

_PROGRAM = """
import sys
from pathlib import Path
from ablate.bench.data import config_of
from ablate.data import Processes, prepare
prepare(config_of(Path(sys.argv[1])), Path(sys.argv[2]), mapper=Processes(int(sys.argv[3]) or None))
"""


def config_of(corpus: Path) -> Any:
    """As the small recipe on real text: token-ratio filter, rows of 128, sorted by likelihood."""
    from ablate.data import DataConfig, FilesSource, WordPiece

    return DataConfig(
        source=FilesSource(train=str(corpus)),
        tokenizer=WordPiece(vocabulary=8192),
        token_ratio=0.4,
        order="unigram",
    )


def _prepare(corpus: Path, scratch: Path, workers: int | None) -> tuple[float, float, int]:
    """Seconds, CPU-seconds and peak bytes of a preparation with a trained tokenizer left out of the time.

    The tokenizer is trained before (on a bounded sample, whatever the size of the corpus), as encode_batch
    alone has one too.
    """
    from ablate.data.mapping import Processes
    from ablate.data.prepare import Pipeline
    from ablate.data.text import Shards

    Pipeline(config_of(corpus), scratch / "cache", Processes(workers), Shards()).tokenizer()
    _forget_text(scratch / "cache")
    command = [sys.executable, "-c", _PROGRAM, str(corpus), str(scratch / "cache"), str(workers or 0)]
    started, before = time.monotonic(), _children_cpu()
    process = subprocess.Popen(command)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _resident(process.pid))
        time.sleep(0.2)
    if process.returncode:
        raise RuntimeError(f"the preparation failed with exit code {process.returncode}")
    return time.monotonic() - started, _children_cpu() - before, peak


def _forget_text(cache: Path) -> None:
    """The text was read for the tokenizer; reading it belongs to what is measured."""
    import shutil

    shutil.rmtree(cache / "text")


def _children_cpu() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system


def _resident(pid: int) -> int:
    import psutil

    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _prepared(corpus: Path, scratch: Path) -> Any:
    from ablate.data import prepare

    return prepare(config_of(corpus), scratch / "cache")


def _encode_alone(tokenizer: Any, sample: list[str]) -> float:
    """Megabytes per CPU-second of the library alone, a megabyte at a time."""
    texts = iter(sample)
    total, spent = 0, 0.0
    while part := list(islice(texts, 500)):
        before = time.process_time()
        tokenizer.encode_batch(part, add_special_tokens=False)
        spent += time.process_time() - before
        total += sum(map(len, part))
    return total / 1e6 / spent


# --- loading -----------------------------------------------------------------------------------------


OURS = "ablate"
PEER_ROWS = 20_000  # that the peers read, which lie in the page cache as ours do


def _batches(prepared: Any, rows: int, scratch: Path) -> dict[str, float]:
    """Masked tokens per CPU-second in batches of random rows, the median over rounds taken in turns."""
    makers = {OURS: _ours(prepared, rows), **_peers(prepared, rows, scratch)}
    found: dict[str, list[float]] = {who: [] for who in makers}
    for _ in range(ROUNDS):
        for who, maker in makers.items():
            found[who].append(_tokens_per_cpu_second(maker))
    return {who: statistics.median(rates) for who, rates in found.items()}


def _tokens_per_cpu_second(maker: Callable[[int], int]) -> float:
    """`maker` makes batch number n and returns its tokens."""
    maker(0)
    tokens = number = 0
    started = time.process_time()
    while time.process_time() - started < 1.0:
        number += 1
        tokens += maker(number)
    return tokens / (time.process_time() - started)


def _ours(prepared: Any, rows: int) -> Callable[[int], int]:
    from ablate.data import Batches

    batches = Batches(
        prepared.train, None, order_seed=1, mask_seed=2, mask_rate=RATE, mask_rule="80-10-10",
        vocabulary=prepared.vocabulary,
    )  # fmt: skip
    return lambda number: batches.batch(number * rows, rows).ids.size


def _peers(prepared: Any, rows: int, scratch: Path) -> Mapping[str, Callable[[int], int]]:
    """`datasets` from its memory map with the collator: as trainers use it, and in its fastest way.

    The fastest, of those that differ in the dataset's format, in the tensors that are made and in whether
    special tokens are told beforehand: plain lists, NumPy, told beforehand.
    """
    import datasets
    import numpy as np
    import pyarrow as pa
    from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast

    from ablate.data.tokenizer import SPECIALS

    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=prepared.tokenizer, **dict(zip(names, SPECIALS, strict=True))
    )
    ids = prepared.train[:PEER_ROWS].astype(np.int32)
    folder = scratch / "peer"
    if not folder.exists():
        columns = {"input_ids": ids, "special_tokens_mask": (ids < len(SPECIALS)).astype(np.int8)}
        table = pa.table({name: pa.array(list(values)) for name, values in columns.items()})
        datasets.disable_progress_bars()
        datasets.Dataset(table).save_to_disk(folder)
    told = datasets.load_from_disk(folder)
    order = np.random.default_rng(0).permutation(len(ids))

    def maker(dataset: Any, tensors: str) -> Callable[[int], int]:
        collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=RATE, return_tensors=tensors)

        def make(number: int) -> int:
            chosen = order.take(range(number * rows, (number + 1) * rows), mode="wrap")
            batch = collate(dataset.__getitems__(chosen.tolist()))
            return int(np.prod(batch["input_ids"].shape))

        return make

    return {
        "datasets + collator, torch": maker(told.remove_columns("special_tokens_mask"), "pt"),
        "datasets + collator, NumPy, told": maker(told, "np"),
    }


def _step() -> float:
    """Tokens per CPU-second of forward and backward of the small recipe, without an optimizer step.

    In fp32, which every CPU is fast in.
    """
    import torch

    from ablate.bench.subjects import changed
    from ablate.recipe import preset
    from ablate.training.initial import build

    recipe = changed(preset("crammed-small"), compiled=False, precision="fp32")
    model = build(recipe, seed=0, vocabulary=8192)
    ids = torch.randint(5, 8192, (MICRO, 128))
    positions = torch.arange(0, ids.numel(), 4)
    labels = ids.flatten()[positions]

    def step() -> None:
        with recipe.train.precision.arithmetic("cpu"):
            model(ids, positions, labels).backward()

    step()
    started, steps = time.process_time(), 0
    while time.process_time() - started < 5.0:
        step()
        steps += 1
    return steps * ids.numel() / (time.process_time() - started)


def _cores() -> int:
    from ablate.data.mapping import cores

    return cores()
