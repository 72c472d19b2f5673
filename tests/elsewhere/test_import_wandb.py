"""A W&B project read through the real SDK from a stand-in server on loopback."""

import json

import pytest

from ablate.elsewhere import RunsError
from ablate.elsewhere.bring import bring
from ablate.elsewhere.wandb import _run
from ablate.report import load_findings
from ablate.tracking.names import OCCUPIED
from ablate.tracking.runs import TrackedRun, WandbReadError
from tests.tracking import standin


def node(arm: str, seed: int, score: float, **more):
    config = {
        "model": {"norm": "rms" if arm == "rms" else "layer"},
        "lr": 1e-3,
        "seed": seed,
        "study_id": f"of-{arm}",
    }
    summary = {
        "glue/average": score,
        "_runtime": 120,
        "budget/seconds": 90.0,
        "eval/mlm_loss": 2.0 + seed / 100,
    }
    return {
        "id": f"id{arm}{seed}", "name": f"{arm}{seed}", "displayName": f"{arm}/{seed}", "jobType": arm,
        "group": "g", "state": "finished", "createdAt": "2026-01-01T00:00:00Z", "projectId": 1, "tags": [],
        "config": json.dumps({k: {"value": v} for k, v in config.items()}),
        "summaryMetrics": json.dumps(summary), "systemMetrics": "{}", "user": {"name": "x", "username": "x"},
        "historyKeys": None, "sweepName": None, "commit": None, "readOnly": True, "heartbeatAt": None,
        "description": None, "notes": None, "historyLineCount": 1, **more,
    }  # fmt: skip


RUNS = [
    node(arm, s, 70 + s + (3 if arm == "rms" else 0) + 0.01 * s * s * (arm == "rms"))
    for arm in ("base", "rms")
    for s in range(4)
]
RUNS.append(node("rms", 9, 0.0, state="running"))
RUNS.append(node("base", 5, 0.0, state="preempted", summaryMetrics="{}"))
RUNS.append(node("base", 4, 0.0, state="crashed", summaryMetrics="{}"))


@pytest.fixture
def server(monkeypatch, tmp_path):
    asked = []

    class Server(standin._Handler):
        def do_GET(self):
            self.answer(200, {})

        def do_POST(self):
            raw = self.body()
            if self.path != "/graphql":  # usage statistics
                self.answer(200, {})
                return
            sent = json.loads(raw)
            asked.append(sent)
            edges = [{"node": n, "cursor": n["id"]} for n in RUNS]
            runs = {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}
            project = {"internalId": "1", "runCount": len(RUNS), "readOnly": True, "runs": runs}
            known = "Runs" in sent.get("query", "") and sent["variables"].get("project") == "mine"
            viewer = {"id": "v", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}
            self.answer(200, {"data": {"project": project if known else None, "viewer": viewer}})

    with standin._serving(Server) as url:
        for name, value in {"WANDB_BASE_URL": url, "WANDB_API_KEY": "0" * 40, "WANDB_SILENT": "true",
                            "WANDB_DIR": str(tmp_path), "WANDB_CACHE_DIR": str(tmp_path)}.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        yield asked


def test_a_project_becomes_a_study(server, tmp_path):
    root = bring(
        "wandb:me/mine", tmp_path / "runs", baseline="base", outcome="glue/average", margin=0.5, group="g"
    )
    found = load_findings(root)
    c = found.contrasts["rms"]
    assert c.verdict == "helps"
    assert c.effect.n == 4  # paired by the seed in `arm/block`; a running run is left out
    assert found.arm("rms").changes == {"model.norm": ["layer", "rms"]}
    assert found.arm("base").failures == {
        "failed": 2
    }  # a state that is not `finished` is none of a complete run
    assert any("1 run(s) that had not ended were left out: rms/9" in note for note in found.notes)
    assert found.cost.occupied_seconds == pytest.approx(8 * 120)
    asked = next(a for a in server if "Runs" in a.get("query", ""))
    assert asked["variables"]["entity"] == "me"
    assert json.loads(asked["variables"]["filters"]) == {"group": "g"}


def test_arm_and_block_may_be_settings(server, tmp_path):
    root = bring("wandb:me/mine", tmp_path, baseline="layer", outcome="glue/average", margin=0.5,
                 arm="model.norm", block="seed")  # fmt: skip
    assert load_findings(root).contrasts["rms"].effect.n == 4
    with pytest.raises(RunsError, match="every run is of the baseline 'lr=0.001'"):
        bring("wandb:me/mine", tmp_path / "lr", baseline="0.001", outcome="glue/average", margin=0.5,
              arm="lr", block="none")  # fmt: skip
    with pytest.raises(RunsError, match="no setting 'nothing'") as told:
        bring("wandb:me/mine", tmp_path / "x", baseline="a", outcome="m/x", margin=1, arm="nothing")
    assert len(str(told.value).splitlines()) == 1
    assert "There are " in str(told.value)
    assert "without --arm the arm is the job type" in str(told.value)
    with pytest.raises(RunsError, match="did you mean 'lr'"):
        bring("wandb:me/mine", tmp_path / "x", baseline="a", outcome="m/x", margin=1, arm="lrr")


def test_a_project_that_cannot_be_read_says_so(server, tmp_path):
    with pytest.raises(WandbReadError, match="wandb:me/other cannot be read"):
        bring("wandb:me/other", tmp_path, baseline="a", outcome="m/x", margin=1)
    with pytest.raises(RunsError, match="ENTITY/PROJECT"):
        bring("wandb:mine", tmp_path, baseline="a", outcome="m/x", margin=1)


def test_what_a_run_occupied_is_its_own_count_before_the_clock_of_wandb():
    summary = {"_runtime": 120, OCCUPIED: 100.0, "budget/seconds": 90.0, "budget/tokens": 5}
    run = TrackedRun("i", "base/0", "", "base", "finished", "", {}, {**summary, "acc": {"max": 0.5}})
    found = _run(run, None, None, [])
    assert found.spent == {"occupied": 100.0, "seconds": 90.0, "tokens": 5.0}
    assert found.metrics["acc.max"] == 0.5
