"""Runs that come back: resumed online, synced from this disk, or held up by a server. The real SDK throughout."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from standin import Requests, broken, closed_port, working
from trials import CREATED, RUN, ablate, attempt, environment, kill_attempt, no_file_holds_the_key

from ablate.records import FrozenStudy, Record, StudyPaths, TrialPaths, read_study, write_json
from ablate.scheduling import attempts
from ablate.scheduling.status import status
from ablate.tracking.live import rows
from ablate.tracking.names import run_id
from ablate.tracking.sync import run_ids

STEPS = [1, 2, 3, 4, 5, 6, 7, 8]


def make_study(root: Path, **wandb: Any) -> Path:
    """A study of one trial, `abc`."""
    write_json(StudyPaths(root).study, FrozenStudy(
        schema=1, name=root.name, question="Q?", created=CREATED, family=[], design="one-factor",
        outcome={"metric": "glue/average", "margin": 1.0, "higher_is_better": True}, blocks=[0, 1],
        budget={"unit": "steps", "amount": 8}, track={"wandb": {"project": "cramming", **wandb}},
        arms=[{"name": "arm", "recipe": {}, "budget": {"unit": "steps", "amount": 8}}], trials={"abc": ["arm", 1]},
    ))  # fmt: skip
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_study(tmp_path / "s")


def assert_whole(requests: Requests, run: str = RUN) -> None:
    """The server holds every step of the run once, in order, and how it ended, in the record's numbers."""
    assert [row["_step"] for row in requests.rows(run)] == STEPS
    assert [row["budget/tokens"] / 128 for row in requests.rows(run)] == STEPS
    assert requests.summary(run)["glue/average"] == 70.0
    assert requests.summary(run)["pretrain/loss"] == 0.25, "the trial's, not that of the last row"
    assert requests.summary(run)["scores/cola/matthews/0"] == 41.0
    assert requests.summary(run)["state"] == "complete"


def attempt_offline(root: Path) -> None:
    """The whole trial, without a server."""
    attempt("http://127.0.0.1:9", StudyPaths(root).trial("abc").root, 1, 8)


def folders(paths: TrialPaths) -> list[Path]:
    """The SDK's folders of a trial that stayed offline, oldest first."""
    return sorted(paths.wandb.glob("offline-run-*"))


def assert_nothing_left(url: str, requests: Requests, root: Path) -> None:
    """One more sync sends the server nothing."""
    sent = sending(requests)
    again = ablate(url, root.parent, "sync", root)
    assert (again.returncode, again.stdout) == (0, "1 runs online already: abc\n"), again.stderr
    assert sending(requests) == sent


def sending(requests: Requests) -> int:
    """How many requests changed something."""
    return sum(name == "UpsertBucket" or name.endswith("/file_stream") for name, _ in requests)


def test_a_trial_resumed_online_goes_on_in_the_same_run(root: Path) -> None:
    """Steps after the last checkpoint are done again; the run holds every step once."""
    folder = StudyPaths(root).trial("abc").root
    with working() as (url, requests):
        attempt(url, folder, 1, 5, "interrupted", mode="online")
        told = attempt(url, folder, 4, 8, mode="online")
        assert told["warnings"] == []
        assert list(requests.store.runs) == [RUN]
        assert_whole(requests)
        assert_nothing_left(url, requests, root)


def test_a_trial_killed_online_loses_no_row(root: Path) -> None:
    """What the SDK had not sent yet went with the killed attempt; the next one sends it first."""
    folder = StudyPaths(root).trial("abc").root
    with working() as (url, requests):
        kill_attempt(url, folder, 1, 5, mode="online")
        attempt(url, folder, 4, 8, mode="online")
        assert_whole(requests)
        assert_nothing_left(url, requests, root)


def test_a_trial_killed_online_before_its_end_is_completed_by_sync(root: Path) -> None:
    with working() as (url, requests):
        kill_attempt(url, StudyPaths(root).trial("abc").root, 1, 5, mode="online")
        done = ablate(url, root.parent, "sync", root)
        assert (done.returncode, done.stdout) == (0, "1 runs online now: abc\n"), done.stderr
        assert [row["_step"] for row in requests.rows(RUN)] == STEPS[:5]
        assert requests.summary(RUN)["state"] == "interrupted"
        assert_nothing_left(url, requests, root)


def test_sync_leaves_a_run_alone_that_is_online_already(root: Path) -> None:
    with working() as (url, requests):
        attempt(url, StudyPaths(root).trial("abc").root, 1, 8, mode="online")
        assert_nothing_left(url, requests, root)
        assert_whole(requests)


def test_sync_brings_an_interrupted_trial_online_as_one_run_and_only_once(root: Path) -> None:
    paths = StudyPaths(root).trial("abc")
    with working() as (url, requests):
        attempt(url, paths.root, 1, 5, "interrupted")
        attempt(url, paths.root, 4, 8)
        assert requests == []
        assert len(folders(paths)) == 2
        done = ablate(url, root.parent, "sync", root)
        assert (done.returncode, done.stdout) == (0, "1 runs online now: abc\n"), done.stderr
        run = requests.store.runs[RUN]
        assert (run["group"], run["jobType"], run["displayName"]) == ("s", "arm", "arm/1")
        assert run["tags"] == ["confirm"]
        assert_whole(requests)
        logged = [row["time"] for row in rows(paths.live)]
        assert [row["_timestamp"] for row in requests.rows(RUN)] == logged, "as logged, not as sent"
        assert requests.summary(RUN)["budget/occupied"] == 9.5
        assert_nothing_left(url, requests, root)
    assert no_file_holds_the_key(root)


def test_sync_sends_a_trial_that_was_killed_offline_whole_and_once(root: Path) -> None:
    """The killed attempt's file has no end, or nothing at all: the SDK writes it in blocks of 32 KiB."""
    paths = StudyPaths(root).trial("abc")
    with working() as (url, requests):
        kill_attempt(url, paths.root, 1, 5)
        attempt(url, paths.root, 4, 8)
        (torn, _) = (next(folder.glob("*.wandb")) for folder in folders(paths))
        assert torn.stat().st_size < 200
        done = ablate(url, root.parent, "sync", root)
        assert (done.returncode, done.stdout) == (0, "1 runs online now: abc\n"), done.stderr
        assert_whole(requests)
        assert_nothing_left(url, requests, root)


def test_a_trial_killed_offline_and_resumed_after_a_sync_is_sent_in_two_parts(root: Path) -> None:
    folder = StudyPaths(root).trial("abc").root
    with working() as (url, requests):
        kill_attempt(url, folder, 1, 5)
        assert ablate(url, root.parent, "sync", root).returncode == 0
        assert [row["_step"] for row in requests.rows(RUN)] == STEPS[:5]
        attempt(url, folder, 4, 8)
        assert ablate(url, root.parent, "sync", root).returncode == 0
        assert_whole(requests)
        assert_nothing_left(url, requests, root)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_one_trial_that_cannot_be_sent_keeps_no_other_back(mode: str, tmp_path: Path) -> None:
    """Beside a whole run: a trial killed before its first row, and one whose record is damaged."""
    root = make_study(tmp_path / "s")
    study = read_study(root)
    trials = {"abc": ["arm", 1], "bad": ["arm", 0], "gone": ["arm", 0]}
    write_json(StudyPaths(root).study, study.model_copy(update={"trials": trials}))
    for trial in ("bad", "gone"):
        paths = StudyPaths(root).trial(trial)
        (paths.wandb / f"run-20260101_000000-{trial}").mkdir(parents=True)
        (paths.wandb / f"run-20260101_000000-{trial}" / f"run-{trial}.wandb").write_bytes(b"\x00" * 40)
    StudyPaths(root).trial("bad").record.write_text('{"schema": 1, "st')
    with working() as (url, requests):
        attempt(url, StudyPaths(root).trial("abc").root, 1, 8, mode=mode)
        done = ablate(url, root.parent, "sync", root)
        abc = "gone" if mode == "online" else "abc, gone"
        assert done.returncode == 1
        assert f"runs online now: {abc}\n1 runs did not arrive: bad\n" in done.stdout
        assert ("1 runs online already: abc\n" in done.stdout) == (mode == "online")
        assert_whole(requests)
        again = ablate(url, root.parent, "sync", root)
        assert again.returncode == 1
        assert "1 runs did not arrive: bad\n2 runs online already: abc, gone\n" in again.stdout
        assert_whole(requests)


def test_a_sync_that_is_cut_off_is_completed_by_the_next(root: Path) -> None:
    """The second sends what the first did not, and nothing twice."""
    folder = StudyPaths(root).trial("abc").root
    with working() as (url, requests):
        attempt(url, folder, 1, 8)
        whole = (folder / "live.jsonl").read_text()
        (folder / "live.jsonl").write_text("\n".join(whole.split("\n")[:5]) + "\n")
        assert ablate(url, root.parent, "sync", root).returncode == 0
        assert [row["_step"] for row in requests.rows(RUN)] == STEPS[:5]
        (folder / "live.jsonl").write_text(whole)
        assert ablate(url, root.parent, "sync", root).returncode == 0
        assert_whole(requests)


def test_sync_sends_what_the_server_refused_while_the_trial_ran(root: Path) -> None:
    """A key that was revoked, say. The SDK stops sending and its `finish` tells nobody."""
    folder = StudyPaths(root).trial("abc").root
    with working(refuse="/file_stream") as (url, _):
        told = attempt(url, folder, 1, 8, mode="online")
        (line,) = told["warnings"]
        assert "the server holds the run up to step -1 of 8" in line
        assert "ablate sync" in line
        assert status(root).trials[0].sync
    with working() as (url, requests):
        done = ablate(url, root.parent, "sync", root)
        assert (done.returncode, done.stdout) == (0, "1 runs online now: abc\n"), done.stderr
        assert_whole(requests)
        assert_nothing_left(url, requests, root)


def test_a_sync_to_a_server_that_refuses_rows_says_so_and_fails(root: Path) -> None:
    attempt_offline(root)
    with working(refuse="/file_stream") as (url, _):
        done = ablate(url, root.parent, "sync", root)
        assert (done.returncode, done.stdout) == (1, "1 runs did not arrive: abc\n")
        assert "the server holds the run up to step -1 of 8" in done.stderr
        assert "wandb:" not in done.stderr, "the SDK itself says nothing"


def test_ctrl_c_ends_a_sync_that_waits_for_a_mute_server(root: Path) -> None:
    attempt_offline(root)
    told = root.parent / "told.txt"
    with working(mute_after="UpsertBucket") as (url, requests), told.open("w") as out:
        command = [sys.executable, "-m", "ablate", "sync", str(root)]
        with subprocess.Popen(
            command, env=environment(url, root.parent), stdout=out, stderr=out,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's job in the background ignores it
        ) as process:  # fmt: skip
            try:
                deadline = time.monotonic() + 60
                while not requests.of("UpsertBucket") and time.monotonic() < deadline:
                    time.sleep(0.1)
                time.sleep(2)  # into the end of the run, which may take minutes
                process.send_signal(signal.SIGINT)
                assert process.wait(timeout=30) == 130, told.read_text()
            finally:
                process.kill()
    assert "Traceback" not in told.read_text()


def test_status_counts_what_sync_would_send_and_nothing_after_it(root: Path) -> None:
    """Of a trial that ran to its end, one that is to resume, and one that was killed for good."""
    paths = StudyPaths(root)
    study = read_study(root)
    trials = {"abc": ["arm", 1], "killed": ["arm", 0], "paused": ["arm", 0], "fresh": ["arm", 0]}
    write_json(paths.study, study.model_copy(update={"trials": trials}))
    attempt_offline(root)
    for trial in ("killed", "paused"):
        shutil.copytree(paths.trial("abc").root, paths.trial(trial).root)
        attempts.begin(paths.trial(trial))  # takes the record away
    write_json(paths.trial("killed").record, Record(
        schema=1, study="s", trial="killed", arm="arm", block=0, seed=0, state="lost", recipe={}, budget={},
        finished="2026-01-02T00:00:00Z",
    ))  # fmt: skip
    assert [t.trial for t in status(root).trials if t.sync] == ["abc", "killed", "paused"]
    with working() as (url, _):
        done = ablate(url, root.parent, "sync", root)
        assert (done.returncode, done.stdout) == (0, "3 runs online now: abc, killed, paused\n"), done.stderr
    assert [t.trial for t in status(root).trials if t.sync] == []


def test_a_project_that_was_renamed_gets_the_runs_that_it_lacks(root: Path) -> None:
    with working() as (url, requests):
        attempt(url, StudyPaths(root).trial("abc").root, 1, 8, mode="online")
        make_study(root, project="renamed")
        requests.store.runs.clear()
        done = ablate(url, root.parent, "sync", root)
        assert (done.returncode, done.stdout) == (0, "1 runs online now: abc\n"), done.stderr
        assert requests.of("UpsertBucket")[-1]["project"] == "renamed"


def test_a_copy_that_is_behind_the_server_changes_nothing_there(root: Path) -> None:
    """As of a study that ends on a cluster after its folder was copied to a laptop."""
    with working() as (url, requests):
        kill_attempt(url, StudyPaths(root).trial("abc").root, 1, 5)
        copy = Path(shutil.copytree(root, root.parent / "copy" / "s"))
        attempt(url, StudyPaths(root).trial("abc").root, 4, 8)
        assert ablate(url, root.parent, "sync", root).returncode == 0
        assert_nothing_left(url, requests, copy)
        assert_whole(requests)


def test_trials_that_ran_without_the_sdk_can_be_sent_from_elsewhere(root: Path) -> None:
    paths = StudyPaths(root).trial("abc")
    attempt_offline(root)
    shutil.rmtree(paths.wandb)
    with working() as (url, requests):
        assert ablate(url, root.parent, "sync", root).stdout == "1 runs online now: abc\n"
        assert_whole(requests)


def test_two_studies_in_one_project_have_runs_of_their_own(tmp_path: Path) -> None:
    """A trial's id leaves the study out: the same recipe on the same block has it in both."""
    with working() as (url, requests):
        for name, mode in (("s", "online"), ("other", "offline")):
            root = make_study(tmp_path / name)
            attempt(url, StudyPaths(root).trial("abc").root, 1, 8, study=name, mode=mode)
        assert ablate(url, tmp_path, "sync", root).returncode == 0
    other = run_id("abc", "other", CREATED)
    assert {name: run["group"] for name, run in requests.store.runs.items()} == {RUN: "s", other: "other"}
    assert_whole(requests)
    assert_whole(requests, other)


def test_a_run_that_went_online_keeps_the_id_of_its_record(root: Path) -> None:
    record = Record(
        schema=1, study="s", trial="abc", arm="arm", block=1, seed=1, state="complete", recipe={}, budget={},
        tracking={"wandb": {"mode": "online", "id": "abc"}},
    )  # fmt: skip
    assert run_ids(read_study(root), {"abc": record}) == {"abc": "abc"}
    assert run_ids(read_study(root), {}) == {"abc": RUN}


@pytest.mark.parametrize("server", [closed_port, broken], ids=lambda server: server.__name__)
def test_sync_to_a_dead_server_sends_nothing_and_says_why(server: Callable, root: Path) -> None:
    with server() as url:
        attempt(url, StudyPaths(root).trial("abc").root, 1, 2)
        done = ablate(url, root.parent, "sync", root)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: nothing was sent: {url}")
    assert "Traceback" not in done.stderr


def test_sync_of_a_study_without_runs_says_how_to_have_some(root: Path) -> None:
    with closed_port() as url:
        done = ablate(url, root.parent, "sync", root)
    assert done.returncode == 0
    assert "track:" in done.stdout


def test_a_slow_server_delays_nothing_that_training_waits_for(root: Path) -> None:
    with working(delay=0.4) as (url, requests):
        told = attempt(url, StudyPaths(root).trial("abc").root, 1, 8, mode="online")
    assert told["warnings"] == []
    assert [row["_step"] for row in requests.rows(RUN)] == STEPS


def test_predictions_checkpoint_and_manifest_go_up_only_where_the_study_asks(root: Path) -> None:
    folder = StudyPaths(root).trial("abc").root
    for step in ("step-000000004", "step-000000008-finished"):
        (folder / "checkpoint" / step).mkdir(parents=True)
        (folder / "checkpoint" / step / "model.safetensors").write_bytes(step.encode())
    (folder / "predictions").mkdir()
    pd.DataFrame({"seed": [0, 0], "index": [0, 1], "prediction": [1, 0]}).to_parquet(
        folder / "predictions" / "cola.parquet"
    )
    with working() as (url, requests):
        attempt(url, folder, 1, 2, mode="online")
        assert requests.of("CreateArtifact") == []
        attempt(url, folder, 1, 2, mode="online", keep=["predictions", "checkpoint", "data"])
    made = {a["input"]["artifactTypeName"]: a["input"] for a in requests.of("CreateArtifact")}
    assert set(made) == {"model", "dataset-manifest", "run_table"}
    assert made["model"]["artifactCollectionName"] == f"checkpoint-{RUN}"
    assert any("predictions/cola" in str(row) for row in [requests.summary(RUN)])
