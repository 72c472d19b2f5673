"""Every cleaning stage: the same documents whatever the shards, counts that add up, states that travel."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path
from typing import Any

import pytest

from ablate.data.cleaning import Cleaning, Document, Report, Stage
from ablate.data.errors import DataError
from ablate.knobs import knobs
from tests.data.cleaning.corpora import cleaned, generated, texts_of

NAMES = tuple(Cleaning.model_fields)
KINDS = {info.path: info.domain.levels[-1] for info in knobs(Cleaning) if info.path in NAMES}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cleaning")
    target = generated(30, seed=7)
    (folder / "target.jsonl").write_text("\n".join(json.dumps({"text": d.text}) for d in target))
    rows = [{"sentence": " ".join(d.text.split()[3:20])} for d in generated(40)[::5]]
    (folder / "task.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def settings_for(name: str, folder: Path) -> dict[str, Any]:
    """What a stage cannot do without, and what makes it bite on generated text."""
    return {
        "decontaminate": {"tasks": [], "files": [str(folder / "task.jsonl")]},
        "resample": {"target": str(folder / "target.jsonl"), "buckets": 500},
        "quality": {"embedding": {"kind": "tfidf-svd", "width": 8}},
        "rules": {"min_words": 20, "max_repeated_lines": 0.1},
        "exact": {"length": 40},
    }.get(name, {})


@pytest.fixture(params=NAMES)
def stage(request: pytest.FixtureRequest, files: Path) -> Stage:
    plain = {"kind": KINDS[request.param], **settings_for(request.param, files)}
    return Cleaning.model_validate({request.param: plain}).stages()[0]


def corpus() -> list[Document]:
    """Generated documents, copies of some, pieces of others, and texts that are none."""
    plain = generated(40)
    copies = [Document(f"copy-{d.id}", d.text) for d in plain[:5]]
    quoting = [Document(f"quote-{d.id}", f"As was said: {d.text[100:300]} Indeed.") for d in plain[5:10]]
    odd = ["", "   ", "\n\n", "ünïcödé “quotes” … 你好 世界", "a\0b", "x" * 500, "\ud800 lone", "12345 " * 40]
    return plain + copies + quoting + [Document(f"odd-{i}", text) for i, text in enumerate(odd)]


@pytest.mark.parametrize("seed", range(4))
def test_shards_in_any_number_and_order_give_the_same_documents_and_report(stage: Stage, seed: int) -> None:
    whole, report = cleaned(stage, corpus())
    chance = random.Random(seed)
    shuffled = corpus()
    chance.shuffle(shuffled)
    cuts = sorted(chance.sample(range(len(shuffled)), seed))
    shards = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(shuffled)], strict=True)]
    kept, again = cleaned(stage, *shards)
    assert texts_of(kept) == texts_of(whole)
    assert again == report


def test_counts_add_up_and_the_report_survives_json(stage: Stage) -> None:
    kept, report = cleaned(stage, corpus())
    assert report.documents_in == len(corpus())
    assert report.characters_in == sum(len(d.text) for d in corpus())
    assert report.documents_out == len(kept) == report.documents_in - sum(report.dropped.values())
    assert report.characters_out == sum(len(d.text) for d in kept)
    assert report.stage == stage.name
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_it_does_something_and_says_what(stage: Stage) -> None:
    kept, report = cleaned(stage, corpus())
    assert texts_of(kept) != texts_of(corpus())
    assert report.dropped or report.changed
    assert {example.reason for example in report.dropped_examples} <= set(report.dropped)


def test_documents_keep_their_order(stage: Stage) -> None:
    kept, _ = cleaned(stage, corpus())
    places = {document.id: i for i, document in enumerate(corpus())}
    assert [d.id for d in kept] == sorted((d.id for d in kept), key=places.__getitem__)


def test_partials_and_states_travel_between_processes(stage: Stage, tmp_path: Path) -> None:
    shards = [corpus()[:30], corpus()[30:]]
    partials = [pickle.loads(pickle.dumps(stage.scan(s, tmp_path))) for s in shards] if stage.scans else []
    state = pickle.loads(pickle.dumps(stage.combine(reversed(partials), tmp_path)))
    report = Report(stage.name)
    kept = [d for shard in shards for d in pickle.loads(pickle.dumps(stage)).apply(shard, state, report)]
    assert texts_of(kept) == texts_of(cleaned(stage, corpus())[0])


def test_an_empty_corpus_stays_empty_or_is_refused_by_what_learns_from_it(stage: Stage) -> None:
    if stage.name in ("quality", "dsir"):
        with pytest.raises(DataError, match="the corpus has none"):
            cleaned(stage, [], [])
        return
    kept, report = cleaned(stage, [], [])
    assert kept == []
    assert report.documents_in == 0


def test_a_stage_is_plain_data_without_problems(stage: Stage) -> None:
    assert stage.problems() == []
    json.dumps(stage.fingerprint())
    assert type(stage).model_validate(stage.model_dump()) == stage
    assert stage.breaks_strict is None or stage.name == "language"


def test_a_bare_name_stands_for_a_stage_with_its_defaults() -> None:
    for name, kind in KINDS.items():
        assert Cleaning.model_validate({name: kind}) == Cleaning.model_validate({name: {"kind": kind}})


def test_by_default_nothing_is_cleaned_and_stages_run_in_the_order_of_the_fields() -> None:
    assert Cleaning().stages() == []
    everything = Cleaning.model_validate(KINDS)
    assert everything.stages() == [getattr(everything, name) for name in NAMES]
