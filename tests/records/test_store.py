"""Records are written whole or not at all, and damage is told, never guessed around."""

import json
import math

import pytest
from pydantic_core import PydanticSerializationError

from ablate.records import SCHEMA, Record, StudyPaths, load_records, read_json, read_study, write_json
from ablate.records.store import RecordError, read_record


def record(**changes):
    fields = {
        "study": "s", "trial": "abc", "arm": "baseline", "block": 0, "seed": 7, "state": "complete",
        "recipe": {}, "budget": {"unit": "steps", "amount": 3}, "metrics": {"eval/mlm_loss": 2.5},
    }  # fmt: skip
    return Record.model_validate({**fields, **changes})


def test_a_record_survives_the_disk_non_finite_numbers_included(tmp_path):
    path = tmp_path / "a" / "record.json"
    write_json(path, record(metrics={"eval/mlm_loss": math.nan, "pretrain/loss": math.inf}))
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    metrics = read_record(path).metrics
    assert math.isnan(metrics["eval/mlm_loss"])
    assert metrics["pretrain/loss"] == math.inf


def test_nothing_but_the_file_remains_and_a_failed_write_keeps_the_old_one(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"a": 1})
    with pytest.raises(PydanticSerializationError, match="unknown type"):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_torn_newer_and_wrong_records_are_reported_and_the_good_ones_read(tmp_path):
    paths = StudyPaths(tmp_path)
    write_json(paths.trial("good").record, record())
    for name, text in {
        "torn": '{"study": "s", "tri',
        "newer": json.dumps({"schema": SCHEMA + 1}),
        "wrong": json.dumps({"study": "s"}),
        "list": "[]",
    }.items():
        paths.trial(name).root.mkdir(parents=True)
        paths.trial(name).record.write_text(text)
    records, damage = load_records(tmp_path)
    assert [r.trial for r in records] == ["abc"]
    said = {d.path.parent.name: d.reason for d in damage}
    assert set(said) == {"torn", "newer", "wrong", "list"}
    assert "newer ablate" in said["newer"]
    assert "trial: Field required" in said["wrong"]


def test_unknown_keys_of_a_later_minor_version_are_kept(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {**record().model_dump(by_alias=True), "energy": 3})
    assert read_record(path).model_dump()["energy"] == 3


def test_a_missing_study_says_so(tmp_path):
    with pytest.raises(RecordError, match="does not exist"):
        read_study(tmp_path)
