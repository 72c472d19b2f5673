"""Earlier negative results are found in folders and git repositories, by knob and level."""

import json
import subprocess

import pytest

from ablate.elsewhere import RunsError
from ablate.elsewhere.known import known, text
from ablate.report import write_report
from tests.analysis import synthetic


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    frozen = synthetic.study()
    synthetic.write(root / "one", frozen, synthetic.records(frozen), curves=False)
    write_report(root / "one")
    (root / "torn").mkdir()
    (root / "torn" / "negative-results.json").write_text("{")
    return root


def test_a_level_is_found_with_its_verdict_and_setting(folder):
    found = known("model.position=none", str(folder))
    assert [k.verdict for k in found.found] == ["hurts"]
    assert found.found[0].difference == ("model.position: scaled-sinusoidal → none",)
    assert found.found[0].budget == "90s"
    assert "hurts by" in text(found)


def test_the_end_of_a_path_and_a_knob_alone_are_enough(folder):
    assert len(known("position=none", str(folder)).found) == 1
    assert len(known("position", str(folder)).found) == 1
    assert known("osition=none", str(folder)).found == ()
    assert known("position=non", str(folder)).found == ()


def test_what_helps_or_is_open_is_not_known_as_negative(folder):
    found = known("model.position=rope", str(folder))
    assert found.found == ()
    assert "Nothing known" in text(found)


def test_a_torn_file_is_named_and_the_others_are_read(folder):
    found = known("position", str(folder))
    assert found.files == 2
    assert "torn/negative-results.json" in found.problems[0]


@pytest.mark.parametrize("bare", [False, True])
def test_a_git_repository_is_searched(folder, tmp_path, bare):
    work = tmp_path / "work"
    work.mkdir()
    results = json.loads((folder / "one" / "report" / "negative-results.json").read_text())
    (work / "negative-results.json").write_text(json.dumps(results))
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "results"]):
        subprocess.run(["git", "-C", str(work), *command], check=True)
    place = str(work)
    if bare:
        place = str(tmp_path / "bare.git")
        subprocess.run(["git", "clone", "-q", "--bare", str(work), place], check=True)
    assert len(known("position=none", place if bare else f"file://{work}").found) == 1


def test_places_that_are_nothing_are_refused(tmp_path):
    with pytest.raises(RunsError, match="neither a folder"):
        known("a=b", str(tmp_path / "missing"))
    with pytest.raises(RunsError, match="cannot be cloned"):
        known("a=b", f"file://{tmp_path}/none.git")
    with pytest.raises(RunsError, match="say what to look for"):
        known("=b", str(tmp_path))
