"""An inspection says what the stages did; its views show everything and are broken by no text."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from ablate.data import DataConfig, FilesSource
from ablate.data.inspection import Inspection, inspect
from ablate.data.inspection_views import page, share, terminal
from tests.data.cleaning.corpora import generated

HOSTILE = (
    "[/bold] <script>alert(1)</script> [red] {{ 7 * 7 }} & a lighthouse keeper wrote this long sentence down"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspection")
    texts = [document.text for document in generated(200)]
    lines = [*texts, *texts[:20], *([HOSTILE] * 2), "[/bold] <script>alert(1)</script>"]
    (folder / "train.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in lines))
    (folder / "held.jsonl").write_text("\n".join(json.dumps({"text": d.text}) for d in generated(20, seed=9)))
    (folder / "task.jsonl").write_text(json.dumps({"sentence": " ".join(texts[3].split()[:16])}))
    return folder


def config(folder: Path, **cleaning: object) -> DataConfig:
    source = FilesSource(train=str(folder / "train.jsonl"), validation=str(folder / "held.jsonl"))
    return DataConfig.model_validate(
        {
            "source": source.model_dump(), "tokenizer": {"kind": "wordpiece", "vocabulary": 400},
            "length": 32, "order": "random", "token_ratio": 0.8, "cleaning": cleaning,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Inspection]:
    cache = tmp_path_factory.mktemp("cache")
    task = {"kind": "decontaminate", "action": "drop", "tasks": [], "files": [str(folder / "task.jsonl")]}
    cleaning = {"rules": {"kind": "rules", "min_words": 5}, "duplicates": "minhash", "decontaminate": task,
                "quality": {"embedding": {"kind": "tfidf-svd", "width": 8}, "keep": 0.8}}  # fmt: skip
    return [
        inspect(config(folder), cache, "plain"),
        inspect(config(folder, **cleaning), cache, "[cleaned]"),
    ]


def test_each_step_hands_on_what_the_next_one_gets(found: list[Inspection]) -> None:
    plain, cleaned = found
    assert [step.name for step in plain.steps] == ["token ratio"]
    assert [step.name for step in cleaned.steps] == [
        "rules", "near-duplicates", "decontaminate", "quality", "token ratio",
    ]  # fmt: skip
    for one in found:
        assert one.steps[0].documents_in == 223
        for step, following in zip(one.steps, one.steps[1:], strict=False):
            assert step.documents_out == following.documents_in
            assert step.characters_out == following.characters_in
        for step in one.steps:
            assert step.documents_in - step.documents_out == sum(step.why.values())
        assert one.documents == one.steps[-1].documents_out == sum(one.lengths.values())
        assert one.tokens == one.rows * one.length


def test_overlaps_name_the_example_and_its_text(found: list[Inspection], folder: Path) -> None:
    (line,) = found[1].overlaps
    assert (line.examples, line.touched) == (1, 1)
    assert line.documents == found[1].steps[2].why[f"overlaps {folder / 'task.jsonl'}"] >= 1
    assert [row["row"] for row in line.rows] == [0]
    assert line.rows[0]["text"] == json.loads((folder / "task.jsonl").read_text())["sentence"]


def test_it_is_plain_data(found: list[Inspection]) -> None:
    again = json.loads(json.dumps([one.to_dict() for one in found]))
    assert again[1]["reports"][0]["dropped"] == found[1].steps[0].why


def test_the_terminal_shows_every_step_and_text_as_it_is(found: list[Inspection]) -> None:
    # Which examples a report keeps depends on the documents' ids: this one is put there.
    example = {"id": "1", "text": HOSTILE, "reason": "[red]"}
    hostile = replace(found[1], reports=[{**found[1].reports[0], "dropped_examples": [example]}])
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(terminal([*found, hostile]))
    said = console.export_text()
    for one in found:
        assert one.name in said
        assert f"{one.tokens:,} tokens in {one.rows:,} rows of 32" in said
        for step in one.steps:
            assert f"{step.documents_in:,}" in said
            assert all(f"{why}: {count:,}" in said for why, count in step.why.items())
    assert "[red]" in said
    assert HOSTILE in said
    assert "not looked for" in said


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_loads_nothing_and_holds_every_example_escaped(found: list[Inspection]) -> None:
    reader = Reader()
    reader.feed(page(found, "a <study>"))
    assert not [tag for tag, attrs in reader.tags if tag == "script" or "src" in attrs]
    fetched = [attrs["href"] for tag, attrs in reader.tags if tag == "link"]
    assert fetched == ["data:,"]
    links = {attrs["href"] for tag, attrs in reader.tags if tag == "a"}
    ids = {f"#{attrs['id']}" for _, attrs in reader.tags if "id" in attrs}
    assert links <= ids
    text = re.sub(r"\s+", " ", " ".join(reader.text))
    for one in found:
        for report in one.reports:
            for example in [*report["kept_examples"], *report["dropped_examples"]]:
                assert re.sub(r"\s+", " ", example["text"]).strip() in text


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(0, 0, "–"), (0, 9, "0 %"), (9, 9, "100 %"), (1, 3, "33 %"), (1, 3000, "0.033 %"), (9999, 10000, "99.99 %"),
     (999_999, 1_000_000, "99.99 %")],
)  # fmt: skip
def test_a_share_is_never_rounded_to_none_or_all(part: int, whole: int, said: str) -> None:
    assert share(part, whole) == said
