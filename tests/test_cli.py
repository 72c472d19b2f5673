"""The command line: exit codes, streams, and what is never imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ablate.records import FrozenArm, FrozenStudy, StudyPaths, write_json
from tests.commands import ablate

ROOT = Path(__file__).parent.parent
STUDY = """
name: {name}
question: Does it work?
baseline:
  preset: crammed-small
  set: {{model.layers: 1, model.width: 32, model.intermediate: 64, model.heads: 2, data.source: {{kind: grammar, megabytes: 0.3}},
        data.tokenizer.vocabulary: 512, data.length: 32, train.batch: 16, train.micro_batch: 16, train.precision: fp32,
        train.compile: false}}
budget: 20 steps
design: {{kind: one-factor, factors: {{model.position: [none]}}, blocks: 2}}
outcome: {{metric: eval/mlm_loss, margin: 0.1}}
run: {{workers: 2, checkpoint_seconds: 1}}
"""  # noqa: E501


def started(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command as a process: streams and exit code of all that is in it, libraries and children too."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, "-m", "ablate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=280)


def test_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert started("--version").stdout == f"{project['version']}\n"


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """A run folder with one complete block, as a run leaves it."""
    root = tmp_path / "runs" / "done"
    budget = {"unit": "seconds", "amount": 10.0}
    arms = [FrozenArm(name="baseline", recipe={}, budget=budget),
            FrozenArm(name="b", recipe={}, budget=budget, changes={"x": [1, 2]}, reference="baseline")]  # fmt: skip
    frozen = FrozenStudy(
        schema=1, name="done", question="Is it done?", created="2025-01-01T00:00:00+00:00", family=["b"],
        outcome={"metric": "test/score", "margin": 1.0, "higher_is_better": True}, design="one-factor",
        budget=budget, blocks=[0, 1], arms=arms,
        trials={f"{arm}{block}": [arm, block] for block in range(2) for arm in ("baseline", "b")},
    )  # fmt: skip
    write_json(StudyPaths(root).study, frozen)
    for trial, (arm, block) in frozen.trials.items():
        record = {
            "schema": 1, "study": "done", "trial": trial, "arm": arm, "block": block, "seed": block, "recipe": {},
            "budget": budget, "state": "complete", "metrics": {"test/score": 50.0 + block + 3 * (arm == "b")},
        }  # fmt: skip
        write_json(StudyPaths(root).trial(trial).record, record)
    return root


LIGHT = """
import sys
sys.argv = ["ablate", *{arguments!r}]
from ablate.cli import main
try:
    main()
except SystemExit as error:
    assert not error.code, error.code
heavy = sorted({{"torch", "lightning", "optuna", "wandb"}} & set(sys.modules))
assert not heavy, heavy
"""


@pytest.mark.parametrize("command", ["--help", "status", "table", "report"])
def test_reading_commands_load_no_torch(ran: Path, command: str) -> None:
    arguments = [command] if command.startswith("-") else [command, str(ran)]
    done = subprocess.run(
        [sys.executable, "-c", LIGHT.format(arguments=arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_status_as_json_is_json_alone(ran: Path) -> None:
    done = started("status", ran, "--format", "json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["counts"] == {"complete": 4}
    assert done.stderr == ""


@pytest.mark.parametrize("form", ["latex", "markdown", "csv", "html"])
def test_the_table_goes_to_standard_output_in_every_format(ran: Path, form: str) -> None:
    done = ablate("table", ran, "--format", form)
    assert done.returncode == 0
    assert "baseline" in done.stdout
    assert done.stderr == ""


def test_report_prints_the_path_of_its_page(ran: Path) -> None:
    done = ablate("report", ran)
    assert done.returncode == 0
    assert Path(done.stdout.strip()).read_text().startswith("<!")


def test_a_run_folder_is_found_by_name_and_the_nearest_is_suggested(ran: Path) -> None:
    assert ablate("status", "done", "--runs", ran.parent).returncode == 0
    missing = ablate("status", "dne", "--runs", ran.parent)
    assert missing.returncode == 2
    assert "done" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_a_study_that_was_not_run_says_how_to_run_it(tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text(STUDY.format(name="new"))
    done = ablate("status", tmp_path / "new.yaml", "--runs", tmp_path / "runs")
    assert done.returncode == 2
    assert "ablate run" in done.stderr


def test_a_command_to_copy_quotes_a_name_with_spaces(tmp_path: Path) -> None:
    (tmp_path / "my study.yaml").write_text(STUDY.format(name="new"))
    said = ablate("status", tmp_path / "my study.yaml", "--runs", tmp_path / "runs").stderr
    assert f"`ablate run '{tmp_path}/my study.yaml'`" in said


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_findings_that_cannot_be_read_are_told(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "findings.json").write_text(text)
    done = ablate("knobs", "--format", "page", "--findings", tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert str(tmp_path) in done.stderr


@pytest.mark.parametrize(
    ("option", "says"), [("--device", "cpu or cuda"), ("--precision", "fp32, tf32, bf16")]
)
def test_a_device_or_precision_that_there_is_not_is_told(option: str, says: str) -> None:
    done = ablate("bench", option, "tpu")
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert "got 'tpu'" in done.stderr


def test_pretraining_on_text_that_is_not_there_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("data: {source: {kind: files, train: nowhere/*.txt}}\n")
    done = ablate("pretrain", tmp_path / "own.yaml", "--budget", "1s", "--runs", tmp_path / "runs")
    assert done.returncode == 2
    assert "nowhere/*.txt" in done.stderr
    assert not (tmp_path / "runs").exists(), "nothing is written"


@pytest.mark.parametrize("command", ["plan", "run"])
def test_every_error_of_a_study_file_is_told_at_once_with_its_line(tmp_path: Path, command: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        STUDY.format(name="bad")
        .replace("budget: 20 steps", "budget: 20 stones")
        .replace("blocks: 2", "bloks: 2")
    )
    done = ablate(command, file, "--runs", tmp_path / "runs")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "bad.yaml:9: budget" in done.stderr
    assert "bad.yaml:10: design.bloks" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists(), "nothing is written"


def test_plan_shows_arms_trials_and_resolution_and_starts_nothing(tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    file.write_text(STUDY.format(name="new"))
    done = ablate("plan", file, "--runs", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    assert "2 arms × 2 blocks = 4 trials" in done.stdout
    assert "scaled-sinusoidal → none" in done.stdout
    assert not (tmp_path / "runs").exists()
    found = json.loads(ablate("plan", file, "--runs", tmp_path / "runs", "--format", "json").stdout)
    assert found["trials"] == 4


def test_knobs_list_domain_crammed_and_bert_values_from_the_presets() -> None:
    rows = {row["knob"]: row for row in json.loads(ablate("knobs", "--format", "json").stdout)}
    assert (rows["model.layers"]["crammed"], rows["model.layers"]["bert"]) == ("16", "12")
    assert rows["model.position[rope].theta"]["crammed"] == "–"
    assert "post" in rows["model.norm_placement"]["domain"]
    assert all(row["meaning"] for row in rows.values())


def test_schema_is_json_with_the_knobs_in_it() -> None:
    found = json.loads(ablate("schema").stdout)
    assert "model.norm_placement" in json.dumps(found)


def test_wrong_usage_and_unknown_commands_exit_2() -> None:
    assert started("nosuch").returncode == 2
    for arguments in (
        ["nosuch"],
        ["status"],
        ["plan", "x.yaml", "--nosuch"],
        ["table", "x", "--format", "pdf"],
    ):
        done = ablate(*arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_an_unknown_recipe_and_a_wrong_budget_are_explained() -> None:
    wrong = ablate("pretrain", "crammed-bret", "--budget", "1s")
    assert wrong.returncode == 2
    assert "did you mean 'crammed-bert'" in wrong.stderr
    wrong = ablate("pretrain", "crammed-small", "--budget", "1 stone")
    assert wrong.returncode == 2
    assert "a budget is an amount and a unit" in wrong.stderr


@pytest.mark.slow
@pytest.mark.representative
def test_the_whole_path_from_a_study_file_to_the_table(tmp_path: Path) -> None:
    file = tmp_path / "whole.yaml"
    file.write_text(STUDY.format(name="whole").replace("blocks: 2", "blocks: 1"))
    runs = tmp_path / "runs"
    done = started("run", file, "--runs", runs)
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout
    assert "model.position=none" in done.stdout.replace("\n", "")
    found = json.loads(ablate("status", file, "--runs", runs, "--format", "json").stdout)
    assert found["counts"] == {"complete": 2}
    assert all(t["spent"]["steps"] == 20 for t in found["trials"])
    again = ablate("run", file, "--runs", runs)
    assert again.returncode == 0
    assert "nothing to start" in again.stderr
    record = json.loads(next((runs / "whole" / "trials").glob("*/record.json")).read_text())
    assert {"hardware", "versions", "git", "streams", "data"} <= set(record)
    assert record["attempts"][0]["ended"]
