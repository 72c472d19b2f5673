"""The documented format of findings.json: current, and true of what is written."""

import json
from pathlib import Path

import jsonschema
import pytest
from pydantic import TypeAdapter

import ablate
from ablate.analysis import Findings, analyze
from ablate.analysis.schema import schema
from ablate.report import write_report

from . import synthetic

KEPT = Path(ablate.__file__).parent / "findings.schema.json"


def test_the_kept_schema_is_current():
    assert json.loads(KEPT.read_text()) == schema(), (
        "write it again: ablate schema findings > ablate/findings.schema.json"
    )


def test_every_field_says_what_it_means():
    described = schema()
    parts = {"Findings": described, **described["$defs"]}
    silent = [
        f"{name}.{field}"
        for name, part in parts.items()
        for field, value in part.get("properties", {}).items()
        if not value.get("description")
    ]
    assert not silent, f"a docstring below each of {silent}, with its unit"
    assert all(part.get("description") for part in parts.values())


def test_a_number_in_seconds_or_of_a_metric_names_its_unit():
    parts = schema()["$defs"]
    assert "in seconds" in parts["TrialSummary"]["properties"]["occupied"]["description"]
    for end in ("estimate", "low", "high", "sd", "se"):
        assert "in the metric's unit" in parts["Effect"]["properties"][end]["description"]


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("blocks", [1, 5])
def test_what_a_report_writes_follows_the_schema(tmp_path, blocks, paired):
    frozen = synthetic.study(blocks=blocks, paired=paired)
    records = synthetic.records(frozen)
    records[1] = synthetic.record(records[1].arm, 0, state="diverged", reason="loss is nan")
    synthetic.write(tmp_path, frozen, records)
    write_report(tmp_path)
    written = json.loads((tmp_path / "report" / "findings.json").read_text())
    jsonschema.validate(written, schema())


@pytest.mark.parametrize("paired", [True, False])
def test_findings_can_be_read_back(paired):
    frozen = synthetic.study(paired=paired)
    found = analyze(frozen, synthetic.records(frozen))
    again = TypeAdapter(Findings).validate_json(json.dumps(found.to_dict()))
    assert again.to_dict() == json.loads(json.dumps(found.to_dict()))
