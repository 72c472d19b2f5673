"""Preparation in shards: the same bytes however it is divided among workers, gone on with after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.data import (
    Cleaning,
    DataConfig,
    DataError,
    FilesSource,
    GrammarSource,
    MixtureSource,
    OnRay,
    Part,
    Processes,
    Rows,
    Shards,
    WordPiece,
    cleaning_reports,
    is_prepared,
    prepare,
)
from ablate.data.cleaning import Document, run
from ablate.data.mapping import here
from ablate.data.prepare import VALIDATION_ROWS
from ablate.data.store import build_shards
from ablate.data.text import clean, read_documents, read_source

TINY = DataConfig(
    source=GrammarSource(megabytes=0.2), tokenizer=WordPiece(vocabulary=512), length=32, token_ratio=None
)
SMALL = Shards(characters=30_000, tokens=3200)


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a cache but for manifests, which hold times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json" and path.suffix != ".lock"
    }


def test_processes_write_the_same_bytes_as_one(tmp_path: Path) -> None:
    config = TINY.model_copy(update={"order": "unigram"})
    prepare(config, tmp_path / "one", mapper=here, shards=SMALL)
    prepare(config, tmp_path / "two", mapper=Processes(2), shards=SMALL)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert len(list((tmp_path / "one").glob("text/*/train-*.parquet"))) > 5


@pytest.mark.slow
def test_ray_writes_the_same_bytes_as_one_process(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    prepare(TINY, tmp_path / "one", mapper=here, shards=SMALL)
    prepare(TINY, tmp_path / "ray", mapper=OnRay(), shards=SMALL)
    assert files(tmp_path / "one") == files(tmp_path / "ray")


def test_the_size_of_shards_never_shows_in_the_rows(tmp_path: Path) -> None:
    config = TINY.model_copy(update={"order": "sentence-length"})
    few, many = (prepare(config, tmp_path, mapper=here, shards=size) for size in (Shards(), SMALL))
    np.testing.assert_array_equal(few.train[:], many.train[:])
    np.testing.assert_array_equal(few.order, many.order)
    assert len(many.train.files) > 5
    assert many.manifest["tokenizer"] == few.manifest["tokenizer"]


def test_arms_that_differ_late_share_the_early_stages(tmp_path: Path) -> None:
    for changes in ({}, {"length": 64}, {"separator": False}, {"token_ratio": 0.9}, {"cls": True}):
        prepare(TINY.model_copy(update=changes), tmp_path, mapper=here)
    stages = {stage: len(list((tmp_path / stage).glob("[0-9a-f]*"))) for stage in ("text", "tokens", "rows")}
    assert stages == {"text": 1, "tokens": 1, "rows": 5}


def test_rows_are_found_when_the_stages_before_them_were_removed(tmp_path: Path) -> None:
    import shutil

    before = prepare(TINY, tmp_path, mapper=here)
    for stage in ("text", "tokens"):
        shutil.rmtree(tmp_path / stage)
    assert prepare(TINY, tmp_path, mapper=here).fingerprint == before.fingerprint
    assert not (tmp_path / "text").exists()
    assert is_prepared(TINY, tmp_path)
    assert not is_prepared(TINY.model_copy(update={"length": 48}), tmp_path)


# --- killed ------------------------------------------------------------------------------------------


def _shard(number: int, seen: Path, place: Path) -> dict:
    with open(seen, "a") as file:
        file.write(f"{number}\n")
    (place / f"{number}.bin").write_bytes(bytes([number]) * 100)
    return {"files": [f"{number}.bin"], "number": number}


def test_finished_shards_are_not_run_again_and_torn_ones_are(tmp_path: Path) -> None:
    from functools import partial

    seen = tmp_path / "seen"
    place = tmp_path / "place"
    place.mkdir()
    jobs = {f"s-{n}": partial(_shard, n, seen) for n in range(5)}
    build_shards(place, dict(list(jobs.items())[:3]), here)
    os.truncate(place / "1.bin", 10)
    (place / "s-2.result.json").write_text("{")
    found = build_shards(place, jobs, here)
    assert [result["number"] for result in found.values()] == [0, 1, 2, 3, 4]
    assert seen.read_text().split() == ["0", "1", "2", "1", "2", "3", "4"]


def test_a_killed_preparation_goes_on_at_the_shard_with_the_same_bytes(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from ablate.data import *; from ablate.data.mapping import here;"
        "config = DataConfig.model_validate_json(sys.argv[1]);"
        "prepare(config, Path(sys.argv[2]), mapper=here, shards=Shards(characters=100_000, tokens=3200))"
    )
    config = TINY.model_copy(update={"source": GrammarSource(megabytes=3.0)})
    command = [sys.executable, "-c", program, config.model_dump_json(), str(tmp_path / "killed")]
    process = subprocess.Popen(command)
    waited = time.monotonic() + 120
    while len(done := list((tmp_path / "killed").glob("text/.*.partial/*.result.json"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < waited
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (done[0].parent / ".train-00003.result.json.1.tmp").touch()  # as when it is killed while writing
    times = {path: path.stat().st_mtime_ns for path in done[0].parent.glob("*.parquet")}
    finished = {path.name.removesuffix(".result.json").split("-")[1] for path in done}
    subprocess.run(command, check=True)
    for path, then in times.items():
        if path.stem.split("-")[1] in finished:
            (now,) = (tmp_path / "killed").glob(f"text/*/{path.name}")
            assert now.stat().st_mtime_ns == then
    prepare(config, tmp_path / "whole", mapper=here, shards=Shards(characters=100_000, tokens=3200))
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


# --- cleaning and mixtures ---------------------------------------------------------------------------


def corpus(folder: Path, texts: list[str], name: str = "t") -> FilesSource:
    folder.mkdir(exist_ok=True)
    held = ["the dog sees the cat ." * 30] * 3
    for split, content in ((name, texts), (f"{name}-v", held)):
        pyarrow.parquet.write_table(pyarrow.table({"text": content}), folder / f"{split}.parquet")
    return FilesSource(train=str(folder / f"{name}.parquet"), validation=str(folder / f"{name}-v.parquet"))


def test_cleaning_in_shards_comes_to_what_the_stages_say(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    words = [
        "the",
        "be",
        "to",
        "of",
        "and",
        "that",
        "dog",
        "cat",
        "house",
        "tree",
        "runs",
        "sees",
        "walks",
        "17",
        "%",
        "$",
    ]
    texts = [" ".join(chance.choice(words, int(chance.integers(3, 200)))) for _ in range(300)]
    texts += texts[:40]
    cleaning = Cleaning.model_validate({"normalize": "normalize", "rules": "rules", "duplicates": "minhash"})
    source = corpus(tmp_path / "corpus", texts)
    text = read_source(source, tmp_path, SMALL)
    whole = [Document(f"{source.prefix()}/train/{n}", t) for n, t in enumerate(texts)]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (expected,), told = run(cleaning.stages(), [whole], scratch)
    reports = []
    for stage in cleaning.stages():
        text, report = clean(text, stage, tmp_path, here)
        reports.append(report)
    found = [d for shard in text.train for d in read_documents(tmp_path / shard.file)]
    assert found == expected
    assert 0 < len(found) < len(texts)
    assert [r.to_dict() for r in reports] == [r.to_dict() for r in told]
    config = DataConfig(
        source=source, cleaning=cleaning, tokenizer=WordPiece(vocabulary=256), length=16, token_ratio=None
    )
    prepared = prepare(config, tmp_path, mapper=here, shards=SMALL)
    assert prepared.manifest["counts"]["train"]["documents_read"] == len(expected)
    assert [entry["stage"] for entry in prepared.manifest["cleaning"]] == [s.name for s in cleaning.stages()]
    assert "kept_examples" not in prepared.manifest["cleaning"][0]
    assert cleaning_reports(config, tmp_path, mapper=here)[1].kept_examples


def test_cleaning_that_leaves_nothing_names_the_stage(tmp_path: Path) -> None:
    source = corpus(tmp_path / "corpus", ["dog cat"] * 50)
    config = TINY.model_copy(
        update={"source": source, "cleaning": Cleaning.model_validate({"rules": "rules"})}
    )
    with pytest.raises(DataError, match="stage 'rules' drops all 50"):
        prepare(config, tmp_path / "cache", mapper=here)


def test_a_mixture_shares_the_text_of_its_parts_and_cuts_them_to_equal_tokens(tmp_path: Path) -> None:
    large = corpus(tmp_path / "corpus", ["dog " * 30] * 90, "large")
    small = corpus(tmp_path / "corpus", ["cat " * 30] * 20, "small")
    prepare(TINY.model_copy(update={"source": large}), tmp_path, mapper=here)
    mixture = MixtureSource(parts=(Part(source=large), Part(source=small)))
    config = TINY.model_copy(update={"source": mixture, "length": 16, "separator": False})
    found = prepare(config, tmp_path, mapper=here)
    dog, cat = (found.tokenizer.token_to_id(word) for word in ("dog", "cat"))
    tokens = found.train[:].ravel()
    assert abs(int((tokens == dog).sum()) - int((tokens == cat).sum())) <= 16
    assert found.manifest["counts"]["train"]["documents_left_out"] == 70
    assert len(list((tmp_path / "text").glob("[0-9a-f]*"))) == 2
    assert MixtureSource(parts=(Part(source=large),)).problems() == [
        "source 'mixture' needs at least two parts; it has 1; give parts: [{source: …, weight: 1}, {source: …}]"
    ]
    assert "must be positive" in mixture.model_copy(
        update={"parts": (Part(source=large, weight=0), Part(source=small))}
    ).problems()[0]  # fmt: skip
    for weight in (float("nan"), float("inf")):
        odd = mixture.model_copy(update={"parts": (Part(source=large, weight=weight), Part(source=small))})
        assert "must be positive" in odd.problems()[0]


def test_the_same_files_elsewhere_give_the_same_rows(tmp_path: Path) -> None:
    found = []
    for place in (tmp_path / "here", tmp_path / "there"):
        large, small = (
            corpus(place, [f"{w} {n} " * (n % 9 + 9) for n in range(60)], w) for w in ("dog", "cat")
        )
        mixture = MixtureSource(parts=(Part(source=large), Part(source=small, weight=3)))
        config = TINY.model_copy(update={"source": mixture, "length": 16})
        found.append(prepare(config, place / "cache", mapper=here))
    assert found[0].fingerprint == found[1].fingerprint
    assert np.array_equal(found[0].train[:], found[1].train[:])


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_the_held_out_rows_of_a_mixture_stand_for_all_its_parts(tmp_path: Path, weight: float) -> None:
    parts = []
    for word in ("dog", "cat"):
        for split in ("train", "validation"):
            (tmp_path / f"{word}-{split}.txt").write_text("\n\n".join([f"{word} " * 60] * 1000))
        parts.append(
            FilesSource(
                train=str(tmp_path / f"{word}-train.txt"), validation=str(tmp_path / f"{word}-validation.txt")
            )
        )
    mixture = MixtureSource(parts=(Part(source=parts[0], weight=weight), Part(source=parts[1])))
    config = TINY.model_copy(update={"source": mixture, "length": 16, "separator": False})
    found = prepare(config, tmp_path / "cache", mapper=here)
    dog, cat = (found.tokenizer.token_to_id(word) for word in ("dog", "cat"))
    tokens = found.validation[:].ravel()
    assert found.validation.shape[0] == VALIDATION_ROWS
    assert (tokens == dog).sum() == pytest.approx(weight * (tokens == cat).sum(), rel=0.02)


def test_a_part_of_which_nothing_is_left_is_told(tmp_path: Path) -> None:
    good = corpus(tmp_path, ["dog " * 30] * 90, "good")
    nothing = corpus(tmp_path, ["\u72ac" * 30] * 90, "nothing")
    mixture = MixtureSource(parts=(Part(source=good), Part(source=nothing)))
    with pytest.raises(DataError, match="of one nothing is left after cleaning"):
        prepare(TINY.model_copy(update={"source": mixture}), tmp_path / "cache", mapper=here)


def test_a_corrected_licence_reaches_the_manifest(tmp_path: Path) -> None:
    source = corpus(tmp_path, ["dog " * 30] * 90, "dogs")
    for licence in ("unknown", "CC0"):
        licensed = source.model_copy(update={"licensed": None if licence == "unknown" else licence})
        found = prepare(TINY.model_copy(update={"source": licensed}), tmp_path / "cache", mapper=here)
        assert found.manifest["licence"] == licence


def test_halves_of_surrogate_pairs_do_not_stop_a_corpus(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"the dog {n} sees \ud83d the cat " * 9}) for n in range(400)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    source = FilesSource(train=str(tmp_path / "t.jsonl"))
    assert len(prepare(TINY.model_copy(update={"source": source}), tmp_path / "c", mapper=here).train) > 10


# --- rows --------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-23, 22), max_size=40), st.integers(1, 30), st.booleans())
@settings(deadline=None)
def test_rows_in_files_read_like_one_array(numbers: list[int], per_file: int, cut: bool) -> None:
    import tempfile

    whole = np.arange(46 * 3, dtype=np.uint16).reshape(46, 3)
    chosen = np.arange(0, 46, 2, dtype=np.uint32) if cut else None
    plain = whole if chosen is None else whole[chosen]
    with tempfile.TemporaryDirectory() as name:
        paths = []
        for start in range(0, 46, per_file):
            paths.append(Path(name, f"{start}.npy"))
            np.save(paths[-1], whole[start : start + per_file])
        rows = Rows(paths, rows=46, length=3, per_file=per_file, dtype=whole.dtype, chosen=chosen)
        assert (len(rows), rows.shape, rows.size) == (len(plain), plain.shape, plain.size)
        np.testing.assert_array_equal(rows[np.array(numbers, np.int64)], plain[np.array(numbers, np.int64)])
        np.testing.assert_array_equal(rows[3:17:2], plain[3:17:2])
        np.testing.assert_array_equal(rows[-1], plain[-1])
        np.testing.assert_array_equal(np.asarray(rows), plain)
        np.testing.assert_array_equal(rows[plain[:, 0] % 4 == 0], plain[plain[:, 0] % 4 == 0])
        with pytest.raises(IndexError, match="rows are numbered"):
            rows[len(plain)]
