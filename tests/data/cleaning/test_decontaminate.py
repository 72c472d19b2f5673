"""Decontamination: the overlaps are those of a plain count, long or short, and each names its task."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.data.cleaning import Document, Report
from ablate.data.cleaning.decontaminate import Decontaminate
from tests.data.cleaning.corpora import cleaned, generated

SENTENCE = "the old lighthouse keeper wrote down every ship that passed the rocks during the long winter"


@pytest.fixture
def task(tmp_path: Path) -> str:
    """A task of one long, one short and one very short sentence."""
    rows = [{"text": SENTENCE}, {"text": "Mr. Brown never liked the sea."}, {"text": "It sank."}]
    path = tmp_path / "task.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def found(task: str, text: str, **knobs: object) -> dict[str, int]:
    """Row → documents, of a corpus of one text."""
    stage = Decontaminate(tasks=(), files=(task,), **knobs)
    _, report = cleaned(stage, [Document("0", text)])
    return report.details["rows"].get(task, {})


def test_thirteen_words_in_a_row_overlap_whatever_their_case_and_marks(task: str) -> None:
    words = SENTENCE.split()
    assert found(task, "He read: 'THE OLD, lighthouse " + " ".join(words[3:13]) + "'") == {"0": 1}
    assert found(task, "He read " + " ".join(words[:12]) + " he thought") == {}
    assert found(task, " ".join(words[:12]), ngram=12) == {"0": 1}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("Mr. Brown never liked the sea.", {"1": 1}),
        ("So it went. mr brown never liked the SEA! It went on.", {"1": 1}),
        ('She said "Mr. Brown never liked the sea" and left.', {"1": 1}),
        ("They knew Mr. Brown never liked the sea.", {}),  # part of a longer sentence
        ("Mr. Brown never liked the sea or boats.", {}),
        ("It sank.", {}),  # too short to prove anything
    ],
)
def test_short_texts_are_found_as_whole_sentences_only(task: str, text: str, rows: dict) -> None:
    assert found(task, text) == rows


def test_dropping_names_the_task_and_reporting_keeps_the_document(task: str) -> None:
    corpus = [Document("clean", "nothing of note " * 10), Document("bad", f"see: {SENTENCE}.")]
    kept, report = cleaned(Decontaminate(tasks=(), files=(task,)), corpus)
    assert kept == corpus[:1]
    assert report.dropped == {f"overlaps {task}": 1}
    assert report.details["documents"] == {task: 1}
    assert report.facts["examples"] == {task: {"all": 3, "too_short": 1}}
    kept, told = cleaned(Decontaminate(tasks=(), files=(task,), action="report"), corpus)
    assert kept == corpus
    assert told.details == report.details


def grams(text: str, n: int) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


@settings(max_examples=25, deadline=None)
@given(st.integers(5, 9), st.integers(0, 1000))
def test_overlaps_are_those_of_a_plain_count(tmp_path_factory, n: int, seed: int) -> None:
    path = tmp_path_factory.mktemp("task") / "task.jsonl"
    examples = [d.text for d in generated(10, seed=seed, characters=150)]
    path.write_text("\n".join(json.dumps({"text": text}) for text in examples))
    corpus = generated(20, seed=seed + 5000, characters=300)
    stage = Decontaminate(tasks=(), files=(str(path),), ngram=n, sentence=n, action="report")
    _, report = cleaned(stage, corpus)
    held = [grams(document.text, n) for document in corpus]
    expected = {
        str(row): hits
        for row, text in enumerate(examples)
        if (hits := sum(bool(grams(text, n) & those) for those in held))
    }
    assert report.details.get("rows", {}).get(str(path), {}) == expected


def test_both_texts_of_a_pair_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "glue/qnli").mkdir(parents=True)
    pair = {"question": [SENTENCE, "Who?"], "sentence": ["No.", SENTENCE[::-1].replace(" ", "x ")]}
    pd.DataFrame(pair).to_parquet(tmp_path / "glue/qnli/validation.parquet")
    monkeypatch.setenv("ABLATE_DATA", str(tmp_path))
    stage = Decontaminate()
    assert stage.problems() == []  # a task without a training set, and others that are absent, are no problem
    _, report = cleaned(stage, [Document("0", SENTENCE), Document("1", pair["sentence"][1])])
    assert report.details["rows"] == {"qnli/validation": {"0": 1, "1": 1}}


def test_what_cannot_be_read_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_DATA", str(tmp_path))
    assert "knows the tasks mnli" in Decontaminate(tasks=("colla",)).problems()[0]
    assert "needs a split of 'cola'" in Decontaminate(tasks=("cola",)).problems()[0]
    assert "needs evaluation texts" in Decontaminate().problems()[0]
    assert "reads files of .parquet" in Decontaminate(files=("gone.txt",)).problems()[0]


def test_another_version_of_a_task_is_another_fingerprint(task: str) -> None:
    stage = Decontaminate(tasks=(), files=(task,))
    before = stage.fingerprint()
    Path(task).write_text(json.dumps({"text": "another sentence altogether"}))
    assert stage.fingerprint() != before


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("ABLATE_DATA"), reason="ABLATE_DATA is unset: no real text here")
def test_wikipedias_overlap_with_qnli_is_that_of_a_plain_count() -> None:
    root = Path(os.environ["ABLATE_DATA"])
    text, qnli = root / "text/wikipedia/train.parquet", root / "glue/qnli/validation.parquet"
    if not (text.is_file() and qnli.is_file()):
        pytest.skip("ABLATE_DATA has no wikipedia or no QNLI")
    documents = [Document(str(i), row) for i, row in enumerate(pd.read_parquet(text)["text"])]
    stage = Decontaminate(tasks=("qnli",), splits="validation", sentence=13, action="report")
    state, report = stage.combine([], Path()), Report(stage.name)
    for _ in stage.apply(documents, state, report):
        pass
    rows = pd.read_parquet(qnli)
    wanted: dict[tuple[str, ...], set[int]] = {}
    for row, pair in enumerate(zip(rows["question"], rows["sentence"], strict=True)):
        for side in pair:
            for gram in grams(side, 13):
                wanted.setdefault(gram, set()).add(row)
    touched: set[int] = set()
    for document in documents:
        words = re.findall(r"\w+", document.text.lower())
        for gram in zip(*(words[i:] for i in range(13)), strict=False):
            if gram in wanted:
                touched |= wanted[gram]
    assert set(map(int, report.details["rows"]["qnli/validation"])) == touched
    assert len(touched) > 50
