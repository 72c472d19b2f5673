from __future__ import annotations

from pathlib import Path

from ablate.training.attempts import Attempts


def test_work_after_the_checkpoint_is_refunded_once(tmp_path: Path):
    path = tmp_path / "attempts.json"
    first = Attempts(path)
    first.begin(0.0)
    first.beat(25.0)  # killed here; its checkpoint held 20 s
    second = Attempts(path)
    second.begin(20.0)
    second.beat(31.0)  # killed before a checkpoint of its own
    third = Attempts(path)
    third.begin(20.0)
    third.end("complete", 100.0, kept=True)
    assert [e["refunded_seconds"] for e in Attempts(path).entries] == [5.0, 11.0, 0.0]
    assert [e["reason"] for e in Attempts(path).entries] == ["lost", "lost", "complete"]
    assert all(e["ended"] for e in Attempts(path).entries)


def test_an_attempt_that_ended_with_an_error_is_refunded_too(tmp_path: Path):
    path = tmp_path / "attempts.json"
    first = Attempts(path)
    first.begin(0.0)
    first.end("OutOfMemoryError: …", 8.0)
    Attempts(path).begin(6.0)
    assert [e["refunded_seconds"] for e in Attempts(path).entries] == [2.0, None]


def test_a_torn_note_does_not_stop_a_trial(tmp_path: Path):
    path = tmp_path / "attempts.json"
    path.write_text('{"attempts": [{"star')
    found = Attempts(path)
    found.begin(0.0)
    assert len(Attempts(path).entries) == 1
