"""`ablate dashboard --push` with the real SDK and wandb-workspaces, against a server on loopback."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("wandb_workspaces", reason="needs wandb-workspaces")
sys.path.append(str(Path(__file__).parent.parent / "tracking"))
from runfolders import make_study  # noqa: E402
from standin import broken, closed_port, working  # noqa: E402
from trials import ablate, no_file_holds_the_key  # noqa: E402

from ablate.tracking.names import run_id, study_id  # noqa: E402

TRACK = {"wandb": {"project": "cramming", "entity": "team"}}


def known(*trials: str) -> dict[str, dict[str, Any]]:
    """Runs that are online, one with the verdict of an earlier push."""
    names = {"project": "cramming", "group": "positions", "jobType": "", "displayName": ""}
    return {run(t): {"id": f"id-{t}", "tags": ["confirm", "mine", "hurts"], **names} for t in trials}


def run(trial: str) -> str:
    """The id of a trial's run."""
    return run_id(trial, "positions", "2026-01-01T00:00:00Z")


def test_a_push_saves_workspace_and_report_and_tags_runs_and_a_second_updates_them(tmp_path: Path) -> None:
    root = make_study(tmp_path / "positions", track=TRACK)
    with working() as (url, requests):
        requests.store.runs |= known("t0", "t1", "t2")
        done = ablate(url, tmp_path, "dashboard", root, "--push")
        assert done.returncode == 0, done.stderr
        assert "3 runs tagged" in done.stdout
        assert f"1 runs are not online yet: ablate sync {root}" in done.stdout
        assert len(requests.store.views) == 2
        again = ablate(url, tmp_path, "dashboard", root, "--push")
        assert again.returncode == 0, again.stderr
        assert len(requests.store.views) == 2, "brought up to date, not multiplied"
    (report,) = [view for view in requests.store.views.values() if view["type"] == "runs"]
    (workspace,) = [view for view in requests.store.views.values() if view["type"] == "project-view"]
    assert report["project"] == workspace["project"] == {"id": "p", "name": "cramming", "entityName": "team"}
    assert report["description"] == "Do positions <matter>?"
    for view in (report, workspace):
        told = json.dumps(json.loads(view["spec"]))
        assert all(f'"{metric}"' in told for metric in ("pretrain/loss", "pretrain/lr", "glue/average"))
        assert "cost/energy_kwh" not in told, "no trial reports it: the panel would stay empty"
        assert "positions" in told
        assert "| &lt;b>rope |" in told, "Markdown would take it for a tag"
    tags = {name: kept["tags"] for name, kept in requests.store.runs.items()}
    assert tags[run("t0")] == ["confirm", "mine", "baseline"]
    assert tags[run("t1")] == ["confirm", "mine", "inconclusive"], "in place of the earlier verdict"
    assert no_file_holds_the_key(tmp_path)


def leaves(spec: Any) -> list[tuple[str, str, str, Any]]:
    """Section, key, operator and value of every filter on runs in the specification of a page."""
    if isinstance(spec, list):
        return [leaf for each in spec for leaf in leaves(each)]
    if not isinstance(spec, dict):
        return []
    if isinstance(spec.get("key"), dict) and "op" in spec:
        return [(spec["key"]["section"], spec["key"]["name"], spec["op"], spec["value"])]
    return [leaf for each in spec.values() for leaf in leaves(each)]


def test_pages_of_two_studies_of_one_name_show_the_runs_of_their_own(tmp_path: Path) -> None:
    """Both have the name, the arms and the blocks, so their runs have one group, and pairs of one name."""
    days = {"first": "2026-01-01T00:00:00Z", "second": "2026-01-02T00:00:00Z"}
    pages: dict[str, list[dict[str, Any]]] = {}
    with working() as (url, requests):
        for copy, day in days.items():
            root = make_study(tmp_path / copy, track=TRACK, created=day)
            assert ablate(url, tmp_path, "sync", root).returncode == 0
            before = set(requests.store.views)
            assert ablate(url, tmp_path, "dashboard", root, "--push").returncode == 0
            pages[copy] = [v for name, v in requests.store.views.items() if name not in before]
        configs = {name: json.loads(kept["config"]) for name, kept in requests.store.runs.items()}
    for copy, day in days.items():
        own = study_id("positions", day)
        mine = {name for name, config in configs.items() if config["study_id"]["value"] == own}
        assert mine == {run_id(trial, "positions", day) for trial in ("t0", "t1", "t2", "t3")}
        assert {view["type"] for view in pages[copy]} == {"runs", "project-view"}
        for view in pages[copy]:
            assert set(leaves(json.loads(view["spec"]))) == {("config", "study_id", "=", own)}


def test_runs_that_went_online_before_their_config_told_the_study_are_shown_by_their_ids(
    tmp_path: Path,
) -> None:
    root = make_study(tmp_path / "positions", track=TRACK)
    with working() as (url, requests):
        requests.store.runs |= known("t0", "t1")
        assert ablate(url, tmp_path, "dashboard", root, "--push").returncode == 0
    for view in requests.store.views.values():
        told = leaves(json.loads(view["spec"]))
        assert ("run", "name", "IN", [run("t0"), run("t1")]) in told


def test_a_server_that_refuses_tags_is_told_so_and_not_taken_for_runs_that_are_not_online(
    tmp_path: Path,
) -> None:
    root = make_study(tmp_path / "positions", track=TRACK)
    with working(refuse="UpsertBucket") as (url, requests):
        requests.store.runs |= known("t0", "t1", "t2")
        done = ablate(url, tmp_path, "dashboard", root, "--push")
        assert len(requests.store.views) == 2
    assert done.returncode == 2
    assert "workspace and report are saved" in done.stderr
    assert "not every run has its verdict" in done.stderr
    assert "ablate sync" not in done.stderr


GROWS = {"elastic": {"min": 2, "max": 4, "until": "resolved"}}


@pytest.mark.parametrize("more", [{"finished": 2}, GROWS], ids=["open", "grows"])
def test_before_the_study_is_done_verdicts_are_interim_and_no_tags(
    more: dict[str, Any], tmp_path: Path
) -> None:
    root = make_study(tmp_path / "positions", track=TRACK, **more)
    with working() as (url, requests):
        requests.store.runs |= known("t0", "t1")
        done = ablate(url, tmp_path, "dashboard", root, "--push")
    assert done.returncode == 0, done.stderr
    assert "once the study is done" in done.stdout
    assert all("Interim" in view["spec"] for view in requests.store.views.values())
    assert requests.store.runs[run("t0")]["tags"] == ["confirm", "mine", "hurts"]


@pytest.mark.parametrize("server", [closed_port, broken], ids=lambda server: server.__name__)
def test_a_dead_server_is_told_in_a_line(server: Any, tmp_path: Path) -> None:
    root = make_study(tmp_path / "positions", track=TRACK)
    with server() as url:
        done = ablate(url, tmp_path, "dashboard", root, "--push")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: nothing was pushed: {url}")


def test_a_study_that_is_not_tracked_is_told_so(tmp_path: Path) -> None:
    with closed_port() as url:
        done = ablate(url, tmp_path, "dashboard", make_study(tmp_path / "positions"), "--push")
    assert done.returncode == 2
    assert "track:" in done.stderr
