"""The study in Optuna: one entry per started trial, asked and told by the coordinator alone.

Several processes that pop from Optuna's SQLite start the same trial twice (measured: 30 of 118 starts); one
writer cannot. What a trial *is* comes from `study.json`; its parameters are recorded here for browsing
(`optuna-dashboard`) and for samplers. An entry is made when its trial is asked for: `study.ask()` reads every
waiting entry anew, which at 1,000 of them took 0.2 s a trial. Only `connection`, `search` and this module
import optuna.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import FrozenTrial, TrialState

from ablate.knobs import Choice, Config, Domain, Number, Variants, knobs, parameters, plain
from ablate.records import FrozenStudy, Record
from ablate.scheduling.attempts import Standing
from ablate.scheduling.connection import Claim, answering, name_values, open_storage, sqlite

__all__ = ["Queue", "open_storage", "sqlite"]

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Queue:
    """Planned trials as Optuna trials: `next` asks, `tell` tells, `sync` makes both sides agree again."""

    def __init__(
        self,
        frozen: FrozenStudy,
        url: str,
        recipe: type[Config] | None = None,
        root: Path | None = None,
    ) -> None:
        """Open or create the Optuna study. With a recipe type, varied knobs are recorded as parameters.

        `root` is the run folder, for whoever wants to run the same study in the same database. Raises
        RefusedError for a storage that cannot be used, or that another coordinator uses for this study.
        """
        self.frozen = frozen
        self.storage = open_storage(url)
        up = frozen.outcome.get("higher_is_better", True)
        self.study = optuna.create_study(
            storage=self.storage,
            study_name=frozen.name,
            direction="maximize" if up else "minimize",
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(seed=0),  # never draws: every arm is enumerated
        )
        name_values(self.study, [str(frozen.outcome["metric"])])
        self._claim = Claim(self.storage, frozen, root or Path())
        self._recipe = recipe
        self._levels = _levels(frozen, recipe) if recipe else {}
        self._keys: dict[str, int] = {}  # trial → key of its running Optuna trial
        self._ready: list[str] = []  # running in Optuna, to be started here: a dead coordinator left them
        self._waiting: dict[str, None] = {}  # not asked for yet, in the order of the study
        self._told: set[str] = set()  # complete in Optuna, yet to be run again

    def close(self) -> None:
        """Let another coordinator have the study."""
        self._claim.release()

    @answering
    def sync(self, standings: Mapping[str, Standing]) -> None:
        """At most one open entry for every trial still to do, none for the others."""
        self._claim.take()
        self._keys, self._ready, self._waiting, self._told = {}, [], {}, set()
        entries: dict[str, list[FrozenTrial]] = {}
        for entry in self.study.get_trials(deepcopy=False):
            entries.setdefault(entry.user_attrs.get("trial", ""), []).append(entry)
        for trial in [t for t in entries if t not in standings]:
            self._close(entries.pop(trial), "no longer part of the study")
        for trial, standing in standings.items():
            mine = entries.get(trial, [])
            unfinished = [e for e in mine if not e.state.is_finished()]
            if standing.final:
                self._settle(trial, standing, mine, unfinished)
            else:
                self._reopen(trial, mine, unfinished)

    def _settle(
        self, trial: str, standing: Standing, mine: list[FrozenTrial], unfinished: list[FrozenTrial]
    ) -> None:
        assert standing.record is not None
        wanted = TrialState.COMPLETE if standing.verdict == "complete" else TrialState.FAIL
        if any(e.state == wanted for e in mine) or (mine and not unfinished):
            self._close(unfinished, "already told")
            return
        self._close(unfinished[1:], "already told")
        if unfinished:
            self._keys[trial] = self._run(unfinished[0])
            self.tell(trial, standing.record)
        else:  # the storage was lost or is new; the records are not
            self._add(trial, standing.record)

    def _reopen(self, trial: str, mine: list[FrozenTrial], unfinished: list[FrozenTrial]) -> None:
        # A record that was lost after it had been told: the trial runs again, and Optuna keeps what it knows.
        told = any(e.state == TrialState.COMPLETE for e in mine)
        running = [e for e in unfinished if e.state == TrialState.RUNNING and not told][:1]
        self._close([e for e in unfinished if e not in running], "a second entry of this trial")
        if running:
            self._keys[trial] = running[0]._trial_id
            self._ready.append(trial)
        else:
            self._waiting[trial] = None
            if told:
                self._told.add(trial)

    @answering
    def extend(self, frozen: FrozenStudy, trials: Mapping[str, Record | None]) -> None:
        """Take up trials that were added to the study; one with a record has been run already."""
        self.frozen = frozen
        if self._recipe:
            self._levels = _levels(frozen, self._recipe)
        for trial, record in trials.items():
            if record is None:
                self._waiting[trial] = None
            else:
                self._add(trial, record)

    def prunes(self, trial: str, progress: Callable[[], Mapping[str, Any]]) -> str:
        """Listed trials run to the end of their budget."""
        return ""

    @answering
    def next(self) -> str | None:
        """The next trial to start, or None when every open one was asked for."""
        if self._ready:
            return self._ready.pop(0)
        for trial in self._waiting:
            self._ask(trial)
            return trial
        return None

    @answering
    def claim(self, trial: str) -> None:
        """Take an open trial out of turn: one that already runs and was adopted."""
        if trial in self._ready:
            self._ready.remove(trial)
        elif trial in self._waiting:  # else it ended meanwhile, and `sync` told so
            self._ask(trial)

    @answering
    def tell(self, trial: str, record: Record) -> None:
        """Close a trial with its record: COMPLETE with the outcome, or FAIL with the reason."""
        key, value = self._keys.get(trial), self._value(record)
        if key is None:
            return  # told before: its record was lost since, or `sync` was faster
        # Told before when the storage went away between its commit and its answer.
        with suppress(optuna.exceptions.UpdateFinishedTrialError):
            self.storage.set_trial_user_attr(key, "state", record.state)
            if record.reason:
                self.storage.set_trial_user_attr(key, "reason", record.reason[:1000])
            state = TrialState.FAIL if value is None else TrialState.COMPLETE
            self.storage.set_trial_state_values(key, state, None if value is None else [value])
        del self._keys[trial]

    def _add(self, trial: str, record: Record) -> None:
        arm, block = self.frozen.trials[trial]
        value = self._value(record)
        self.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.FAIL if value is None else TrialState.COMPLETE,
                value=value,
                user_attrs={"trial": trial, "arm": arm, "block": block, "state": record.state},
            )
        )

    def _value(self, record: Record) -> float | None:
        """The outcome, or None where there is none."""
        value = record.metrics.get(self.frozen.outcome["metric"])
        return value if record.state == "complete" and value is not None and math.isfinite(value) else None

    def _ask(self, trial: str) -> None:
        """Make the running entry of a waiting trial, with its varied knobs as parameters."""
        if trial in self._told:
            del self._waiting[trial]
            return
        arm, block = self.frozen.trials[trial]
        levels = self._levels.get(arm, {})
        entry = optuna.trial.create_trial(
            state=TrialState.RUNNING, user_attrs={"trial": trial, "arm": arm, "block": block}
        )
        key = self.storage.create_new_trial(self.study._study_id, entry)
        self._write(key, levels)
        self._keys[trial] = key
        del self._waiting[trial]

    def _write(self, key: int, levels: Levels) -> None:
        """The parameters of an entry in one statement: Optuna takes four for each (docs/reliability.md)."""
        rows = [
            {
                "trial_id": key,
                "param_name": name,
                "param_value": domain.to_internal_repr(value),
                "distribution_json": distribution_to_json(domain),
            }
            for name, (domain, value) in levels.items()
        ]
        if rows:
            with self.storage.engine.begin() as connection:
                connection.execute(_PARAMETERS.insert(), rows)

    def _run(self, entry: FrozenTrial) -> int:
        """The key of an open entry, made running so that it can be told."""
        if entry.state == TrialState.WAITING:
            self.storage.set_trial_state_values(entry._trial_id, TrialState.RUNNING)
        return entry._trial_id

    def _close(self, entries: Iterable[FrozenTrial], reason: str) -> None:
        for entry in entries:
            if not entry.state.is_finished():
                key = self._run(entry)
                self.storage.set_trial_user_attr(key, "reason", reason)
                self.storage.set_trial_state_values(key, TrialState.FAIL)


Levels = dict[str, tuple[BaseDistribution, Any]]
# Optuna's own table, the same in 4.5 and 5.0; what is written here is read back through Optuna in the tests.
_PARAMETERS = sa.table(
    "trial_params", *map(sa.column, ("trial_id", "param_name", "param_value", "distribution_json"))
)


def _levels(frozen: FrozenStudy, recipe: type[Config]) -> dict[str, Levels]:
    """Arm → qualified name of each varied knob that can be searched → (distribution, level)."""
    infos = {info.path: info for info in knobs(recipe)}
    domains = {info.name: info.domain for info in knobs(recipe)}
    variants = {path for path, info in infos.items() if isinstance(info.domain, Variants)}
    varied: set[str] = set()
    for path in {path for arm in frozen.arms if arm.search is None for path in arm.changes}:
        parents = (path.rsplit(".", n)[0] for n in range(path.count("."), -1, -1))
        # A setting of a variant is recorded with the variant it belongs to.
        varied |= {next((p for p in parents if p in variants), path)} & infos.keys()
    found: dict[str, Levels] = {}
    for arm in (a for a in frozen.arms if a.search is None):
        drawn = parameters(recipe.model_validate(arm.recipe), sorted(varied))
        found[arm.name] = {
            n: (distribution, plain(v))
            for n, v in drawn.items()
            if (distribution := _distribution(domains[n])) is not None and _holds(distribution, v)
        }
    return found


def _distribution(domain: Domain) -> BaseDistribution | None:
    """A domain as Optuna writes it down, or None where it has none."""
    if isinstance(domain, Choice | Variants):
        return CategoricalDistribution([plain(level) for level in domain.levels])
    if not isinstance(domain, Number) or domain.low is None or domain.high is None:
        return None
    if domain.integer:
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a level has a place there; an optional number that is off (clip: none) has not."""
    return value is not None or isinstance(distribution, CategoricalDistribution)
