"""The study in Optuna: one entry per planned trial, asked and told by the coordinator alone.

Several processes that pop from Optuna's SQLite start the same trial twice (measured: 30 of 118 starts); one
writer cannot. What a trial *is* comes from `study.json`; its parameters are recorded here for browsing
(`optuna-dashboard`) and for samplers. Only `connection`, `search` and this module import optuna.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from ablate.knobs import Choice, Config, Domain, Number, Variants, knobs, parameters
from ablate.records import FrozenStudy, Record
from ablate.scheduling.attempts import Standing
from ablate.scheduling.connection import Claim, answering, open_storage, sqlite

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
        self._claim = Claim(self.storage, frozen, root or Path())
        self._recipe = recipe
        self._levels = _levels(frozen, recipe) if recipe else {}
        self._numbers: dict[str, int] = {}  # trial id → number of its running Optuna trial
        self._ready: list[
            str
        ] = []  # running in Optuna, to be started here: left behind by a dead coordinator
        self._waiting = 0

    def close(self) -> None:
        """Let another coordinator have the study."""
        self._claim.release()

    @answering
    def sync(self, standings: Mapping[str, Standing]) -> None:
        """Exactly one open entry for every trial still to do, none for the others."""
        self._claim.take()
        self._numbers, self._ready = {}, []
        entries: dict[str, list[FrozenTrial]] = {}
        for entry in self.study.get_trials(deepcopy=False):
            entries.setdefault(entry.user_attrs.get("trial", ""), []).append(entry)
        for trial in [t for t in entries if t not in standings]:
            self._close(entries.pop(trial), "no longer part of the study")
        self._waiting = 0
        for trial, standing in standings.items():
            mine = entries.get(trial, [])
            unfinished = [e for e in mine if not e.state.is_finished()]
            if standing.final:
                self._settle(trial, standing, mine, unfinished)
            else:
                self._reopen(trial, unfinished)

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
            self._numbers[trial] = self._run(unfinished[0])
            self.tell(trial, standing.record)
        else:  # the storage was lost or is new; the records are not
            self._add(trial, standing.record)

    def _reopen(self, trial: str, unfinished: list[FrozenTrial]) -> None:
        running = [e for e in unfinished if e.state == TrialState.RUNNING]
        kept = (running or unfinished)[:1]
        self._close([e for e in unfinished if e not in kept], "a second entry of this trial")
        if not kept:
            self._enqueue(trial)
            self._waiting += 1
        elif running:
            self._numbers[trial] = kept[0].number
            self._ready.append(trial)
        else:
            self._waiting += 1

    @answering
    def extend(self, frozen: FrozenStudy, trials: Mapping[str, Record | None]) -> None:
        """Take up trials that were added to the study; one with a record has been run already."""
        self.frozen = frozen
        if self._recipe:
            self._levels = _levels(frozen, self._recipe)
        for trial, record in trials.items():
            if record is not None:
                self._add(trial, record)
                continue
            self._enqueue(trial)
            self._waiting += 1

    def prunes(self, trial: str, progress: Callable[[], Mapping[str, Any]]) -> str:
        """Listed trials run to the end of their budget."""
        return ""

    @answering
    def next(self) -> str | None:
        """The next trial to start, or None when every open one was asked for."""
        if self._ready:
            return self._ready.pop(0)
        if self._waiting == 0:
            return None
        self._waiting -= 1
        return self._ask()

    @answering
    def claim(self, trial: str) -> None:
        """Take an open trial out of turn: one that already runs and was adopted."""
        while trial not in self._ready:
            self._waiting -= 1
            self._ready.append(self._ask())
        self._ready.remove(trial)

    @answering
    def tell(self, trial: str, record: Record) -> None:
        """Close a trial with its record: COMPLETE with the outcome, or FAIL with the reason."""
        number = self._numbers[trial]
        key = self.storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        self.storage.set_trial_user_attr(key, "state", record.state)
        if record.reason:
            self.storage.set_trial_user_attr(key, "reason", record.reason[:1000])
        value = self._value(record)
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        # Told before when the storage went away between its commit and its answer.
        self.study.tell(number, value, state=state, skip_if_finished=True)
        del self._numbers[trial]

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

    @property
    def _study_id(self) -> int:
        return self.storage.get_study_id_from_name(self.frozen.name)

    def _enqueue(self, trial: str) -> None:
        arm, block = self.frozen.trials[trial]
        fixed = {name: value for name, (_, value) in self._levels.get(arm, {}).items()}
        self.study.enqueue_trial(fixed, user_attrs={"trial": trial, "arm": arm, "block": block})

    def _ask(self) -> str:
        asked = self.study.ask()
        trial, arm = asked.user_attrs["trial"], asked.user_attrs["arm"]
        for name, (domain, _) in self._levels.get(arm, {}).items():
            _record(asked, name, domain)
        self._numbers[trial] = asked.number
        return str(trial)

    def _run(self, entry: FrozenTrial) -> int:
        """A waiting entry made running, so that it can be told."""
        if entry.state == TrialState.WAITING:
            key = self.storage.get_trial_id_from_study_id_trial_number(self._study_id, entry.number)
            self.storage.set_trial_state_values(key, TrialState.RUNNING)
        return entry.number

    def _close(self, entries: Iterable[FrozenTrial], reason: str) -> None:
        for entry in entries:
            if not entry.state.is_finished():
                number = self._run(entry)
                key = self.storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
                self.storage.set_trial_user_attr(key, "reason", reason)
                self.study.tell(number, state=TrialState.FAIL)


Levels = dict[str, tuple[Domain, Any]]


def _levels(frozen: FrozenStudy, recipe: type[Config]) -> dict[str, Levels]:
    """Each arm's level of every varied knob that can be searched: arm → qualified name → (domain, level)."""
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
        found[arm.name] = {n: (domains[n], v) for n, v in drawn.items() if _recordable(domains[n], v)}
    return found


def _recordable(domain: Domain, value: Any) -> bool:
    # An optional number that is off (clip: none) has no place on a numeric scale.
    return not (isinstance(domain, Number) and value is None)


def _record(trial: Trial, name: str, domain: Domain) -> None:
    """Draw a parameter that was enqueued, so that Optuna knows value and distribution."""
    if isinstance(domain, Choice | Variants):
        trial.suggest_categorical(name, list(domain.levels))
    elif isinstance(domain, Number):
        assert domain.low is not None
        assert domain.high is not None
        if domain.integer:
            trial.suggest_int(name, int(domain.low), int(domain.high), log=domain.log)
        else:
            trial.suggest_float(name, domain.low, domain.high, log=domain.log)
