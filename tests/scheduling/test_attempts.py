"""What a trial's folder says about it: done, failed for good, or open."""

from pathlib import Path

import pytest

from ablate.records import TrialPaths, write_json
from ablate.records.store import NewerError
from ablate.scheduling.attempts import RETRIES, attempts, begin, end, standing


def leave_record(paths: TrialPaths, state: str, **more: object) -> None:
    fields = {"study": "s", "trial": "t", "arm": "a", "block": 0, "seed": 0, "recipe": {}, "budget": {}}
    write_json(paths.record, {"schema": 1, **fields, "state": state, **more})


def fail(paths: TrialPaths, state: str) -> None:
    begin(paths)
    leave_record(paths, state)
    end(paths, state, "")


def test_no_record_is_open_and_a_complete_one_is_done(tmp_path: Path) -> None:
    paths = TrialPaths(tmp_path)
    assert standing(paths).verdict == "open"
    leave_record(paths, "complete")
    assert standing(paths).verdict == "complete"


def test_a_record_of_a_newer_version_is_not_run_over_and_a_torn_one_is(tmp_path: Path) -> None:
    paths = TrialPaths(tmp_path)
    paths.record.write_text('{"schema": 1, "state": "comp')
    assert standing(paths).verdict == "open"
    leave_record(paths, "complete", schema=99)
    with pytest.raises(NewerError, match="upgrade"):
        standing(paths)


@pytest.mark.parametrize(("state", "retries"), RETRIES.items())
def test_each_failure_has_its_own_number_of_retries(tmp_path: Path, state: str, retries: int) -> None:
    paths = TrialPaths(tmp_path)
    for _ in range(retries):
        fail(paths, state)
        assert standing(paths).verdict == "open"
    fail(paths, state)
    assert standing(paths).verdict == "failed"


def test_what_fails_the_same_way_again_is_not_retried_unless_asked(tmp_path: Path) -> None:
    paths = TrialPaths(tmp_path)
    begin(paths)
    leave_record(paths, "failed", retry=False)
    end(paths, "failed", "")
    assert standing(paths).verdict == "failed"
    assert standing(paths, again=True).verdict == "open"


def test_failures_can_be_tried_again_on_demand_but_divergence_cannot(tmp_path: Path) -> None:
    for state, verdict in (("out-of-memory", "open"), ("diverged", "failed")):
        fail(TrialPaths(tmp_path / state), state)
        assert standing(TrialPaths(tmp_path / state), again=True).verdict == verdict


def test_an_interruption_does_not_count_against_the_retries(tmp_path: Path) -> None:
    paths = TrialPaths(tmp_path)
    for _ in range(10):
        begin(paths)
        end(paths, "interrupted", "")
    fail(paths, "lost")
    assert standing(paths).verdict == "open"


def test_the_record_of_a_failed_attempt_is_kept_aside(tmp_path: Path) -> None:
    paths = TrialPaths(tmp_path)
    fail(paths, "failed")
    begin(paths)
    assert not paths.record.exists()
    assert (tmp_path / "record.attempt-1.json").exists()
    assert [a["state"] for a in attempts(paths)] == ["failed", None]
