"""Reports read what was gathered of predictions exactly as they read the parquet files, which count whenever
the two differ."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest

from ablate.analysis.evidence import Predictions, _predictions
from ablate.evaluation.predictions import add, frame
from ablate.records.gathered import NAME, gather, gathered

LABELS = np.array([0, 1, 1, 0, 1])


def wrote(path: Path, seed: int, *, values: bool = False) -> None:
    rng = np.random.default_rng(seed)
    labels = LABELS.astype(np.float32) if values else LABELS
    add(path, "made up", frame(seed, labels, rng.normal(size=(len(labels), 1 if values else 3))))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in (0, 1):
        wrote(tmp_path / "classes.parquet", seed)
        wrote(tmp_path / "values.parquet", seed, values=True)
    gather(tmp_path)
    return tmp_path


def read(path: Path, *, whole: bool = False) -> Predictions:
    """As the second trial of a study is read, whose labels are known; or as if nothing was gathered."""
    if whole:
        (path.parent / NAME).rename(path.parent / "aside")
    known = {gathered(path).labels: LABELS} if gathered(path) else {}
    found = _predictions(path, "accuracy", known)
    if whole:
        (path.parent / "aside").rename(path.parent / NAME)
    return found


@pytest.mark.parametrize("task", ["classes", "values"])
def test_what_was_gathered_is_what_the_file_holds(folder: Path, task: str) -> None:
    path = folder / f"{task}.parquet"
    one, other = read(path), read(path, whole=True)
    assert gathered(path) is not None
    assert one.predictions.shape == (2, len(LABELS))
    assert one.predictions.dtype == other.predictions.dtype
    np.testing.assert_array_equal(one.predictions, other.predictions)
    np.testing.assert_array_equal(one.labels, other.labels)


def test_a_file_written_since_is_read_itself(folder: Path) -> None:
    path = folder / "classes.parquet"
    wrote(path, 2)
    assert gathered(path) is None
    assert len(read(path).predictions) == 3
    assert gathered(folder / "values.parquet") is not None


def test_a_file_of_the_same_size_but_another_time_is_read_itself(folder: Path) -> None:
    path = folder / "classes.parquet"
    at = path.stat()
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns + 1))
    assert gathered(path) is None


@pytest.mark.parametrize("harm", ["missing", "torn", "empty", "not arrow", "a bit"])
def test_without_a_whole_gathered_file_the_parquet_files_are_read(folder: Path, harm: str) -> None:
    path, kept = folder / "classes.parquet", folder / NAME
    expected = read(path).predictions
    content = {"torn": kept.read_bytes()[:-200], "empty": b"", "not arrow": b"x" * 500}
    content["a bit"] = kept.read_bytes().replace(expected.tobytes(), (1 - expected).tobytes())
    kept.unlink()
    if harm != "missing":
        kept.write_bytes(content[harm])
    assert gathered(path) is None
    np.testing.assert_array_equal(read(path).predictions, expected)


def test_a_torn_parquet_file_is_an_error_though_it_was_gathered(folder: Path) -> None:
    path = folder / "classes.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises((OSError, ValueError)):
        read(path)


def test_a_file_that_does_not_tell_its_order_is_left_out(folder: Path) -> None:
    path = folder / "foreign.parquet"
    parquet.write_table(parquet.read_table(folder / "classes.parquet").replace_schema_metadata({}), path)
    gather(folder)
    assert gathered(path) is None
    assert gathered(folder / "classes.parquet") is not None
