"""What a recipe does: six steps of pretraining, the held-out loss, one small fine-tuning task."""

from __future__ import annotations

import atexit
import functools
import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from ablate.budget import Budget
from ablate.data import Prepared, prepare
from ablate.evaluation import EvaluateSpec, evaluate
from ablate.knobs import canonical
from ablate.recipe import Recipe
from ablate.records import TrialPaths
from ablate.tracking.null import Null
from ablate.training import Trained, train

BUDGET = Budget.parse("6 steps")
HELD_OUT = 64  # rows


NOISE = 1e-5  # relative; sums in another order differ by less, and are no bite


@dataclass(frozen=True)
class Seen:
    """What can be seen of a recipe from outside."""

    parameters: tuple[tuple[str, tuple[int, ...]], ...]
    losses: tuple[float, ...]  # of every step
    held_out: float
    norms: tuple[float, ...]  # of every tensor after the last step
    said: tuple[float, ...]  # scores that the fine-tuned model gives each example
    score: float

    def differs_from(self, other: Seen) -> bool:
        """Whether anything differs by more than the order of a sum explains."""
        if self.parameters != other.parameters or len(self.norms) != len(other.norms):
            return True
        mine, theirs = (
            (*one.losses, one.held_out, *one.norms, *one.said, one.score) for one in (self, other)
        )
        return mine != pytest.approx(theirs, rel=NOISE, abs=1e-9, nan_ok=True)


@functools.cache
def scratch() -> Path:
    """A folder of this process, gone with it."""
    folder = Path(tempfile.mkdtemp(prefix="ablate-conformance-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def corpora() -> Path:
    """Two corpora in the layout of ABLATE_DATA, one folder in the hub's, and a vocabulary file."""
    from ablate.data.grammar import documents

    root = scratch() / "data"
    for seed, name in enumerate(("wikipedia", "books")):
        for split, part in (("train", 0), ("validation", 10)):
            folder = root / "text" / name
            folder.mkdir(parents=True, exist_ok=True)
            texts = list(documents(100 + seed + part, characters=600_000))
            halves = ["a" if i % 2 else "b" for i in range(len(texts))]
            columns = {"text": texts, "title": texts[::-1], "half": halves}
            pd.DataFrame(columns).to_parquet(folder / f"{split}.parquet")
        shutil.copytree(root / "text" / name, root / "hub" / name)
    words = sorted({word for text in texts for word in text.lower().split()})
    pieces = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"), *words]
    listed = list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "?", *pieces]))
    for name, kept in (("vocab.txt", listed), ("smaller.txt", listed[:-20])):
        (root / name).write_text("\n".join(kept) + "\n", encoding="utf-8")
    return root


@contextmanager
def data_root() -> Iterator[None]:
    """ABLATE_DATA as `corpora` has it."""
    before = os.environ.get("ABLATE_DATA")
    os.environ["ABLATE_DATA"] = str(corpora())
    try:
        yield
    finally:
        os.environ.pop("ABLATE_DATA")
        if before is not None:
            os.environ["ABLATE_DATA"] = before


def prepared(recipe: Recipe) -> Prepared:
    """Its corpus, from a cache of this process; of what is held out so much as tells two models apart.

    All of it, up to 1024 rows for six steps of eight, took a third of the time of a training, in bf16 half.
    """
    with data_root():
        whole = prepare(recipe.data, scratch() / "cache")
    return replace(whole, validation=whole.validation[:HELD_OUT])


@functools.cache
def task() -> EvaluateSpec:
    """Twenty-four sentences to learn sentiment from, and thirty-two to tell it."""
    from ablate.data.grammar.tasks import task as frames

    folder = corpora() / "task"
    folder.mkdir()
    for split, frame in frames("sentiment", train=24, validation=32).items():
        frame.to_parquet(folder / f"{split}.parquet")
    return EvaluateSpec.model_validate({"tasks": {"tone": {"path": str(folder), "text": "sentence"}}})


class Interruption(Exception):
    """The process ends here."""


class Interrupting(Null):
    """Ends training after so many steps."""

    def __init__(self, after: int) -> None:
        self.after = after

    def log(self, values: Any, *, step: int) -> None:
        if step >= self.after:
            raise Interruption


def pretrain(recipe: Recipe, folder: Path, **how: Any) -> Trained:
    """Six steps on one block."""
    return train(
        recipe, seed=5, budget=BUDGET, data=prepared(recipe), paths=TrialPaths(folder), threads=1,
        device="cpu", **how,
    )  # fmt: skip


def weights_of(trained: Trained) -> str:
    digest = hashlib.sha256()
    for name, tensor in trained.model.state_dict().items():
        bits = tensor.detach().contiguous().view(-1).view(torch.uint8)
        digest.update(name.encode() + bits.numpy().tobytes())
    return digest.hexdigest()


def fresh() -> Path:
    return Path(tempfile.mkdtemp(dir=scratch()))


def pretrained(recipe: Recipe) -> Trained:
    """The recipe after its six steps; recipes that differ in fine-tuning alone share them."""
    return _pretrained(repr(canonical(recipe.model_copy(update={"finetune": None}))), _Key(recipe))


class _Key:
    """Passes a recipe through a cache whose key is another argument."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key)


@functools.lru_cache(maxsize=64)
def _pretrained(key: str, recipe: _Key) -> Trained:
    return pretrain(recipe.recipe, fresh())


def observe(recipe: Recipe) -> Seen:
    """Everything that can be seen of a recipe."""
    return _observe(repr(canonical(recipe)), _Key(recipe))


@functools.lru_cache(maxsize=256)
def _observe(key: str, held: _Key) -> Seen:
    recipe = held.recipe
    trained = pretrained(recipe)
    paths = TrialPaths(fresh())
    found = evaluate(
        trained.model,
        recipe,
        prepared(recipe).tokenizer,
        task(),
        seed=5,
        paths=paths,
        cache=scratch() / "tasks",
    )
    said = [
        pd.read_parquet(file).filter(like="score_") for file in sorted(paths.predictions.rglob("*.parquet"))
    ]
    score = found.metrics["tasks/tone"]
    return Seen(
        parameters=tuple((n, tuple(p.shape)) for n, p in trained.model.named_parameters()),
        losses=tuple(trained.losses),
        held_out=trained.metrics.get("eval/mlm_loss", math.nan),
        norms=tuple(float(t.double().norm()) for t in trained.model.state_dict().values()),
        said=tuple(float(v) for frame in said for v in frame.to_numpy().ravel()),
        score=score,
    )
