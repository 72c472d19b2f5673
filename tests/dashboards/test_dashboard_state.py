"""What the local page is told, from files alone."""

import json
from pathlib import Path

import pytest
from runfolders import finish, log_live, make_study

from ablate.dashboards.state import FRESH, INTERIM, Watcher
from ablate.elsewhere.bring import bring
from ablate.records import StudyPaths, write_json
from ablate.records.store import RecordError


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time

    def tick(self) -> None:
        self.time += FRESH + 0.01


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_progress_counts_every_trial_once(tmp_path: Path) -> None:
    progress = Watcher(make_study(tmp_path, finished=3)).state()["progress"]
    assert progress["counts"] == {"complete": 3, "waiting": 1}
    assert (progress["done"], progress["total"], progress["finished"]) == (3, 4, False)


def test_a_study_that_is_not_over_has_interim_verdicts_only(tmp_path: Path) -> None:
    open_ = Watcher(make_study(tmp_path / "a", finished=3)).state()["verdicts"]
    assert (open_["interim"], open_["note"]) == (True, INTERIM)
    done = Watcher(make_study(tmp_path / "b", finished=4)).state()["verdicts"]
    assert (done["interim"], done["note"]) == (False, "")


def test_verdicts_of_a_study_that_will_add_trials_are_interim_though_all_have_ended(tmp_path: Path) -> None:
    state = Watcher(
        make_study(tmp_path, finished=4, elastic={"min": 2, "max": 4, "until": "resolved"})
    ).state()
    assert state["verdicts"]["interim"]
    assert not state["progress"]["finished"]


def test_a_verdict_says_on_how_many_of_the_planned_blocks_it_rests(tmp_path: Path) -> None:
    (row,) = Watcher(make_study(tmp_path, finished=3)).state()["verdicts"]["rows"]
    assert (row["arm"], row["n"], row["planned"]) == ("<b>rope", 1, 2)
    assert row["estimate"] == pytest.approx(2.0)
    assert row["low"] is None, "one block has no interval"


def diverge(root: Path, *trials: str) -> None:
    """As if they had never had a loss."""
    for trial in trials:
        path = StudyPaths(root).trial(trial).record
        record = json.loads(path.read_text())
        write_json(path, {**record, "state": "diverged", "metrics": {}})


def test_an_arm_whose_every_trial_diverged_has_a_row_that_says_so(tmp_path: Path) -> None:
    root = make_study(tmp_path)
    diverge(root, "t1", "t3")
    (row,) = Watcher(root).state()["verdicts"]["rows"]
    assert (row["arm"], row["estimate"], row["absent"]) == ("<b>rope", None, "diverged 2/2")


def test_a_baseline_that_failed_throughout_is_no_answer_to_wait_for(tmp_path: Path) -> None:
    root = make_study(tmp_path)
    diverge(root, "t0", "t2")
    assert (
        Watcher(root)
        .state()["verdicts"]["answer"]
        .startswith("No answer: no comparison is possible, because every trial of the baseline failed")
    )


def test_runs_from_elsewhere_are_shown_with_a_budget_that_nobody_recorded(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("arm,acc\nbase,70\nbase,71\nb,60\nb,61\n")
    state = Watcher(bring(str(table), tmp_path / "runs", baseline="base", outcome="acc", margin=1.0)).state()
    assert state["study"]["budget"] == "budget not recorded"
    used = [state["progress"][key] for key in ("seconds", "occupied", "tokens")]
    assert used == [None, None, None]
    assert [row["arm"] for row in state["verdicts"]["rows"]] == ["b"]


def test_a_failure_keeps_its_reason(tmp_path: Path) -> None:
    failed = [t for t in Watcher(make_study(tmp_path)).state()["trials"] if t["failed"]]
    assert [(t["trial"], t["state"], t["reason"]) for t in failed] == [
        ("t3", "diverged", "the loss is nan at step 7")
    ]


def test_only_curves_that_changed_are_told_again(tmp_path: Path, clock: Clock) -> None:
    watcher = Watcher(make_study(tmp_path, finished=2), now=clock)
    first = watcher.state()
    assert set(first["curves"]) == {"t0", "t1"}
    log_live(tmp_path, "t2", [1, 2])
    clock.tick()
    second = watcher.state(first["session"], first["version"])
    assert set(second["curves"]) == {"t2"}
    assert second["curves"]["t2"]["pretrain/loss"] == [10, 5]
    assert set(watcher.state("another session", second["version"])["curves"]) == {"t0", "t1", "t2"}


def test_a_resumed_trial_draws_over_what_was_lost_and_a_torn_line_waits(tmp_path: Path) -> None:
    make_study(tmp_path, finished=0)
    log_live(tmp_path, "t0", [1, 2, 3, 4], torn='{"step": 5, "pre')
    log_live(tmp_path, "t0", [])
    StudyPaths(tmp_path).trial("t0").live.open("a").write("\n")
    log_live(tmp_path, "t0", [3, 4])
    curve = Watcher(tmp_path).state()["curves"]["t0"]
    assert curve["step"] == [1, 2, 3, 4]


def test_a_finished_trial_is_drawn_from_its_record(tmp_path: Path) -> None:
    make_study(tmp_path, finished=0)
    log_live(tmp_path, "t0", [1, 2, 3])
    finish(tmp_path, "t0")
    assert Watcher(tmp_path).state()["curves"]["t0"]["budget/tokens"] == [128, 256]


def test_a_long_curve_is_thinned_to_what_a_screen_shows_and_keeps_its_ends(tmp_path: Path) -> None:
    make_study(tmp_path, finished=0)
    log_live(tmp_path, "t0", list(range(1, 3001)))
    steps = Watcher(tmp_path).state()["curves"]["t0"]["step"]
    assert len(steps) == 200
    assert steps[0] == pytest.approx(8)
    assert steps[-1] == pytest.approx(2993)


def test_watching_writes_nothing(tmp_path: Path) -> None:
    make_study(tmp_path, finished=3)
    log_live(tmp_path, "t3", [1])

    def files() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in tmp_path.rglob("*")}

    before = files()
    Watcher(tmp_path).state()
    assert files() == before


def test_a_damaged_record_is_told_and_stops_nothing(tmp_path: Path) -> None:
    make_study(tmp_path, finished=3)
    StudyPaths(tmp_path).trial("t0").record.write_text("{")
    verdicts = Watcher(tmp_path).state()["verdicts"]
    assert any("t0" in warning for warning in verdicts["warnings"])


def test_non_finite_numbers_become_gaps(tmp_path: Path) -> None:
    make_study(tmp_path, finished=0)
    write_json(StudyPaths(tmp_path).trial("t0").progress, {"phase": "pretrain", "loss": float("nan")})
    import json

    json.dumps(Watcher(tmp_path).state(), allow_nan=False)


def test_a_folder_without_a_study_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"study\.json"):
        Watcher(tmp_path)


def test_only_arms_that_share_blocks_are_said_to_have_blocks(tmp_path: Path) -> None:
    paired, apart = make_study(tmp_path / "a"), make_study(tmp_path / "b", paired=False)
    assert Watcher(paired).state()["study"]["unit"] == "block"
    assert Watcher(apart).state()["study"]["unit"] == "trial"
