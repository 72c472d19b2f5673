"""Predictions are read alike whether their file says that it is in order or not; a torn one is an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import pytest

from ablate.analysis.evidence import _predictions
from ablate.evaluation.predictions import add, frame
from ablate.records.paths import LABELS as DIGEST
from ablate.records.paths import SEEDS_IN_ORDER

LABELS = np.array([0, 1, 1, 0, 1])


def written(path: Path, seeds: tuple[int, ...], rows: dict[int, int] | None = None) -> Path:
    rng = np.random.default_rng(0)
    for seed in seeds:
        n = (rows or {}).get(seed, len(LABELS))
        add(path, "made up", frame(seed, LABELS[:n], rng.normal(size=(n, 2))))
    return path


@pytest.mark.parametrize("seeds", [(0,), (0, 1), (7, 2, 5)])
def test_order_that_is_told_and_order_that_is_found_agree(seeds: tuple[int, ...], tmp_path: Path) -> None:
    path = written(tmp_path / "task.parquet", seeds)
    assert parquet.read_metadata(path).metadata[SEEDS_IN_ORDER] == str(len(seeds)).encode()
    told = _predictions(path, "accuracy", {})
    shuffled = parquet.read_table(path).to_pandas().sample(frac=1, random_state=1)
    shuffled.to_parquet(tmp_path / "older.parquet", index=False)
    found = _predictions(tmp_path / "older.parquet", "accuracy", {})
    assert told.predictions.shape == (len(seeds), len(LABELS))
    np.testing.assert_array_equal(told.predictions, found.predictions)
    np.testing.assert_array_equal(told.labels, LABELS)
    np.testing.assert_array_equal(found.labels, LABELS)
    by_seed: pd.DataFrame = parquet.read_table(path).to_pandas().set_index("seed")
    for row, seed in zip(told.predictions, sorted(seeds), strict=True):
        np.testing.assert_array_equal(row, by_seed.loc[seed, "prediction"])


def test_seeds_with_different_rows_are_not_said_to_be_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "task.parquet", (0, 1), {1: 3})
    assert SEEDS_IN_ORDER not in parquet.read_metadata(path).metadata
    with pytest.raises(ValueError, match="seeds have different labels|numbers of rows"):
        _predictions(path, "accuracy", {})


def test_labels_are_read_once_for_all_files_that_tell_the_same_digest(tmp_path: Path) -> None:
    known: dict[bytes, np.ndarray] = {}
    paths = [written(tmp_path / f"{name}.parquet", (0, 1)) for name in ("one", "two")]
    one, two = (_predictions(path, "accuracy", known) for path in paths)
    assert two.labels is one.labels
    np.testing.assert_array_equal(two.labels, LABELS)
    np.testing.assert_array_equal(two.predictions, _predictions(paths[1], "accuracy", {}).predictions)
    other = tmp_path / "other.parquet"
    add(other, "made up", frame(0, 1 - LABELS, np.eye(2)[LABELS]))
    np.testing.assert_array_equal(_predictions(other, "accuracy", known).labels, 1 - LABELS)
    assert len(known) == 2


def test_seeds_with_different_labels_tell_no_digest_and_are_an_error(tmp_path: Path) -> None:
    path = written(tmp_path / "task.parquet", (0,))
    add(path, "made up", frame(1, 1 - LABELS, np.eye(2)[LABELS]))
    assert DIGEST not in parquet.read_metadata(path).metadata
    with pytest.raises(ValueError, match="different labels"):
        _predictions(path, "accuracy", {})
