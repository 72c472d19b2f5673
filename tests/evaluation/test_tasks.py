"""Which tasks run, what is wrong with an `evaluate:` section, and labels as users write them."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from ablate.evaluation import EvaluateSpec, TaskError, check, majority, scale, tfidf
from ablate.evaluation.config import GlueSpec
from ablate.evaluation.tasks import glue_task, load, resolve
from tests.evaluation.conftest import sentences, write

real = pytest.mark.skipif(
    not os.environ.get("ABLATE_DATA"), reason="ABLATE_DATA is unset: no real tasks here"
)


def spec(**sections) -> EvaluateSpec:
    return EvaluateSpec.model_validate(sections)


def own(folder, **changes):
    return spec(tasks={"mine": {"path": str(folder), "text": "sentence"} | changes})


# --- what is asked for -------------------------------------------------------------------------------


def test_an_empty_section_asks_for_no_task():
    assert resolve(spec()) == []
    assert spec().metrics() == []
    assert check(spec()) == []
    assert scale(spec()) == {}


def test_glue_is_by_default_what_is_present(glue):
    assert spec(glue={}).metrics() == ["glue/sst2", "glue/cola", "glue/stsb", "glue/average"]


def test_glue_is_the_papers_nine_numbers_where_all_is_there(monkeypatch):
    monkeypatch.delenv("ABLATE_DATA", raising=False)  # then the hub serves them
    names = [name.removeprefix("glue/") for name in spec(glue={}).metrics()]
    assert sorted(names) == sorted(
        ["mnli_m", "mnli_mm", "qqp", "qnli", "sst2", "cola", "stsb", "mrpc", "rte", "average"]
    )


def test_the_papers_metrics_decide():
    chosen = {
        name: glue_task(name, GlueSpec()).metric for name in ("cola", "mrpc", "qqp", "stsb", "rte", "mnli")
    }
    assert chosen == {
        "cola": "mcc", "mrpc": "f1", "qqp": "f1", "stsb": "pearson", "rte": "accuracy", "mnli": "accuracy",
    }  # fmt: skip


def test_wnli_is_outside_the_average():
    assert "glue/average" not in spec(glue={"tasks": ["wnli"]}).metrics()


def test_grammar_tasks_load_and_have_both_splits():
    for task in resolve(spec(grammar={"max_train": 50})):
        data = load(task)
        assert len(data.train) == 50
        assert len(data.validation[task.name]) > 0
        assert (data.outputs == 1) == task.regression


def test_max_train_keeps_the_same_examples_and_can_differ_by_task(glue):
    tasks = resolve(spec(glue={"tasks": ["sst2", "cola"], "max_train": {"sst2": 10}}))
    first, again = load(tasks[0]), load(tasks[0])
    assert len(first.train) == 10
    assert first.train.first == again.train.first
    assert len(load(tasks[1]).train) == 40


def test_names_and_checks_are_known_without_torch_or_pandas():
    code = (
        "import sys; from ablate.evaluation import EvaluateSpec, FinetuneConfig, check;"
        "s = EvaluateSpec(glue={}, grammar={}); s.metrics(); check(s);"
        "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# --- what is wrong -----------------------------------------------------------------------------------


def told(section, *words):
    [message] = check(section)
    assert all(word in message for word in words), message


def test_an_unknown_task_gets_the_nearest_name(glue):
    told(spec(glue={"tasks": ["sst2", "colla"]}), "'colla'", "did you mean 'cola'?")
    told(spec(grammar={"tasks": ["sentimnt"]}), "'sentimnt'", "did you mean 'sentiment'?")
    told(spec(glue={"tasks": ["sst2"], "max_train": {"sst": 5}}), "'sst'", "did you mean 'sst2'?")


def test_a_task_without_a_split_is_named_with_those_that_are_complete(glue):
    write(glue / "glue" / "qnli", lambda n, s: sentences(n, s).rename(columns={"sentence": "question"}))
    (glue / "glue" / "qnli" / "train.parquet").unlink()
    messages = check(spec(glue={"tasks": ["sst2", "qnli"]}))
    assert "'qnli' needs a train split" in messages[0]
    assert "present: sst2, cola, stsb" in messages[0]
    assert any("reads column 'sentence'" in message for message in messages[1:])


def test_a_task_whose_folder_is_missing_is_told_once(glue):
    told(spec(glue={"tasks": ["mrpc"]}), "'mrpc' is not below ABLATE_DATA", "present: sst2, cola, stsb")


def test_a_wrong_data_folder_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("ABLATE_DATA", str(tmp_path / "nowhere"))
    told(spec(glue={}), "no folder glue", "nowhere")


def test_the_diagnostic_set_needs_the_mnli_model(monkeypatch):
    monkeypatch.delenv("ABLATE_DATA", raising=False)
    told(spec(glue={"tasks": ["ax"]}), "predicted by the MNLI model", "add mnli")
    [mnli] = resolve(spec(glue={"tasks": ["mnli", "ax"]}))
    assert list(mnli.unlabelled) == ["ax"]


def test_a_task_listed_twice_or_named_like_another_is_told(glue):
    assert any("listed 2 times" in message for message in check(spec(glue={"tasks": ["cola", "cola"]})))
    told(
        spec(glue={"tasks": ["cola"]}, tasks={"cola": {"path": f"{glue}/glue/sst2", "text": "sentence"}}),
        "'cola' already names a task of glue",
    )


def test_a_users_missing_file_and_missing_column_are_told(tmp_path):
    folder = write(tmp_path / "mine", sentences)
    assert check(own(folder)) == []
    messages = check(own(folder, text=["sentense"]))
    assert len(messages) == 2
    assert "did you mean 'sentence'?" in messages[0]
    (folder / "validation.parquet").unlink()
    told(own(folder), "needs a validation split", "validation.parquet does not exist")


def test_a_file_that_is_no_parquet_is_told(tmp_path):
    folder = write(tmp_path / "mine", sentences)
    (folder / "train.parquet").write_bytes(b"PAR1 torn")
    told(own(folder), "train.parquet cannot be read")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"text": "sentence"}, "either `path`"),
        ({"text": "sentence", "path": "a", "train": "b"}, "either `path`"),
        ({"text": "sentence", "train": "b"}, "either `path`"),
        ({"text": "sentence", "path": "a", "metric": "pearson", "classes": 3}, "regression"),
        ({"text": [], "path": "a"}, "at least 1"),
        ({"text": "sentence", "path": "a", "max_train": 0}, "at least 1"),
    ],
)
def test_a_contradictory_task_is_refused(wrong, words):
    with pytest.raises(ValidationError, match=words):
        spec(tasks={"mine": wrong})


# --- labels ------------------------------------------------------------------------------------------


def changed(label):
    return lambda n, s: sentences(n, s).assign(label=lambda f: f["label"].map(label))


def test_labels_may_be_words_and_are_numbered_in_order(tmp_path):
    [task] = resolve(own(write(tmp_path / "mine", changed({0: "no", 1: "yes"}))))
    data = load(task)
    assert data.outputs == 2
    assert data.train.labels.tolist() == sentences(64, 1)["label"].tolist()


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv"])
def test_other_formats_are_read_alike(tmp_path, suffix):
    folder = write(tmp_path / "mine", sentences)
    for split in ("train", "validation"):
        frame = pd.read_parquet(folder / f"{split}.parquet")
        path = folder / f"{split}.{suffix}"
        if suffix == "jsonl":
            frame.to_json(path, orient="records", lines=True)
        else:
            frame.to_csv(path, sep="\t" if suffix == "tsv" else ",", index=False)
    own_files = {split: str(folder / f"{split}.{suffix}") for split in ("train", "validation")}
    section = spec(tasks={"mine": {"text": "sentence", **own_files}})
    assert check(section) == []
    [task], [parquet] = resolve(section), resolve(own(folder))
    assert load(task).train.first == load(parquet).train.first
    assert np.array_equal(load(task).train.labels, load(parquet).train.labels)


@pytest.mark.parametrize(
    ("make", "changes", "words"),
    [
        (
            lambda n, s: sentences(n, s).replace({"label": {1: s}}),
            {},
            "holds '2', which is none of its classes",
        ),
        (changed({0: 0, 1: 1}), {"classes": 5, "metric": "f1"}, "f1 is for two classes"),
        (changed({0: "a", 1: "b"}), {"classes": 3}, "its training labels have 2 values"),
        (changed({0: 0, 1: 0}), {}, "needs 2 to 1000 classes"),
        (changed({0: "a", 1: "b"}), {"metric": "pearson"}, "finite numbers"),
        (changed({0: 0, 1: None}), {}, "needs 2 to 1000 classes"),
        (lambda n, s: sentences(n, s).assign(sentence=None), {}, "a text in every row"),
        (lambda n, s: sentences(n, s).assign(label=range(n)), {"metric": "f1"}, "f1 is for two classes"),
        (
            lambda n, s: sentences(n if s == 1 else 0, s).reindex(columns=["sentence", "label"]),
            {},
            "without rows",
        ),
    ],
)
def test_unusable_labels_and_texts_are_named(tmp_path, make, changes, words):
    [task] = resolve(own(write(tmp_path / "mine", make), **changes))
    with pytest.raises(TaskError, match=words):
        load(task)


# --- scores for scale --------------------------------------------------------------------------------


def test_the_scale_is_computed_once_and_kept(glue, tmp_path):
    section = spec(glue={})
    found = scale(section, tmp_path / "scale")
    assert set(found) == {"majority", "tf-idf"}
    assert set(found["majority"]) == set(section.metrics())
    assert found["tf-idf"]["glue/sst2"] > 90  # two words decide this task
    [kept] = (tmp_path / "scale").iterdir()
    before = kept.stat().st_mtime_ns
    assert scale(section, tmp_path / "scale") == found
    assert kept.stat().st_mtime_ns == before
    scale(spec(glue={"max_train": 20}), tmp_path / "scale")
    assert len(list((tmp_path / "scale").iterdir())) == 2


@real
@pytest.mark.parametrize(
    ("name", "accuracy"), [("cola", 0.691), ("sst2", 0.509), ("mrpc", 0.684), ("rte", 0.527), ("wnli", 0.563)]
)
def test_the_majority_of_real_tasks_is_the_known_one(name, accuracy):
    from dataclasses import replace

    task = replace(glue_task(name, GlueSpec()), metric="accuracy")
    if check(spec(glue={"tasks": [name]})):
        pytest.skip(f"ABLATE_DATA has no {name}")
    assert majority(task)[f"glue/{name}"] == pytest.approx(100 * accuracy, abs=0.05)


@real
def test_tf_idf_beats_the_majority_on_real_pairs():
    task = glue_task("stsb", GlueSpec())
    if check(spec(glue={"tasks": ["stsb"]})):
        pytest.skip("ABLATE_DATA has no stsb")
    assert tfidf(task)["glue/stsb"] > 50 > majority(task)["glue/stsb"] == 0.0
