"""The live page in a real browser: it follows a study that runs, fits a phone, and speaks to nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
sys.path += [str(Path(__file__).parent.parent / name) for name in ("dashboards", "tracking")]
from runfolders import finish, log_live, make_study  # noqa: E402
from standin import working  # noqa: E402
from trials import KEY, environment, no_file_holds_the_key  # noqa: E402

from ablate.dashboards.page import write_page  # noqa: E402
from ablate.dashboards.server import serving  # noqa: E402
from ablate.elsewhere.bring import bring  # noqa: E402
from ablate.records import StudyPaths, write_json  # noqa: E402

from .live_browser import Watched, browser_or_skip, watched  # noqa: E402


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    with browser_or_skip(sync_api) as browser:
        yield browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_its_screen_and_speaks_to_its_server_alone(
    chromium: object, tmp_path: Path, width: int, scheme: str
) -> None:
    with serving(make_study(tmp_path)) as url, watched(chromium, width, scheme) as page:
        page.open(url)
        page.see("Finished: 4 trials. 1 trial failed.")
        page.scroll_through()
        assert page.overflow() == 0
        assert page.violations() == []
    assert page.strangers(url) == []
    assert page.complaints == []


def test_the_page_follows_trials_without_being_loaded_again(chromium: object, tmp_path: Path) -> None:
    root = make_study(tmp_path, finished=1)
    with serving(root) as url, watched(chromium, 1280, "light") as page:
        page.open(url)
        page.see("Not running: 1 of 4 trials done.")
        assert page.traces("pretrain/loss") == 1
        log_live(root, "t1", [1, 2, 3])
        page.until(lambda: page.traces("pretrain/loss") == 2)
        page.see("no arm shares a completed block")
        finish(root, "t1")
        page.see("Not running: 2 of 4 trials done.")
        page.see("interim")
        finish(root, "t2")
        finish(root, "t3")
        page.see("the loss is nan at step 7")
        page.see("Finished: 4 trials. 1 trial failed.")
        assert page.loads == 1
    assert page.complaints == []


def test_a_loss_that_exploded_does_not_press_the_others_flat(chromium: object, tmp_path: Path) -> None:
    root = make_study(tmp_path)
    curve = StudyPaths(root).trial("t3").curve
    rows = pd.read_parquet(curve)
    rows["loss"] = 1e30
    rows.to_parquet(curve)
    with serving(root) as url, watched(chromium, 1280, "light") as page:
        page.open(url)
        page.until(lambda: page.traces("pretrain/loss") == 4)
        highest, top = page.page.evaluate("""() => {
          const panel = [...document.querySelectorAll('.panel')].find((p) => p.dataset.metric === 'pretrain/loss');
          const figure = panel.querySelector('.figure'), axis = figure._fullLayout.yaxis;
          const top = axis.type === 'log' ? 10 ** axis.range[1] : axis.range[1];
          return [Math.max(...figure.data.flatMap((line) => [...line.y])), top];
        }""")
    assert highest == 1e30
    assert 9 < top < 10


@pytest.mark.parametrize(
    ("lost", "told"),
    [(("t1", "t3"), "diverged 2/2"), (("t0", "t2"), "because every trial of the baseline failed")],
)
@pytest.mark.parametrize("width", [1280, 390])
def test_what_failed_throughout_is_said_among_the_verdicts(
    chromium: object, tmp_path: Path, width: int, lost: tuple[str, ...], told: str
) -> None:
    root = make_study(tmp_path)
    for trial in lost:
        path = StudyPaths(root).trial(trial).record
        write_json(path, {**json.loads(path.read_text()), "state": "diverged", "metrics": {}})
    with serving(root) as url, watched(chromium, width, "light") as page:
        page.open(url)
        page.see("Finished: 4 trials.")
        assert told in page.page.locator("#verdicts").inner_text()
        assert page.overflow() == 0
    assert page.complaints == []


def test_arms_are_switched_off_and_on_in_every_figure_at_once(chromium: object, tmp_path: Path) -> None:
    with serving(make_study(tmp_path)) as url, watched(chromium, 1280, "light") as page:
        page.open(url)
        page.until(lambda: page.traces("pretrain/loss") == 4)
        page.press("<b>rope")
        page.until(lambda: page.traces("pretrain/loss") == 2)
        page.press("<b>rope")
        page.until(lambda: page.traces("pretrain/loss") == 4)


def test_the_theme_is_switched_by_hand(chromium: object, tmp_path: Path) -> None:
    with serving(make_study(tmp_path)) as url, watched(chromium, 390, "light") as page:
        page.open(url)
        before = page.background()
        page.page.click("#theme")
        assert page.background() != before


def test_a_server_that_ends_leaves_the_last_state_and_says_so(chromium: object, tmp_path: Path) -> None:
    with watched(chromium, 1280, "light") as page:
        with serving(make_study(tmp_path, finished=1)) as url:
            page.open(url)
            page.see("Not running: 1 of 4 trials done.")
        page.see("No connection")
        page.see("Not running: 1 of 4 trials done.")


def test_another_study_at_the_same_address_takes_the_whole_page(chromium: object, tmp_path: Path) -> None:
    """A tab that was left open: the question of one study over the numbers of another would mislead."""
    with watched(chromium, 1280, "light") as page:
        with serving(make_study(tmp_path / "a")) as url:
            page.open(url)
            page.until(lambda: page.traces("pretrain/loss") == 4)
        other = make_study(tmp_path / "b", finished=1, name="other", question="Does another study matter?")
        with serving(other, int(url.rsplit(":", 1)[1].strip("/"))):
            page.see("Does another study matter?")
            page.see("Not running: 1 of 4 trials done.")
            page.until(lambda: page.traces("pretrain/loss") == 1)


def test_a_snapshot_opens_from_disk_without_any_request(chromium: object, tmp_path: Path) -> None:
    file = write_page(make_study(tmp_path)).resolve().as_uri()
    with watched(chromium, 390, "dark") as page:
        page.open(file)
        page.see("A snapshot of")
        page.until(lambda: page.traces("pretrain/loss") == 4)
        assert page.overflow() == 0
    assert page.requests == [file]
    assert page.complaints == []


STUDY = """
name: live
question: Does the page follow it?
baseline:
  preset: crammed-small
  set: {model.layers: 1, model.width: 32, model.intermediate: 64, model.heads: 2, data.source: {kind: grammar, megabytes: 0.3},
        data.tokenizer.vocabulary: 512, data.length: 32, train.batch: 16, train.micro_batch: 16, train.precision: fp32,
        train.compile: false}
budget: 60 steps
design: {kind: one-factor, factors: {model.position: [none]}, blocks: 1}
outcome: {metric: eval/mlm_loss, margin: 0.1}
track: {wandb: {project: cramming, mode: online}}
run: {workers: 2, checkpoint_seconds: 1}
"""  # noqa: E501


@pytest.mark.slow
@pytest.mark.representative
@pytest.mark.timeout(400)
def test_a_real_study_is_followed_here_and_on_the_server_and_leaves_no_key(
    chromium: Watched, tmp_path: Path
) -> None:
    file, root = tmp_path / "live.yaml", tmp_path / "runs" / "live"
    file.write_text(STUDY)
    with working() as (url, requests):
        names = {**environment(url, tmp_path), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        command = [sys.executable, "-m", "ablate", "run", str(file), "--runs", str(root.parent)]
        with (tmp_path / "said.txt").open("w") as said:
            study = subprocess.Popen(command, env=names, stdout=said, stderr=said)
        try:
            with watched(chromium, 390, "light") as page:
                page.until(lambda: (root / "study.json").exists(), 120)
                with serving(root) as address:
                    page.open(address)
                    page.see("Running: 0 of 2 trials done", 120)
                    page.see("Finished: 2 trials.", 240)
                    page.until(lambda: page.traces("pretrain/loss") == 2)
                    assert page.loads == 1
                    assert page.overflow() == 0
            assert study.wait(timeout=120) == 0, (tmp_path / "said.txt").read_text()
        finally:
            study.kill()
            study.wait()
    assert page.complaints == []
    runs = requests.store.runs.values()
    assert sorted(run["displayName"] for run in runs) == ["baseline/0", "model.position=none/0"]
    assert {(run["group"], *run["tags"]) for run in runs} == {("live", "confirm")}
    for trial, run in requests.store.runs.items():
        rows = requests.rows(trial)
        assert {"pretrain/loss", "pretrain/lr", "pretrain/grad_norm", "pretrain/batch", "budget/tokens",
                "throughput/tokens_per_second", "throughput/mfu", "cost/peak_memory_gib"} <= set(rows[0])  # fmt: skip
        assert rows[-1]["_step"] == 60
        assert requests.summary(trial)["eval/mlm_loss"] > 0
        assert '"layers":1' in run["config"].replace(" ", "")
    assert no_file_holds_the_key(tmp_path)
    assert KEY not in (tmp_path / "said.txt").read_text()


def test_arms_of_imported_runs_have_as_many_trials_as_they_have(chromium: object, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("arm,acc\nbase,70\nbase,71\nbase,72\nb,60\n")
    root = bring(str(tmp_path / "mine.csv"), tmp_path / "runs", baseline="base", outcome="acc", margin=1.0)
    with serving(root) as url, watched(chromium, 1280, "light") as page:
        page.open(url)
        page.see("2 arms × 1–3 trials")
        assert page.page.locator(".cell.waiting").count() == 0
