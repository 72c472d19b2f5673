"""One search in Optuna: a sampler draws arms from a space, is told what they reached, and may end them early.

One Optuna trial is one arm; its value is the mean over the arm's blocks. What was drawn is written to the
study's own files as well, so a lost or new storage is filled again from there.
"""

from __future__ import annotations

import itertools
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import ValidationError

from ablate.design.grow import trial_id
from ablate.design.space import grid, parameters_in, respelled
from ablate.knobs import canonical, differences, suggest
from ablate.recipe import Recipe
from ablate.records import FrozenArm, FrozenStudy, Search
from ablate.records.schema import Growth
from ablate.scheduling.connection import name_values

MOST_MISSES = 200  # draws in a row that are no new, buildable arm: the space is used up


class Sampling:
    """A search of the study: `draw` an arm, `tell` its values, `prunes` while it trains."""

    def __init__(self, frozen: FrozenStudy, search: Search, storage: optuna.storages.BaseStorage) -> None:
        self.search, self.space = search, respelled(search.space)
        self.base = Recipe.model_validate(
            next(arm.recipe for arm in frozen.arms if arm.name == search.base and arm.search is None)
        )
        self.objectives = [frozen.outcome, *([frozen.tradeoff] if frozen.tradeoff else [])]
        if search.phase == "tune":
            self.objectives = self.objectives[:1]
        self.study = self._open(f"{frozen.name}/{search.name}", storage, len(self.drawn(frozen)))
        kind = search.pruner["kind"] if search.pruner else None
        self._by_blocks, self._by_loss = kind == "wilcoxon", kind == "successive-halving"
        self._grid = search.sampler["kind"] == "grid"
        self._trials: dict[str, Trial] = {}  # arms that run → their open Optuna trials
        self._reported: dict[str, int] = {}
        self.exhausted = False

    def _open(self, name: str, storage: optuna.storages.BaseStorage, drawn: int) -> optuna.Study:
        up, down = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
        directions = [up if o.get("higher_is_better", True) else down for o in self.objectives]
        # Optuna would mix the values of two metrics, and refuses a parameter whose levels have changed.
        asked = {"metrics": [o["metric"] for o in self.objectives], "space": self.search.space}
        asked_text = json.dumps(asked, sort_keys=True, default=str)
        known = {s.study_name: s for s in optuna.get_all_study_summaries(storage)}
        same = name in known and known[name].user_attrs.get("asked") == asked_text
        if name in known and not (same and list(known[name].directions) == directions):
            optuna.delete_study(study_name=name, storage=storage)  # another search: told anew from records
        study = optuna.create_study(
            study_name=name, storage=storage, directions=directions, load_if_exists=True
        )
        name_values(study, [str(o["metric"]) for o in self.objectives])
        study.set_user_attr("asked", asked_text)
        drawn = max(drawn, len(study.get_trials(deepcopy=False)))
        # A sampler that started again from the same seed would draw its first points once more; a sequence
        # keeps its place in the storage, under its seed.
        again = 0 if self.search.sampler["kind"] == "qmc" else drawn
        study.sampler = sampler(self.search.sampler, self.search.seed + again)
        study.pruner = pruner(self.search.pruner)
        return study

    # --- drawing ----------------------------------------------------------------------------------------

    def drawn(self, frozen: FrozenStudy) -> list[FrozenArm]:
        """The arms of this search so far."""
        return [arm for arm in frozen.arms if arm.search == self.search.name]

    def used_up(self, frozen: FrozenStudy) -> bool:
        """Whether it will draw no more."""
        return self.exhausted or len(self.drawn(frozen)) >= self.search.trials

    def draw(self, frozen: FrozenStudy) -> FrozenArm | None:
        """A new arm, or None when the trials, or the space, are used up."""
        if self.used_up(frozen):
            return None
        number = 1 + len(self.drawn(frozen))
        for _ in range(MOST_MISSES):
            if self._grid and not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                break
            trial = self.study.ask()
            arm, why = self._arm(frozen, trial, f"{self.search.name} #{number}")
            if arm is not None:
                trial.set_user_attr("arm", arm.name)
                self._trials[arm.name] = trial
                return arm
            trial.set_user_attr("reason", why[:1000])
            self.study.tell(trial, state=TrialState.FAIL)
        self.exhausted = True
        return None

    def _arm(self, frozen: FrozenStudy, trial: Trial, name: str) -> tuple[FrozenArm | None, str]:
        """The arm of a draw; or why it is none: it cannot be built, or is there already."""
        try:
            recipe = suggest(trial, self.base, self.space)
        except ValidationError as error:
            return None, str(error)
        problems = recipe.problems()
        if problems:
            return None, problems[0]
        drawn = self.study.get_trials(deepcopy=False)[trial.number]
        found = differences(self.base, recipe)
        arm = FrozenArm(
            name=name,
            changes={path: [_plain(a), _plain(b)] for path, (a, b) in found.items()},
            recipe=recipe.model_dump(mode="json"),
            budget=self.search.budget,
            group=self.search.name,
            reference=self.search.base,
            phase=self.search.phase,
            search=self.search.name,
            params=dict(drawn.params),
            distributions={n: distribution_to_json(d) for n, d in drawn.distributions.items()},
        )
        if trial_id(frozen, arm, self.search.blocks[0]) in frozen.trials:
            return None, "drawn before"
        return arm, ""

    # --- both sides agree again -------------------------------------------------------------------------

    def sync(
        self,
        frozen: FrozenStudy,
        values: Mapping[str, list[float] | None],
        by_block: Mapping[str, Mapping[int, float]],
    ) -> None:
        """Exactly one entry for every drawn arm. `values`: of arms that are done, None for failed ones;
        `by_block`: the outcome on each block so far."""
        there = self.study.get_trials(deepcopy=False)
        entries = {str(e.user_attrs["arm"]): e for e in there if "arm" in e.user_attrs}
        for entry in there:
            if entry.state == TrialState.RUNNING and "arm" not in entry.user_attrs:
                self.study.tell(
                    entry.number, state=TrialState.FAIL
                )  # asked for, and then its coordinator died
        for arm in self.drawn(frozen):
            mine = entries.get(arm.name)
            if mine is None:
                self._restore(arm, values, by_block[arm.name])
            elif not mine.state.is_finished():
                self._trials[arm.name] = self._running(mine)
                if arm.name in values:
                    self.tell(arm.name, values[arm.name])
        if not there:
            self._first_points([arm.params for arm in self.drawn(frozen)])

    def _running(self, entry: FrozenTrial) -> Trial:
        """The open Optuna trial of an entry."""
        storage = self.study._storage
        key = storage.get_trial_id_from_study_id_trial_number(self.study._study_id, entry.number)
        if entry.state == TrialState.WAITING:
            storage.set_trial_state_values(key, TrialState.RUNNING)
        return Trial(self.study, key)

    def _first_points(self, taken: Sequence[Mapping[str, Any]]) -> None:
        """Earlier records, then the starting point itself where the space holds it, or every grid point."""
        for point in self.search.priors:
            self._add("prior", point["params"], point["values"])
        if self._grid:
            for params in itertools.islice(grid(self.space, self.base), self.search.trials):
                if params not in taken:
                    self.study.enqueue_trial(params)
        elif self.search.phase == "tune":
            start = self._parameters(self.base)
            if start is not None and start not in taken:
                self.study.enqueue_trial(start)

    def known(self, arm: str, recipe: Recipe, values: list[float], by_block: Mapping[int, float]) -> None:
        """Tell of an arm that was not drawn, such as the baseline, where the space holds it."""
        params = self._parameters(recipe)
        told = [e for e in self.study.get_trials(deepcopy=False) if e.user_attrs.get("known") == arm]
        if params is not None and not told:
            self._add(arm, params, values, by_block)

    def _parameters(self, recipe: Recipe) -> dict[str, Any] | None:
        try:
            return parameters_in(self.space, recipe, self.base)
        except ValueError:
            return None

    def _add(
        self,
        arm: str,
        params: Mapping[str, Any],
        values: list[float],
        by_block: Mapping[int, float] = MappingProxyType({}),
    ) -> None:
        """A finished point that was not asked for, with the distributions that the space gives it."""
        fixed = optuna.trial.FixedTrial(dict(params))
        try:
            suggest(fixed, self.base, self.space)
        except (ValueError, ValidationError):
            return
        self.study.add_trial(
            optuna.trial.create_trial(
                values=values,
                params=fixed.params,
                distributions=fixed.distributions,
                user_attrs={"known": arm},
                intermediate_values=dict(by_block) if self._by_blocks else {},
            )
        )

    def _restore(
        self, arm: FrozenArm, values: Mapping[str, list[float] | None], by_block: Mapping[int, float]
    ) -> None:
        """An arm that the storage does not know: it was lost, or is new, or the search was edited."""
        if arm.name in values:
            done = values[arm.name]
            fixed = optuna.trial.FixedTrial(dict(arm.params))
            try:
                suggest(fixed, self.base, self.space)
            except (ValueError, ValidationError):
                return  # drawn from a space that has changed since, which does not hold it
            self.study.add_trial(
                optuna.trial.create_trial(
                    state=TrialState.FAIL if done is None else TrialState.COMPLETE,
                    values=done,
                    params=fixed.params,
                    distributions=fixed.distributions,
                    user_attrs={"arm": arm.name},
                    intermediate_values=dict(by_block) if self._by_blocks else {},
                )
            )
            return
        self.study.enqueue_trial(arm.params, user_attrs={"arm": arm.name})
        trial = self.study.ask()
        suggest(trial, self.base, self.space)
        self._trials[arm.name] = trial
        for block, value in by_block.items():
            self.block_done(arm.name, block, value)

    # --- telling ----------------------------------------------------------------------------------------

    def tell(self, arm: str, values: list[float] | None) -> None:
        """The arm is done: its objectives, or None when it failed."""
        trial = self._trials[arm]
        finite = values is not None and all(math.isfinite(v) for v in values)
        state = TrialState.COMPLETE if finite else TrialState.FAIL
        self.study.tell(trial, values if finite else None, state=state, skip_if_finished=True)
        del self._trials[arm]

    def pruned(self, arm: str) -> None:
        """The arm was ended early."""
        self.study.tell(self._trials[arm], state=TrialState.PRUNED, skip_if_finished=True)
        del self._trials[arm]

    def block_done(self, arm: str, block: int, value: float) -> bool:
        """Whether the arm should stop after this block, compared with the best one on the same blocks."""
        if not self._by_blocks:
            return False
        trial = self._trials[arm]
        trial.report(value, block)
        with warnings.catch_warnings():
            # The best one may be an earlier record, which has no value on these blocks: nothing is stopped.
            warnings.filterwarnings("ignore", message="The best trial has no intermediate values")
            return trial.should_prune()

    def prunes(self, arm: str, progress: float, loss: float | None) -> bool:
        """Whether a training arm should stop, by its loss at this share of its budget."""
        if not self._by_loss:
            return False
        step = int(100 * progress)
        if (
            loss is None
            or not math.isfinite(loss)
            or not self._reported.get(arm, 0) < step < 100  # at 100 its training is done
            or arm not in self._trials
        ):
            return False
        self._reported[arm] = step
        trial = self._trials[arm]
        up = self.objectives[0].get("higher_is_better", True)
        trial.report(-loss if up else loss, step)  # a pruner compares in the direction of the outcome
        return trial.should_prune()


def mean_values(
    frozen: FrozenStudy, search: Search, arm: str, metrics: Mapping[str, Mapping[str, float] | None]
) -> list[float] | None:
    """The objectives of an arm, averaged over its blocks; None when one of them is missing."""
    objectives = [frozen.outcome, *([frozen.tradeoff] if frozen.tradeoff and search.phase != "tune" else [])]
    mine = [trial for trial, (name, block) in frozen.trials.items() if name == arm and block in search.blocks]
    rows = [metrics.get(trial) for trial in mine]
    if len(rows) < len(search.blocks):
        return None
    found = []
    for objective in objectives:
        values = [None if row is None else row.get(str(objective["metric"])) for row in rows]
        kept = [float(v) for v in values if v is not None]
        if len(kept) < len(rows):
            return None
        found.append(sum(kept) / len(kept))
    return found


def block_trial(frozen: FrozenStudy, arm: FrozenArm, block: int, why: str) -> Growth:
    """The addition of one drawn arm on one block."""
    return Growth(why=why, arms=[arm], trials={trial_id(frozen, arm, block): [arm.name, block]})


# --- samplers and pruners --------------------------------------------------------------------------------


def sampler(spec: Mapping[str, Any], seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's sampler for a study file's."""
    from optuna import samplers

    seed %= 2**32  # all that numpy's generators take; a block's streams take any seed

    kind = spec["kind"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        made: dict[str, Callable[[], samplers.BaseSampler]] = {
            "tpe": lambda: samplers.TPESampler(
                seed=seed, n_startup_trials=spec["startup"], multivariate=spec["multivariate"],
                group=spec["multivariate"],
            ),
            "gp": lambda: samplers.GPSampler(
                seed=seed, n_startup_trials=spec["startup"], warn_independent_sampling=False
            ),
            "qmc": lambda: samplers.QMCSampler(
                seed=seed, qmc_type=spec["sequence"], scramble=spec["scramble"],
                warn_asynchronous_seeding=False, warn_independent_sampling=False,
            ),
            "cmaes": lambda: samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
            "nsga2": lambda: samplers.NSGAIISampler(seed=seed, population_size=spec["population"]),
            "random": lambda: samplers.RandomSampler(seed=seed),
            "grid": lambda: samplers.RandomSampler(seed=seed),  # never draws: every point is enqueued
        }  # fmt: skip
        return made[kind]()


def pruner(spec: Mapping[str, Any] | None) -> optuna.pruners.BasePruner:
    """Optuna's pruner for a study file's."""
    from optuna import pruners

    if spec is None:
        return pruners.NopPruner()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if spec["kind"] == "wilcoxon":
            return pruners.WilcoxonPruner(p_threshold=spec["threshold"], n_startup_steps=spec["first"])
        return pruners.SuccessiveHalvingPruner(
            min_resource=max(1, round(100 * spec["first"])), reduction_factor=spec["factor"]
        )


def _plain(value: Any) -> Any:
    return canonical(value) if hasattr(value, "model_dump") else value
