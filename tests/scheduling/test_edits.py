"""A study file edited after it has begun: what is kept, added, left out, and what becomes post hoc."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.recipe import Recipe
from ablate.records import Record, StudyPaths, frozen_study, read_growth, read_study, write_json
from ablate.scheduling.run import adopt_renamed, asked, freeze
from ablate.study import Study
from tests.scheduling.test_growing import ELASTIC, HEAD, SEARCH, TUNE, Runs, loss, noisy

ONE = """
design:
  factors: {model.position: [rope, none]}
  blocks: 2
"""


class Edited:
    """A study file and its run folder; `write` edits, `go` freezes anew as `ablate run` does."""

    def __init__(self, folder: Path) -> None:
        self.file, self.runs = folder / "s.yaml", folder / "runs"

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def go(self) -> None:
        study = Study.load(self.file)
        adopt_renamed(study, self.runs)
        freeze(*asked(study), self.runs / study.name)

    def finish(self, name: str = "s") -> None:
        """Records for every trial that is asked for."""
        study = read_study(self.runs / name)
        for trial, (arm, block) in study.trials.items():
            write_json(
                StudyPaths(self.runs / name).trial(trial).record,
                Record(schema=1, study=name, trial=trial, arm=arm, block=block, seed=block, state="complete",
                       recipe={}, budget={}, metrics={"eval/mlm_loss": 1.0}),
            )  # fmt: skip


@pytest.fixture
def edited(tmp_path: Path) -> Edited:
    return Edited(tmp_path)


def test_added_arms_and_blocks_keep_every_trial_and_are_told(
    edited: Edited, capsys: pytest.CaptureFixture[str]
) -> None:
    edited.write(HEAD + ONE)
    edited.go()
    edited.finish()
    before = set(read_study(edited.runs / "s").trials)
    edited.write(
        HEAD + ONE.replace("[rope, none]", "[rope, none, learned]").replace("blocks: 2", "blocks: 3")
    )
    edited.go()
    after = read_study(edited.runs / "s")
    assert before < set(after.trials)
    assert len(after.trials) == 4 * 3
    assert "added 6 trials" in capsys.readouterr().err
    assert after.post_hoc == ["family changed from model.position=none, model.position=rope to "
                              "model.position=learned, model.position=none, model.position=rope after data had arrived"]  # fmt: skip


def test_more_blocks_alone_are_no_post_hoc_change(edited: Edited) -> None:
    edited.write(HEAD + ONE)
    edited.go()
    edited.finish()
    edited.write(HEAD + ONE.replace("blocks: 2", "blocks: 4"))
    edited.go()
    assert read_study(edited.runs / "s").post_hoc == []


def test_a_changed_margin_is_post_hoc_once_data_is_there(edited: Edited) -> None:
    edited.write(HEAD + ONE)
    edited.go()
    edited.write(HEAD.replace("0.05", "0.1") + ONE)
    edited.go()
    assert read_study(edited.runs / "s").post_hoc == []
    edited.finish()
    edited.write(HEAD.replace("0.05", "0.2") + ONE)
    edited.go()
    assert read_study(edited.runs / "s").post_hoc == ["margin changed from 0.1 to 0.2 after data had arrived"]


def test_a_renamed_study_keeps_its_folder_and_runs_nothing_again(
    edited: Edited, capsys: pytest.CaptureFixture[str]
) -> None:
    edited.write("name: old\n" + HEAD + ONE)
    edited.go()
    edited.finish("old")
    edited.write("name: new\n" + HEAD + ONE)
    edited.go()
    assert not (edited.runs / "old").exists()
    study = read_study(edited.runs / "new")
    assert study.name == "new"
    assert all(StudyPaths(edited.runs / "new").trial(t).record.exists() for t in study.trials)
    assert "under its old name" in capsys.readouterr().err


def test_a_renamed_file_is_the_same_study_and_a_copied_one_is_another(edited: Edited) -> None:
    edited.write(HEAD + ONE)
    edited.go()
    edited.finish()
    copied = edited.file.with_name("copy.yaml")
    copied.write_text(edited.file.read_text())
    adopt_renamed(Study.load(copied), edited.runs)
    assert (edited.runs / "s").exists(), "the file it came from is still there"
    edited.file.unlink()
    adopt_renamed(Study.load(copied), edited.runs)
    assert not (edited.runs / "s").exists()
    assert (edited.runs / "copy").exists()


def test_the_file_is_remembered_by_the_path_that_runs_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    inside, outside = tmp_path / "repository" / "studies", tmp_path / "elsewhere"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "s.yaml").write_text(HEAD + ONE)

    def source(path: Path | str) -> str:
        return asked(Study.load(path))[0].source

    monkeypatch.chdir(inside.parent)
    assert source("studies/s.yaml") == source(inside / "s.yaml") == "studies/s.yaml"
    assert source("../elsewhere/s.yaml") == "../elsewhere/s.yaml"
    monkeypatch.chdir(inside)
    assert source("s.yaml") == "s.yaml"
    monkeypatch.chdir(outside)
    assert source(inside / "s.yaml") == "studies/s.yaml"


def test_a_folder_that_remembers_the_bare_name_is_still_its_files(edited: Edited) -> None:
    """So were studies written until 2026-11-28."""
    edited.write("name: old\n" + HEAD + ONE)
    edited.go()
    edited.finish("old")
    path = StudyPaths(edited.runs / "old").study
    write_json(path, read_study(path.parent).model_copy(update={"source": "s.yaml"}))
    edited.write("name: new\n" + HEAD + ONE)
    edited.go()
    assert read_study(edited.runs / "new").source == str(edited.file)


def test_a_longer_search_goes_on_from_what_it_drew(tmp_path: Path) -> None:
    runs = Runs(tmp_path, HEAD + SEARCH % ("tpe", 3))
    runs.drive(loss)
    edited = Edited(tmp_path)
    edited.write(HEAD + SEARCH % ("tpe", 6))
    edited.go()
    again = Runs.__new__(Runs)
    again.root, again.records, again.starts = runs.root, runs.records, []
    again.drive(loss)
    assert len([arm for arm in again.study.arms if arm.search]) == 6
    assert len(again.starts) == 3


def test_a_search_that_asks_for_another_metric_is_told_its_values_and_not_the_old_ones(
    tmp_path: Path,
) -> None:
    def both(recipe: Recipe, seed: int) -> dict[str, float]:
        found = loss(recipe, seed)
        return {**found, "pretrain/loss": found["eval/mlm_loss"] + 100}

    runs = Runs(tmp_path, HEAD + SEARCH % ("tpe", 3))
    runs.drive(both)
    edited = Edited(tmp_path)
    edited.write(HEAD.replace("eval/mlm_loss", "pretrain/loss") + SEARCH % ("tpe", 5))
    edited.go()
    runs.drive(both)
    values = [t.value for t in runs.searched() if t.state.name == "COMPLETE"]
    assert len(values) >= 5
    assert min(values) > 100


@pytest.mark.parametrize("levels", ["[rope, scaled-sinusoidal, learned]", "[scaled-sinusoidal, learned]"])
def test_a_search_whose_levels_were_edited_goes_on(tmp_path: Path, levels: str) -> None:
    runs = Runs(tmp_path, HEAD + SEARCH % ("random", 3))
    runs.drive(loss)
    edited = Edited(tmp_path)
    wider = SEARCH.replace("[rope, scaled-sinusoidal]", levels)
    if "rope" not in levels:
        wider = wider.replace("    model.position.theta: {low: 1e3, high: 1e6}\n", "")
    edited.write(HEAD + wider % ("random", 12))
    edited.go()
    runs.drive(loss)
    drawn = [arm for arm in runs.study.arms if arm.search]
    assert len(drawn) == 12
    assert any(arm.recipe["model"]["position"]["kind"] == "learned" for arm in drawn)
    runs.starts = []
    runs.drive(loss)
    assert not runs.starts, "nothing is left when it is run again"


def test_a_changed_tuning_is_done_anew_and_its_tries_are_kept(tmp_path: Path) -> None:
    runs = Runs(tmp_path, HEAD + TUNE)
    runs.drive(loss)
    tries = {t for t, (name, _) in runs.study.trials.items() if "#" in name}
    edited = Edited(tmp_path)
    edited.write(HEAD + TUNE.replace("trials: 5", "trials: 7"))
    edited.go()
    kept = read_study(runs.root)
    assert set(kept.trials) == tries, "the comparison follows from the tuning, and waits for it"
    runs.starts = []
    runs.drive(loss)
    assert not tries & set(runs.starts)
    assert len([arm for arm in runs.study.arms if arm.search]) == 14


def test_a_changed_budget_leaves_out_what_was_added_under_the_old_one(tmp_path: Path) -> None:
    runs = Runs(tmp_path, HEAD + SEARCH % ("random", 3))
    runs.drive(loss)
    edited = Edited(tmp_path)
    edited.write(HEAD.replace("10 steps", "11 steps") + SEARCH % ("random", 3))
    edited.go()
    drawn = [arm for arm in read_study(runs.root).arms if arm.search]
    # A drawn arm has the budget of its search; under another one it is another trial, to be asked for anew.
    assert all(arm.budget["amount"] == 11 for arm in drawn) or not drawn


def test_a_changed_stopping_rule_is_post_hoc(tmp_path: Path) -> None:
    runs = Runs(tmp_path, HEAD + ELASTIC)
    runs.drive(noisy(0.05, {"rope": -3.0}))
    edited = Edited(tmp_path)
    edited.write(HEAD + ELASTIC.replace("max: 10", "max: 12"))
    edited.go()
    study = frozen_study(runs.root)
    assert [line.split(" changed")[0] for line in study.post_hoc] == ["stopping rule"]
    assert len(read_study(runs.root).trials) == len(set(runs.records)), "added blocks stay"
    assert all(a.why != "done" for a in read_growth(runs.root)), "there may be more to add now"
