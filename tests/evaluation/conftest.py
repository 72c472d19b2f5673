"""A tiny encoder, a word tokenizer, and tasks whose rule is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from ablate.knobs import replace
from ablate.model import Bert
from ablate.recipe import Recipe
from ablate.records import TrialPaths

WORDS = ["good", "bad", *(f"w{i}" for i in range(20))]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    found = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    return found


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    tiny = {"layers": 1, "width": 16, "heads": 2, "intermediate": 32}
    changes = {f"model.{key}": value for key, value in tiny.items()}
    changes |= {"data.length": 16, "train.precision": "fp32", "finetune.epochs": 2, "finetune.head_width": 16}
    return replace(Recipe(), changes)


@pytest.fixture
def model(recipe: Recipe, tokenizer: Tokenizer) -> Bert:
    return bert(recipe, tokenizer, seed=0)


def bert(recipe: Recipe, tokenizer: Tokenizer, seed: int) -> Bert:
    generator = torch.Generator().manual_seed(seed)
    length = recipe.data.length
    return Bert(recipe.model, vocabulary=tokenizer.get_vocab_size(), length=length, generator=generator)


@pytest.fixture
def trial(tmp_path: Path) -> TrialPaths:
    return TrialPaths(tmp_path / "trial")


def sentences(rows: int, seed: int) -> pd.DataFrame:
    """Class 1 says `good`, class 0 says `bad`, somewhere among filler words."""
    rng = np.random.default_rng(seed)
    found = []
    for label in rng.integers(0, 2, rows):
        words = [f"w{i}" for i in rng.integers(0, 20, rng.integers(1, 9))]
        words.insert(int(rng.integers(0, len(words) + 1)), "good" if label else "bad")
        found.append({"sentence": " ".join(words), "label": label})
    return pd.DataFrame(found)


def pairs(rows: int, seed: int) -> pd.DataFrame:
    """A regression: how many times the second text says `good`."""
    rng = np.random.default_rng(seed)
    count = rng.integers(0, 4, rows)
    return pd.DataFrame(
        {
            "sentence1": "w1 w2",
            "sentence2": [" ".join(["w3", *["good"] * c]) for c in count],
            "label": count * 1.0,
        }
    )


def write(folder: Path, make: object, train: int = 64, validation: int = 32) -> Path:
    """A task's folder with both splits."""
    folder.mkdir(parents=True, exist_ok=True)
    assert callable(make)
    make(train, 1).to_parquet(folder / "train.parquet")
    make(validation, 2).to_parquet(folder / "validation.parquet")
    return folder


@pytest.fixture
def glue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ABLATE_DATA with three small tasks in GLUE's shape."""
    root = tmp_path / "data"
    write(root / "glue" / "sst2", sentences)
    write(root / "glue" / "cola", sentences, train=40)
    write(root / "glue" / "stsb", pairs, train=48)
    monkeypatch.setenv("ABLATE_DATA", str(root))
    return root
