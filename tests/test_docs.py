"""The documents speak of what is there: links resolve, commands exist, examples load."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from ablate.cli import app
from ablate.scheduling import listing
from ablate.study import Study

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)


@each_document
def test_local_links_resolve(path):
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text())
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert not missing


@each_document
def test_commands_exist(path):
    known = set(get_command(app).commands)
    named = set(re.findall(r"`ablate ([a-z]+)", path.read_text()))
    assert named <= known, named - known


@each_document
def test_files_that_are_named_exist(path):
    named = re.findall(
        r"`((?:ablate|studies|docs|tests|dashboards)/[\w./-]+\.(?:py|yaml|md|json|svg))`", path.read_text()
    )
    assert all((ROOT / name).exists() for name in named), [n for n in named if not (ROOT / n).exists()]


def test_the_readmes_study_is_the_quickstart():
    block = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block
    shown, real = yaml.safe_load(block[1]), yaml.safe_load((ROOT / "studies/quickstart.yaml").read_text())
    assert {key: real[key] for key in shown} == shown


@pytest.mark.slow
@pytest.mark.representative
def test_the_readmes_diff_adds_a_norm_that_conforms(tmp_path):
    diff = re.search(r"```diff\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert diff
    assert re.findall(r"^\+\+\+ b/(.*)$", diff[1], re.MULTILINE) == ["ablate/model/norm.py"]
    for part in ("ablate", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "README.md", tmp_path)
    subprocess.run(["git", "apply"], input=diff[1], cwd=tmp_path, check=True, text=True)
    tried = ["tests/conformance/test_conformance.py", "-k", "left_out or l1norm", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *tried],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    # Nothing left out; seven tests of the level and seven of its one setting.
    assert "15 passed" in run.stdout, run.stdout
    assert "failed" not in run.stdout, run.stdout


def test_the_page_of_knobs_is_current():
    """Written by the command that it names."""
    command = "ablate knobs --format page --findings docs/findings"
    found = listing.read_findings(ROOT / "docs/findings")
    assert (ROOT / "docs/knobs.md").read_text() == listing.page(listing.rows(), found, command) + "\n"


def test_the_makefile_explains_every_target():
    text = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"\.PHONY: (.*)", text)[1].split())
    assert targets == set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))


def test_the_readmes_own_task_example_is_a_valid_evaluate_section(tmp_path):
    block = re.search(r"```yaml\n(evaluate:.*?)```", (ROOT / "docs/study-files.md").read_text(), re.DOTALL)
    assert block
    for split in ("train", "validation"):
        (tmp_path / f"{split}.csv").write_text("premise,hypothesis,label\na,b,0\nc,d,1\n")
    text = block[1].replace("$ABLATE_DATA/extra/lingnli", str(tmp_path))
    study = tmp_path / "own.yaml"
    study.write_text(
        "question: Own?\nbaseline: crammed-small\nbudget: 3 steps\ndesign: {factors: {model.position: [none]}}\n"
        "outcome: {metric: tasks/lingnli, margin: 1}\n" + text
    )
    assert Study.load(study).file.evaluate.metrics() == ["tasks/lingnli"]
