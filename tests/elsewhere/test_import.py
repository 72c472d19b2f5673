"""Runs from elsewhere: a table or a W&B project becomes a study that every reading command accepts."""

import json
from pathlib import Path

import pytest

from ablate.elsewhere import RunsError
from ablate.elsewhere.bring import bring
from ablate.elsewhere.table import read_csv
from ablate.records import load_records, read_study
from ablate.report import load_findings, render_table, write_report
from ablate.scheduling.status import status

TABLE = """arm,block,glue/average,eval/mlm_loss
base,0,78.1,2.10
base,1,78.4,2.11
base,2,77.9,2.09
model.norm=rmsnorm,0,78.15,2.10
model.norm=rmsnorm,1,78.43,2.10
model.norm=rmsnorm,2,77.92,2.09
model.position=none,0,70.1,2.60
model.position=none,1,70.9,2.61
model.position=none,2,70.2,2.60
"""
TERMS = {"baseline": "base", "outcome": "glue/average", "margin": 0.5}


def table(tmp_path: Path, text: str = TABLE) -> str:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    return str(path)


def test_a_table_becomes_a_study_with_verdicts(tmp_path):
    root = bring(table(tmp_path), tmp_path / "runs", **TERMS)
    assert root == tmp_path / "runs" / "mine"
    verdicts = {arm: c.verdict for arm, c in load_findings(root).contrasts.items()}
    assert verdicts == {"model.norm=rmsnorm": "equivalent", "model.position=none": "hurts"}


def test_every_reading_command_accepts_it(tmp_path):
    root = bring(table(tmp_path), tmp_path / "runs", **TERMS)
    assert "hurts" in render_table(root)
    page = write_report(root)
    assert page.read_text().startswith("<!")
    assert status(root).to_dict()["counts"] == {"complete": 9}
    results = json.loads((root / "report" / "negative-results.json").read_text())["results"]
    assert [r["difference"] for r in results][0] == [["model.position", "baseline", "none"]]
    assert "ablate import mine.csv --baseline base" in (root / "report" / "negative-results.md").read_text()


def test_what_was_declared_at_import_is_said(tmp_path):
    root = bring(table(tmp_path), tmp_path / "runs", **TERMS)
    assert any("declared at import, after the runs" in note for note in load_findings(root).notes)


def test_minimizing_turns_the_verdict(tmp_path):
    source = table(tmp_path, TABLE.replace("glue/average", "glue/error_x"))
    terms = {**TERMS, "outcome": "glue/error_x"}
    up = bring(source, tmp_path / "up", **terms, direction="maximize")
    down = bring(source, tmp_path / "down", **terms, direction="minimize")
    assert load_findings(up).contrasts["model.position=none"].verdict == "hurts"
    assert load_findings(down).contrasts["model.position=none"].verdict == "helps"


def test_without_blocks_arms_are_compared_unpaired(tmp_path):
    text = "arm,accuracy\n" + "".join(f"{arm},{x}\n" for arm, x in [
        ("a", 70), ("a", 71), ("a", 72), ("b", 80), ("b", 81.5), ("b", 82)])  # fmt: skip
    root = bring(table(tmp_path, text), tmp_path / "runs", baseline="a", outcome="accuracy", margin=1.0)
    found = load_findings(root)
    assert not found.paired
    assert found.outcome.metric == "runs/accuracy"
    assert found.contrasts["b"].verdict == "helps"
    assert found.contrasts["b"].unpaired.dunnett_p < 0.01
    assert any("unpaired" in note for note in found.notes)
    assert "Welch" in found.contrasts["b"].reason


def test_states_empty_and_non_finite_cells(tmp_path):
    text = TABLE.replace("70.1,2.60", ",2.60").replace("none,1,70.9,2.61", "none,1,nan,inf")
    root = bring(table(tmp_path, text + "model.position=none,3,,\n"), tmp_path / "runs", **TERMS)
    arm = load_findings(root).arm("model.position=none")
    assert arm.completed == 1
    assert arm.failures == {"no outcome": 3}
    assert arm.contrast.verdict == "inconclusive"
    text = "arm,block,state,reason,m\nbase,0,,,1\nb,0,diverged,loss is nan,\n"
    root = bring(table(tmp_path, text), tmp_path / "more", baseline="base", outcome="m", margin=1)
    assert load_findings(root).arm("b").failures == {"diverged": 1}


def test_every_problem_of_a_table_is_told_at_once_and_nothing_is_written(tmp_path):
    text = "arm,block,glue/average\nbase,0,good\n,1,3\nbase,x,1,2\n"
    with pytest.raises(RunsError) as error:
        bring(table(tmp_path, text), tmp_path / "runs", **TERMS)
    told = str(error.value)
    assert "mine.csv:2: glue/average: a number, or nothing; got 'good'" in told
    assert "mine.csv:3: the arm is empty" in told
    assert "mine.csv:4: more cells than columns" in told
    assert not (tmp_path / "runs").exists()


def test_wrong_terms_name_the_nearest(tmp_path):
    doubled = TABLE + "base,0,1,1\nlate,,1,1\n"
    with pytest.raises(RunsError) as error:
        bring(table(tmp_path, doubled), tmp_path / "runs", baseline="bas", outcome="glue/avg", margin=0)
    told = str(error.value)
    for words in ("did you mean 'base'", "did you mean 'glue/average'", "margin must be above 0",
                  "2 runs of arm 'base' on block 0 (line 2, line 11)", "no block, while other runs have one"):  # fmt: skip
        assert words in told
    with pytest.raises(RunsError, match="needs a column 'arm'"):
        read_csv(Path(table(tmp_path, "name,x\n1,2\n")))


def test_an_existing_folder_is_never_overwritten(tmp_path):
    bring(table(tmp_path), tmp_path / "runs", **TERMS)
    with pytest.raises(RunsError, match="another --name"):
        bring(table(tmp_path), tmp_path / "runs", **TERMS)
    assert bring(table(tmp_path), tmp_path / "runs", **TERMS, name="again").name == "again"


def test_blocks_are_in_the_order_of_their_numbers(tmp_path):
    text = "arm,block,m\n" + "".join(f"{a},{b},{b}\n" for a in ("x", "y") for b in (10, 2))
    root = bring(table(tmp_path, text), tmp_path / "runs", baseline="x", outcome="m", margin=1)
    assert read_study(root).blocks == [2, 10]
    assert {(r.block, r.seed) for r in load_records(root)[0]} == {(0, 2), (1, 10)}
