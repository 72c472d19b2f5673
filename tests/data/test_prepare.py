"""prepare(): cached by what determines each stage, built once, never half."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ablate.data import DataConfig, DataError, FilesSource, GrammarSource, LocalSource, WordPiece, prepare
from ablate.data.store import VERSION, finished
from ablate.data.tokenizer import SEP

TINY = DataConfig(
    source=GrammarSource(megabytes=0.1), tokenizer=WordPiece(vocabulary=512), length=64, token_ratio=None
)


def amended(**changes) -> DataConfig:
    return TINY.model_copy(update=changes)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_the_manifest_accounts_for_every_document_and_token(cache: Path) -> None:
    found = prepare(TINY, cache)
    count = found.manifest["counts"]["train"]
    assert found.train.shape == (count["rows"], 64)
    assert (count["tokens_padding"], count["tokens_truncated"]) == (0, 0)
    assert found.train.dtype == np.uint16
    assert found.manifest["tokens"] == found.train.size
    assert count["documents_read"] == count["documents_kept"]
    assert (
        count["tokens_packed"] + count["tokens_dropped"] == count["tokens_encoded"] + count["documents_kept"]
    )
    assert (found.train[:] == SEP).sum() <= count["documents_kept"]
    assert found.train[:].max() < found.vocabulary
    assert found.manifest["licence"]
    assert len(found.validation) > 10


def test_rows_read_back_as_the_text(cache: Path) -> None:
    found = prepare(TINY, cache)
    first = next(iter(TINY.source.documents("train")))
    assert found.tokenizer.decode(found.train[:10].ravel().tolist()).startswith(first[:20].rstrip("."))


def test_preparing_twice_reads_the_cache(cache: Path) -> None:
    one = prepare(TINY, cache)
    times = {p: p.stat().st_mtime_ns for p in cache.rglob("*") if p.is_file()}
    two = prepare(TINY, cache)
    assert {p: p.stat().st_mtime_ns for p in cache.rglob("*") if p.is_file()} == times
    assert one.manifest == two.manifest


def test_arms_that_differ_in_order_share_the_rows(cache: Path) -> None:
    found = {
        order: prepare(amended(order=order), cache) for order in ("random", "sentence-length", "unigram")
    }
    assert len({p.path for p in found.values()}) == 1
    assert len({p.fingerprint for p in found.values()}) == 3
    assert found["random"].order is None
    for name in ("sentence-length", "unigram"):
        assert sorted(found[name].order) == list(range(len(found[name].train)))
    assert (np.asarray(found["unigram"].order) != found["sentence-length"].order).any()


def test_arms_that_differ_in_length_share_the_tokenizer(cache: Path) -> None:
    long, short = prepare(TINY, cache), prepare(amended(length=32), cache)
    assert long.manifest["tokenizer"] == short.manifest["tokenizer"]
    assert len(list((cache / "tokenizers").glob("[0-9a-f]*"))) == 1


def test_two_caches_hold_the_same_bytes(cache: Path, tmp_path: Path) -> None:
    assert (
        prepare(TINY, cache).manifest["content_sha256"] == prepare(TINY, tmp_path).manifest["content_sha256"]
    )


def test_equal_token_comparisons_cut_a_random_subset(cache: Path) -> None:
    whole, cut = prepare(TINY, cache), prepare(amended(tokens=6400, order="random"), cache)
    assert cut.train.shape == (100, 64)
    assert cut.manifest["tokens"] == 6400
    rows = {row.tobytes() for row in whole.train}
    assert all(row.tobytes() in rows for row in cut.train)
    with pytest.raises(DataError, match=r"data\.tokens must lie between one row"):
        prepare(amended(tokens=10**9), cache)


def test_a_vocabulary_that_the_text_cannot_fill_is_a_warning(cache: Path) -> None:
    found = prepare(amended(tokenizer=WordPiece(vocabulary=50_000)), cache)
    assert found.vocabulary < 50_000
    assert "not the 50000 asked for" in found.warnings[0]


def damage_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"version": 1, "fil')


def damage_rows(folder: Path) -> None:
    os.truncate(folder / "train-00000.npy", 1000)


def damage_version(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "version": VERSION + 1}))


def damage_absence(folder: Path) -> None:
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize("damage", [damage_manifest, damage_rows, damage_version, damage_absence])
def test_a_damaged_or_foreign_cache_is_built_again(tmp_path: Path, damage) -> None:
    before = prepare(TINY, tmp_path)
    damage(before.path)
    assert finished(before.path) is None
    after = prepare(TINY, tmp_path)
    assert after.manifest["content_sha256"] == before.manifest["content_sha256"]
    assert len(after.train) == before.manifest["rows"]


def test_a_failed_build_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        prepare(amended(length=1024, source=GrammarSource(megabytes=0.05), token_ratio=0.15), tmp_path)
    assert [p.name for p in (tmp_path / "rows").iterdir()] == ["locks"]


def test_leftovers_of_another_version_are_not_gone_on_with(tmp_path: Path) -> None:
    folder = prepare(TINY, tmp_path).path
    leftover = folder.with_name(f".{folder.name}.partial")
    folder.rename(leftover)  # as if the builder had been killed before the rename
    (leftover / "manifest.json").write_text(json.dumps({"version": VERSION - 1}))
    (leftover / "strange").touch()
    again = prepare(TINY, tmp_path)
    assert again.path == folder
    assert not leftover.exists()
    assert "strange" not in json.loads((folder / "manifest.json").read_text())["files"]


def test_processes_that_ask_at_once_prepare_once(tmp_path: Path) -> None:
    program = (
        "import sys, logging, json; from pathlib import Path; from ablate.data import *;"
        "config = DataConfig.model_validate_json(sys.argv[1]);"
        "print(json.dumps(prepare(config, Path(sys.argv[2])).manifest, sort_keys=True))"
    )
    command = [sys.executable, "-c", program, TINY.model_dump_json(), str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    manifests = {process.communicate(timeout=120)[0] for process in running}
    # The manifest holds how long the build took: two builds would not agree to the millisecond.
    assert len(manifests) == 1
    assert json.loads(manifests.pop())["rows"] > 0


def files(folder: Path, texts: list[str]) -> FilesSource:
    (folder / "t.txt").write_text("\n\n".join(texts))
    (folder / "v.txt").write_text("\n\n".join(texts))
    return FilesSource(train=str(folder / "t.txt"), validation=str(folder / "v.txt"))


@pytest.mark.parametrize(
    ("texts", "ratio", "message"),
    [
        ([], None, "must hold documents; it holds none"),
        (["the dog"], None, "must fill a row of 64 tokens; 1 documents give"),
        (
            ["x1 y2 z3 ! ? ! ? !"] * 50,
            0.2,
            "after the token-ratio filter; all 50 have 0.2 tokens per character",
        ),
    ],
    ids=["empty", "short", "filtered"],
)
def test_a_corpus_that_gives_no_row_says_why(tmp_path: Path, texts: list[str], ratio, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare(amended(source=files(tmp_path, texts), token_ratio=ratio), tmp_path / "cache")


def test_a_corpus_too_small_to_hold_a_document_out_says_how_to_name_one(tmp_path: Path) -> None:
    source = files(tmp_path, ["the dog sees the cat " * 40] * 3).model_copy(update={"validation": None})
    with pytest.raises(DataError, match=r"one document in 100.* none was picked.*data\.source\.validation"):
        prepare(amended(source=source), tmp_path / "cache")


def test_the_filter_warns_when_it_takes_most(tmp_path: Path) -> None:
    source = files(tmp_path, ["a ! b ? c ; d : e" for _ in range(60)] + ["the dog sees the dog " * 90] * 3)
    found = prepare(amended(source=source, token_ratio=0.4, length=16), tmp_path / "cache")
    assert "dropped 95% of the documents" in " ".join(found.warnings)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("ABLATE_DATA"), reason="needs real text: ABLATE_DATA is not set")
def test_real_text_is_prepared_with_a_wordpiece_of_its_own(tmp_path: Path) -> None:
    config = DataConfig(
        source=LocalSource(name="textbooks"), tokenizer=WordPiece(vocabulary=2048), token_ratio=0.4
    )
    found = prepare(config, tmp_path)
    assert found.vocabulary == 2048
    assert found.manifest["tokens"] > 1_000_000
    assert found.manifest["licence"] != "unknown"


def test_a_reversed_order_is_the_order_from_its_end(tmp_path):
    from ablate.recipe import preset

    config = preset("crammed-small").data.model_copy(update={"order": "sentence-length"})
    config = config.model_copy(update={"source": GrammarSource(megabytes=0.1)})
    plain = prepare(config, tmp_path)
    turned = prepare(config.model_copy(update={"reverse": True}), tmp_path)
    assert np.array_equal(turned.order, plain.order[::-1])
    assert turned.fingerprint != plain.fingerprint
