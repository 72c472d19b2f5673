"""Studies that add to themselves: every rule driven to its end over a stand-in objective, killed at will."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest

from ablate.design import freeze
from ablate.design.searches import prior_points
from ablate.knobs import get
from ablate.recipe import Recipe
from ablate.records import (
    DONE,
    FrozenStudy,
    Record,
    StudyPaths,
    frozen_study,
    grown,
    read_growth,
    read_study,
    write_json,
)
from ablate.scheduling.attempts import Standing
from ablate.scheduling.growing import GrowingQueue
from ablate.scheduling.status import status
from ablate.scheduling.storage import sqlite
from ablate.study import Study

HEAD = """\
question: Does it find it?
baseline: crammed-small
budget: 10 steps
outcome: {metric: eval/mlm_loss, margin: 0.05}
"""
SEARCH = """
design:
  kind: search
  sampler: %s
  trials: %d
  space:
    train.lr: {low: 1e-4, high: 1e-1}
    model.position: [rope, scaled-sinusoidal]
    model.position.theta: {low: 1e3, high: 1e6}
  blocks: 1
"""

Objective = Callable[[Recipe, int], Mapping[str, float]]


def loss(recipe: Recipe, seed: int) -> dict[str, float]:
    """A smooth bowl: best at a rate of 3e-3 with rope; one block is a little worse than the next."""
    off = abs(math.log10(recipe.train.lr) + 2.5)
    found = 2 + off + 0.001 * (seed % 7) + (0 if recipe.model.position.kind == "rope" else 0.3)
    return {"eval/mlm_loss": found, "throughput/tokens_per_second": 1e4 * (1 + off)}


class Runs:
    """A run folder, and a coordinator's conversation with its queue without any process."""

    def __init__(self, folder: Path, text: str) -> None:
        (folder / "s.yaml").write_text(text)
        self.root = folder / "runs" / "s"
        write_json(StudyPaths(self.root).study, freeze(Study.load(folder / "s.yaml"), created=""))
        self.records: dict[str, Record] = {}
        self.starts: list[str] = []

    @property
    def study(self) -> FrozenStudy:
        return read_study(self.root)

    def queue(self) -> GrowingQueue:
        queue = GrowingQueue(self.study, self.root, sqlite(StudyPaths(self.root).storage))
        queue.sync({t: self.standing(t) for t in self.study.trials})
        return queue

    def standing(self, trial: str) -> Standing:
        record = self.records.get(trial)
        if record is None:
            return Standing("open")
        return Standing("complete" if record.state in ("complete", "pruned") else "failed", record)

    def drive(self, objective: Objective, *, most: int = 10_000, workers: int = 1) -> None:
        """Run trials until nothing is left, or `most` have ended; as if killed there."""
        queue, running = self.queue(), list[str]()
        while True:
            while len(running) < workers and (trial := queue.next()) is not None:
                assert trial not in self.records, "started again after it was done"
                self.starts.append(trial)
                running.append(trial)
            if not running or most <= 0:
                return
            most -= 1
            trial = running.pop(0)
            self.records[trial] = record = self.end(queue.frozen, trial, objective)
            write_json(StudyPaths(self.root).trial(trial).record, record)
            queue.tell(trial, record)

    def end(self, study: FrozenStudy, trial: str, objective: Objective) -> Record:
        name, block = study.trials[trial]
        arm = next(a for a in study.arms if a.name == name)
        recipe = Recipe.model_validate(arm.recipe)
        try:
            state, metrics = "complete", dict(objective(recipe, study.blocks[block]))
        except ArithmeticError:
            state, metrics = "diverged", {}
        return Record(
            schema=1, study=study.name, trial=trial, arm=name, block=block, seed=study.blocks[block],
            state=state, recipe=arm.recipe, budget=arm.budget, metrics=metrics,
        )  # fmt: skip

    def searched(self, name: str = "search") -> list[optuna.trial.FrozenTrial]:
        url = sqlite(StudyPaths(self.root).storage)
        return optuna.load_study(study_name=f"{self.study.name}/{name}", storage=url).trials


SAMPLERS = [
    "tpe",
    "{kind: tpe, startup: 3}",
    "{kind: gp, startup: 3}",
    "qmc",
    "{kind: qmc, sequence: halton}",
    "cmaes",
    "random",
]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_valid_arms_from_the_space_and_only_from_it(tmp_path: Path, sampler: str) -> None:
    runs = Runs(tmp_path, HEAD + SEARCH % (sampler, 8))
    runs.drive(loss, workers=2)
    drawn = [arm for arm in runs.study.arms if arm.search]
    assert len(drawn) == 8
    for arm in drawn:
        recipe = Recipe.model_validate(arm.recipe)
        assert 1e-4 <= recipe.train.lr <= 1e-1
        rope = recipe.model.position.kind == "rope"
        assert rope == ("model.position[rope].theta" in arm.params), (
            "a conditional knob exists inside its variant"
        )
        if rope:
            assert 1e3 <= get(recipe, "model.position.theta") <= 1e6
        assert set(arm.changes) <= {"train.lr", "model.position", "model.position.theta"}
        assert set(arm.distributions) == set(arm.params)
    assert status(runs.root).adds is False
    assert len(set(runs.starts)) == len(runs.starts) == 9, "the baseline and eight arms, each once"
    assert read_growth(runs.root)[-1].why == DONE


def test_any_seed_of_a_study_seeds_its_sampler(tmp_path: Path) -> None:
    """Numpy's generators take 32 bits, a block's streams any number."""
    text = HEAD + SEARCH % ("random", 2)
    assert "kind: search" in text
    runs = Runs(tmp_path, text.replace("kind: search", "kind: search\n  seed: 9999999999999", 1))
    runs.drive(loss, workers=1)
    assert len([arm for arm in runs.study.arms if arm.search]) == 2


def test_the_model_based_samplers_do_better_than_chance(tmp_path: Path) -> None:
    """The typical one of the last eight draws, TPE against random, on a bowl in one dimension."""
    best = {}
    for sampler in ("{kind: tpe, startup: 5}", "random"):
        folder = tmp_path / sampler[:6].strip("{:")
        folder.mkdir()
        runs = Runs(folder, HEAD + SEARCH % (sampler, 18))
        runs.drive(loss)
        best[sampler] = sorted(r.metrics["eval/mlm_loss"] for r in list(runs.records.values())[-8:])[3]
    assert best["{kind: tpe, startup: 5}"] < best["random"]


def test_the_baseline_is_a_point_that_the_sampler_knows(tmp_path: Path) -> None:
    runs = Runs(tmp_path, HEAD + SEARCH % ("tpe", 3))
    runs.drive(loss)
    (known,) = [t for t in runs.searched() if t.user_attrs.get("known") == "baseline"]
    assert known.params == {"train.lr": 1e-3, "model.position": "scaled-sinusoidal"}


def test_a_grid_is_every_point_once_and_conditional_ones_where_they_exist(tmp_path: Path) -> None:
    grid = SEARCH.replace("  trials: %d\n", "").replace("{low: 1e-4, high: 1e-1}", "[1e-4, 1e-2]")
    runs = Runs(tmp_path, HEAD + grid.replace("{low: 1e3, high: 1e6}", "[1e3, 1e4, 1e5]") % "grid")
    assert runs.study.searches[0].trials == 2 * (3 + 1)
    runs.drive(loss, most=3)
    runs.drive(loss)
    drawn = [arm for arm in runs.study.arms if arm.search]
    assert len({repr(sorted(arm.params.items())) for arm in drawn}) == len(drawn) == 8


@pytest.mark.parametrize("lost", [False, True])
def test_a_search_killed_again_and_again_starts_nothing_twice(tmp_path: Path, lost: bool) -> None:
    runs = Runs(tmp_path, HEAD + SEARCH % ("tpe", 12))
    chance = random.Random(0)
    for _ in range(5 if lost else 12):
        runs.drive(loss, most=chance.randint(0, 3), workers=2)
        if lost:
            StudyPaths(runs.root).storage.unlink()
    runs.drive(loss)
    assert len([arm for arm in runs.study.arms if arm.search]) == 12
    assert set(runs.records) == set(runs.study.trials)
    told = [t for t in runs.searched() if "arm" in t.user_attrs]
    assert sorted(t.user_attrs["arm"] for t in told) == sorted(f"search #{i}" for i in range(1, 13))
    if not lost:
        assert all(t.state.name == "COMPLETE" for t in told)


def test_a_failed_arm_is_told_as_failed_and_the_search_goes_on(tmp_path: Path) -> None:
    def diverges(recipe: Recipe, seed: int) -> Mapping[str, float]:
        if recipe.train.lr > 1e-2:
            raise ArithmeticError
        return loss(recipe, seed)

    runs = Runs(tmp_path, HEAD + SEARCH % ("random", 10))
    runs.drive(diverges)
    states = [t.state.name for t in runs.searched() if "arm" in t.user_attrs]
    assert len(states) == 10
    assert set(states) == {"COMPLETE", "FAIL"}


def test_two_outcomes_give_a_study_with_two_directions(tmp_path: Path) -> None:
    head = HEAD + "tradeoff: {metric: throughput/tokens_per_second}\n"
    runs = Runs(tmp_path, head + SEARCH % ("{kind: nsga2, population: 4}", 9))
    runs.drive(loss)
    url = sqlite(StudyPaths(runs.root).storage)
    study = optuna.load_study(study_name="s/search", storage=url)
    assert [d.name for d in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert study.best_trials


def test_the_best_of_a_search_is_run_again_on_blocks_that_it_has_not_seen(tmp_path: Path) -> None:
    runs = Runs(tmp_path, HEAD + SEARCH % ("random", 6) + "  confirm: {top: 2, blocks: 3}\n")
    assert runs.study.family == ["best 1", "best 2"]
    runs.drive(loss)
    study = runs.study
    cells = {tuple(cell) for cell in study.trials.values()}
    assert {("best 1", b) for b in range(3)} | {("baseline", b) for b in range(4)} <= cells
    screened = {block for name, block in cells if name.startswith("search")}
    assert screened == {3}
    drawn = {arm.name: arm for arm in study.arms}
    scores = {
        arm.name: loss(Recipe.model_validate(arm.recipe), 0)["eval/mlm_loss"]
        for arm in study.arms
        if arm.search
    }
    assert drawn["best 1"].recipe == drawn[min(scores, key=scores.__getitem__)].recipe


def test_earlier_records_are_points_that_a_search_starts_from(tmp_path: Path) -> None:
    first = Runs(tmp_path, HEAD + SEARCH % ("random", 5))
    first.drive(loss)
    study = Study.load(tmp_path / "s.yaml")
    foreign = first.end(first.study, first.starts[0], loss).model_copy(
        update={"budget": {"unit": "steps", "amount": 9}}
    )
    points, told = prior_points(study, [r.model_dump() for r in [*first.records.values(), foreign]])
    assert len(points) == 6
    assert told == ["1 earlier records are no prior points: another budget"]
    frozen = freeze(study, created="", priors=points)
    (tmp_path / "again").mkdir()
    second = Runs(tmp_path / "again", HEAD + SEARCH % ("tpe", 2))
    write_json(StudyPaths(second.root).study, frozen)
    second.drive(loss)
    assert len([t for t in second.searched() if t.user_attrs.get("known") == "prior"]) == 6


TUNE = """
design:
  factors: {model.position: [rope]}
  tune: {knobs: {train.lr: {low: 1e-4, high: 1e-1}}, trials: 5, sampler: random}
  blocks: 3
"""


def test_arms_are_tuned_alike_and_compared_on_other_blocks(tmp_path: Path) -> None:
    runs = Runs(tmp_path, HEAD + TUNE)
    runs.drive(loss, most=4)
    runs.drive(loss, workers=3)
    study = runs.study
    tuned = {arm.name: arm for arm in study.arms if arm.search is None}
    assert set(tuned) == {"baseline", "model.position=rope"}
    for name, arm in tuned.items():
        tries = [a for a in study.arms if a.search == f"tune {name}"]
        assert len(tries) == 5
        assert all(a.phase == "tune" for a in tries)
        rates = [Recipe.model_validate(a.recipe).train.lr for a in tries]
        assert 1e-3 in rates, "the untuned value is one of the tries"
        best = min(rates, key=lambda rate: abs(math.log10(rate) + 2.5))
        assert arm.tuned == {"train.lr": best}
        blocks = [b for n, b in study.trials.values() if n == name]
        assert blocks == [0, 1, 2]
    assert set(tuned["model.position=rope"].changes) <= {"model.position", "train.lr"}
    tuning = {study.blocks[b] for n, b in study.trials.values() if "#" in n}
    assert not tuning & set(study.blocks[:3])


ELASTIC = """
design:
  factors: {model.position: [rope, none], train.clip: [null]}
  blocks: {min: 3, max: 10, until: settled}
"""


def noisy(spread: float, effect: Mapping[str, float]) -> Objective:
    def objective(recipe: Recipe, seed: int) -> dict[str, float]:
        chance = random.Random(f"{seed} {recipe.model.position.kind} {recipe.train.clip}")
        shift = effect.get(recipe.model.position.kind, 0.0)
        return {"eval/mlm_loss": 2 + shift + spread * chance.gauss(0, 1)}

    return objective


def test_blocks_are_added_only_where_a_verdict_is_open(tmp_path: Path) -> None:
    runs = Runs(tmp_path, HEAD + ELASTIC)
    runs.drive(noisy(0.05, {"rope": -3.0}), most=5)
    runs.drive(noisy(0.05, {"rope": -3.0}), workers=4)
    blocks: dict[str, set[int]] = {}
    for name, block in runs.study.trials.values():
        blocks.setdefault(name, set()).add(block)
    clear = blocks["model.position=rope"]
    open_ = blocks["train.clip=none"]
    assert len(clear) < len(open_), "a large effect is settled at an early look"
    assert blocks["baseline"] >= clear | open_, "every block has its reference"
    for there in blocks.values():
        assert there == set(range(len(there)))
        assert 3 <= len(there) <= 10


def test_additions_survive_a_torn_line(tmp_path: Path) -> None:
    runs = Runs(tmp_path, HEAD + SEARCH % ("random", 3))
    runs.drive(loss, most=2)
    assert status(runs.root).adds, "all trials so far may be done, the study is not"
    path = StudyPaths(runs.root).grown
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"why": "drawn by search", "arms": [{"na')
    assert runs.study == grown(frozen_study(runs.root), read_growth(runs.root))
    runs.drive(loss)
    assert path.read_bytes().startswith(whole)
    assert len([arm for arm in runs.study.arms if arm.search]) == 3


def test_wilcoxon_spares_the_later_blocks_of_a_worse_arm(tmp_path: Path) -> None:
    text = SEARCH.replace("  blocks: 1", "  blocks: 8\n  pruner: {kind: wilcoxon, first: 4, threshold: 0.2}")
    runs = Runs(tmp_path, HEAD + text % ("random", 8))
    runs.drive(loss)
    ran: dict[str, int] = {}
    for name, _ in runs.study.trials.values():
        ran[name] = ran.get(name, 0) + 1
    drawn = {name: n for name, n in ran.items() if name.startswith("search")}
    assert max(drawn.values()) == 8
    assert min(drawn.values()) < 8
    states = {t.user_attrs["arm"]: t.state.name for t in runs.searched() if "arm" in t.user_attrs}
    assert {n for n, s in states.items() if s == "PRUNED"} == {n for n, blocks in drawn.items() if blocks < 8}


def test_halving_ends_those_whose_loss_is_not_among_the_best(tmp_path: Path) -> None:
    text = SEARCH + "  pruner: {kind: successive-halving, first: 0.2, factor: 2}\n"
    runs = Runs(tmp_path, HEAD + text % ("random", 8))
    queue, ended = runs.queue(), []
    assert queue.next() is not None  # the baseline runs to its end
    for place in range(8):
        trial = queue.next()
        assert trial is not None
        for share in (0.1, 0.3, 0.6, 1.0):
            beat: dict[str, Any] = {"phase": "pretrain", "progress": share, "loss": 5.0 + place}
            reason = queue.prunes(trial, lambda beat=beat: beat)
            if reason:
                assert "was not among the best" in reason
                ended.append(place)
                pruned = runs.end(queue.frozen, trial, loss).model_copy(
                    update={"state": "pruned", "metrics": {}}
                )
                queue.tell(trial, pruned)
                break
        else:
            queue.tell(trial, runs.end(queue.frozen, trial, loss))
    assert 0 not in ended
    assert ended == list(range(1, 8)), "each later one is worse than the first"
    assert [t.state.name for t in runs.searched() if "arm" in t.user_attrs].count("PRUNED") == 7
