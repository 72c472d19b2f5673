"""Sources: documents of every format, disjoint splits, and problems told before anything is read."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from ablate.data import (
    CorpusSource,
    DataConfig,
    DataError,
    FilesSource,
    GrammarSource,
    HubSource,
    LocalSource,
    MixtureSource,
    Part,
    check,
)
from ablate.data.presets import CORPORA
from ablate.data.text import Shards, parts_of, read_source
from ablate.knobs import knobs, label

TEXTS = [f"document {i} says that the dog sees the cat." for i in range(400)]


def parquet(path: Path, texts: list[str], column: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(
        pyarrow.table({column: texts, "id": [str(i) for i in range(len(texts))]}), path
    )
    return path


def write(folder: Path, suffix: str) -> Path:
    path = folder / f"part{suffix}"
    lines = "".join(json.dumps({"text": t}) + "\n" for t in TEXTS)
    match suffix:
        case ".parquet":
            return parquet(path, TEXTS)
        case ".jsonl":
            path.write_text(lines)
        case ".jsonl.gz":
            path.write_bytes(gzip.compress(lines.encode()))
        case ".jsonl.zst":
            with pyarrow.output_stream(str(path), compression="zstd") as stream:
                stream.write(lines.encode())
        case ".txt":
            path.write_text("\n\n".join(TEXTS))
        case ".txt.gz":
            path.write_bytes(gzip.compress("\n\n\n".join(TEXTS).encode()))
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".txt", ".txt.gz"])
def test_files_of_every_format_give_the_same_documents(tmp_path: Path, suffix: str) -> None:
    write(tmp_path, suffix)
    source = FilesSource(train=str(tmp_path / "part*"))
    assert source.problems() == []
    train, validation = (list(source.documents(split)) for split in ("train", "validation"))
    assert sorted(train + validation) == sorted(TEXTS)
    assert 0 < len(validation) < 20  # about one in a hundred


def test_a_document_and_its_copy_fall_on_the_same_side(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", TEXTS + TEXTS)
    source = FilesSource(train=str(tmp_path / "*.parquet"))
    assert not set(source.documents("train")) & set(source.documents("validation"))


def test_a_validation_glob_replaces_the_hash(tmp_path: Path) -> None:
    parquet(tmp_path / "t.parquet", TEXTS[:300])
    parquet(tmp_path / "v.parquet", TEXTS[300:])
    source = FilesSource(train=str(tmp_path / "t.parquet"), validation=str(tmp_path / "v.parquet"))
    assert list(source.documents("train")) == TEXTS[:300]
    assert list(source.documents("validation")) == TEXTS[300:]


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"body": "no"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2 must be a JSON object with the field 'text'"):
        list(FilesSource(train=str(tmp_path / "*.jsonl")).documents("train"))


def test_the_fingerprint_follows_the_content_not_the_place(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        parquet(tmp_path / folder / "t.parquet", TEXTS)
    one, two = (FilesSource(train=str(tmp_path / folder / "*")).fingerprint() for folder in ("a", "b"))
    assert one == two
    parquet(tmp_path / "b" / "t.parquet", TEXTS[::-1])
    assert FilesSource(train=str(tmp_path / "b" / "*")).fingerprint() != one


def test_a_link_that_leads_back_does_not_multiply_the_corpus(tmp_path: Path) -> None:
    parquet(tmp_path / "a" / "t.parquet", TEXTS)
    (tmp_path / "a" / "again").symlink_to(".")
    source = FilesSource(train=str(tmp_path / "**" / "*.parquet"))
    assert len([*source.documents("train"), *source.documents("validation")]) == len(TEXTS)


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 200_000], ids=["endless number", "endless nesting"])
def test_a_line_that_json_cannot_hold_is_named(tmp_path: Path, value: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"text": "a", "n": ' + value + "}\n")
    with pytest.raises(DataError, match=r"a\.jsonl:2 must be a JSON object"):
        list(FilesSource(train=str(tmp_path / "a.jsonl")).documents("train"))


def test_two_columns_of_the_same_name_are_a_problem(tmp_path: Path) -> None:
    twice = pyarrow.table([pyarrow.array(TEXTS), pyarrow.array(TEXTS)], names=["text", "text"])
    pyarrow.parquet.write_table(twice, tmp_path / "a.parquet")
    (problem,) = FilesSource(train=str(tmp_path / "a.parquet")).problems()
    assert "needs one column 'text'; it has 2" in problem


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    parquet(tmp_path / "text" / "tales" / "train.parquet", TEXTS)
    parquet(tmp_path / "text" / "tales" / "validation.parquet", TEXTS[:3])
    (tmp_path / "README.md").write_text("| source | MB | licence |\n|---|---|---|\n| tales | 1 | CC0 |\n")
    monkeypatch.setenv("ABLATE_DATA", str(tmp_path))
    return tmp_path


def test_a_local_source_reads_both_splits_and_knows_its_licence(local: Path) -> None:
    source = LocalSource(name="tales")
    assert source.problems() == []
    assert list(source.documents("train")) == TEXTS
    assert list(source.documents("validation")) == TEXTS[:3]
    assert source.licence() == "CC0"


def test_a_local_source_tells_the_nearest_name(local: Path) -> None:
    [problem] = check(DataConfig(source=LocalSource(name="tale")))
    assert "did you mean 'tales'?" in problem


def test_a_local_source_without_the_variable_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ABLATE_DATA", raising=False)
    [problem] = check(DataConfig(source=LocalSource(name="tales")))
    assert "ABLATE_DATA" in problem
    assert "export" in problem
    with pytest.raises(DataError, match="ABLATE_DATA"):
        list(LocalSource(name="tales").documents("train"))


def test_missing_splits_columns_and_torn_files_are_problems(local: Path) -> None:
    (local / "text" / "tales" / "validation.parquet").unlink()
    assert "validation.parquet does not exist" in LocalSource(name="tales").problems()[0]
    parquet(local / "text" / "tales" / "validation.parquet", TEXTS, column="body")
    assert "needs the text column 'text'; it has body, id" in LocalSource(name="tales").problems()[0]
    (local / "text" / "tales" / "validation.parquet").write_bytes(b"PAR1 torn")
    assert "must be a readable parquet file" in LocalSource(name="tales").problems()[0]


def test_globs_without_files_and_strange_formats_are_problems(tmp_path: Path) -> None:
    assert "matches none" in FilesSource(train=str(tmp_path / "*.txt")).problems()[0]
    (tmp_path / "a.docx").write_text("x")
    assert "is none of them" in FilesSource(train=str(tmp_path / "*")).problems()[0]
    assert "needs 'train'" in FilesSource().problems()[0]


def test_the_hub_source_reads_a_folder_in_the_layout_of_the_hub(tmp_path: Path) -> None:
    parquet(tmp_path / "corpus" / "data" / "train-00000-of-00001.parquet", TEXTS)
    parquet(tmp_path / "corpus" / "data" / "validation-00000-of-00001.parquet", TEXTS[:5])
    source = HubSource(name=str(tmp_path / "corpus"), validation="validation", limit=50)
    assert source.problems() == []
    assert list(source.documents("train")) == TEXTS[:50]
    assert list(source.documents("validation")) == TEXTS[:5]
    hashed = HubSource(name=str(tmp_path / "corpus"))
    assert sorted([*hashed.documents("train"), *hashed.documents("validation")]) == sorted(TEXTS)
    with pytest.raises(DataError, match="needs the text column 'body'"):
        list(HubSource(name=str(tmp_path / "corpus"), column="body").documents("train"))


def test_the_hub_source_says_what_it_could_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="needs a readable dataset"):
        list(HubSource(name=str(tmp_path / "empty")).documents("train"))
    assert "does not exist" in HubSource(name=str(tmp_path / "none")).problems()[0]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in HubSource().problems()[0]


def test_a_file_moved_to_another_split_of_the_hub_is_another_corpus(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    for name in ("train/0.parquet", "train/1.parquet", "validation/2.parquet"):
        parquet(folder / name, [f"{name} {text}" for text in TEXTS[:9]])
    source = HubSource(name=str(folder), validation="validation")
    before = source.fingerprint()
    (folder / "train" / "1.parquet").rename(folder / "validation" / "1.parquet")
    assert source.fingerprint() != before


def test_the_hub_source_refuses_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"text": [1, 2]}), tmp_path / "c" / "train.parquet")
    with pytest.raises(
        DataError, match=r"needs text in the column 'text' of every row; .* holds a int, no text"
    ):
        list(HubSource(name=str(tmp_path / "c")).documents("train"))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "train.txt").write_text("the dog\nthe cat\n")  # its columns are known late
    with pytest.raises(DataError, match="needs text in the column 'body'"):
        list(HubSource(name=str(tmp_path / "d"), column="body").documents("train"))


def test_a_hub_dataset_that_breaks_off_says_so_and_what_was_read_stays(tmp_path: Path) -> None:
    for part in range(2):
        parquet(tmp_path / "c" / f"train-{part}.parquet", TEXTS)
    torn = tmp_path / "c" / "train-1.parquet"
    torn.write_bytes(torn.read_bytes()[:-20])
    source = HubSource(name=str(tmp_path / "c"))
    with pytest.raises(DataError, match=r"must be readable to its end; .* \(split train\) gave ArrowInvalid"):
        read_source(source, tmp_path / "cache", Shards(characters=2000))
    assert list((tmp_path / "cache" / "text").glob(".*.partial/both-*.result.json"))


def test_the_held_out_grammar_shares_no_document_with_the_training_one() -> None:
    source = GrammarSource(megabytes=0.3)
    assert not set(source.documents("train")) & set(source.documents("validation"))
    assert sum(map(len, source.documents("train"))) == pytest.approx(3e5, rel=0.02)


@pytest.mark.parametrize(
    ("source", "name"),
    [(GrammarSource(), "grammar"), (LocalSource(name="books"), "books"), (HubSource(name="a/b"), "a/b")],
)
def test_sources_have_short_names(source, name: str) -> None:
    assert source.short() == name


def test_names_stand_for_variants_and_every_knob_says_what_it_is() -> None:
    assert DataConfig.model_validate({"source": "grammar", "token_ratio": None}).source == GrammarSource()
    assert all(info.knob.meaning for info in knobs(DataConfig))
    assert label(GrammarSource()) == "grammar"


def test_reading_a_data_config_loads_nothing_heavy() -> None:
    heavy = ["torch", "datasets", "tokenizers", "pyarrow", "pandas", "lightning"]
    program = (
        f"import ablate.data, sys; ablate.data.DataConfig(); print([m for m in {heavy} if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=dict(os.environ)
    )
    assert ran.stdout.strip() == "[]", ran.stderr


def test_files_in_another_encoding_are_refused_with_the_place_and_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"the dog\n\nthe cat\n\n" + "café\n\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.txt is not, some way after its document .*iconv"):
        list(FilesSource(train=str(tmp_path / "*.txt")).documents("train"))


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst"])
def test_files_that_break_off_are_refused(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, suffix)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="must be readable to its end"):
        list(FilesSource(train=str(path)).documents("train"))


def test_a_column_that_holds_no_text_is_told_before_anything_is_read(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": [1, 2]}), tmp_path / "a.parquet")
    (problem,) = FilesSource(train=str(tmp_path / "a.parquet")).problems()
    assert "needs text in the column 'text'; it holds int64" in problem
    (tmp_path / "b.jsonl").write_text('{"text": ["a", "b"]}\n')
    with pytest.raises(DataError, match=r"b\.jsonl:1 .* it holds a list, no text"):
        list(FilesSource(train=str(tmp_path / "b.jsonl")).documents("train"))


def test_the_hub_source_keeps_rows_by_a_field_and_goes_on_after_what_was_read(tmp_path: Path) -> None:
    rows = [{"text": text, "meta": {"set": "abc"[i % 3]}} for i, text in enumerate(TEXTS)]
    folder = tmp_path / "corpus" / "data"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = HubSource(name=str(tmp_path / "corpus"), where="meta.set=a|c", limit=None)
    wanted = [row["text"] for row in rows if row["meta"]["set"] != "b"]
    assert list(source.stream(None)) == wanted
    assert list(source.stream(None, 7)) == wanted[7:]
    plain = HubSource(name=str(tmp_path / "corpus"), limit=20)
    assert list(plain.stream(None, 5)) == TEXTS[5:20]
    with pytest.raises(DataError, match="needs the field 'meta.kind' in every row"):
        list(source.model_copy(update={"where": "meta.kind=a"}).stream(None))
    assert "must read field=value" in source.model_copy(update={"where": "meta.set"}).problems()[0]


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_a_corpus_by_name_knows_its_datasets_licence_and_size(name: str) -> None:
    source = CorpusSource(name=name, limit=10)
    assert source.licence()
    assert any(unit in source.extent() for unit in ("MB", "GB", "TB", "tokens"))
    assert [part.name for part in parts_of(source)] == [hub.name for hub in CORPORA[name].parts]
    assert all(part.limit == 10 for part in parts_of(source))
    assert {hub.name for hub in CORPORA[name].parts} == {p["name"] for p in source.fingerprint()["parts"]}


def test_a_mixture_is_its_parts_and_says_their_licences(local: Path) -> None:
    parts = (Part(source=LocalSource(name="tales"), weight=2), Part(source=GrammarSource(megabytes=0.05)))
    mixture = MixtureSource(parts=parts)
    assert mixture.problems() == []
    assert mixture.short() == "2xtales+grammar"
    assert mixture.licence().startswith("tales: CC0; grammar: generated")
    assert parts_of(mixture) == [part.source for part in parts]
    assert list(mixture.documents("train"))[: len(TEXTS)] == TEXTS
    broken = MixtureSource(parts=(*parts, Part(source=LocalSource(name="tale"))))
    assert "did you mean 'tales'" in broken.problems()[0]
