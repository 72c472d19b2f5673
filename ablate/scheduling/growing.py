"""The queue of a study that adds to itself: drawn arms, blocks where a verdict is open, confirmations.

Everything that is added is in `grown.jsonl` before anything is started from it. Which additions follow from
which outcomes is decided in `design.grow`, by rules that were fixed before the first trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ablate.design.grow import additions
from ablate.knobs import Config
from ablate.recipe import Recipe
from ablate.records import DONE, FrozenStudy, Growth, Record, StudyPaths, grow, grown
from ablate.scheduling import StorageLostError
from ablate.scheduling.attempts import Standing, standing
from ablate.scheduling.connection import answering
from ablate.scheduling.search import Sampling, block_trial, mean_values
from ablate.scheduling.storage import Queue


def grows(frozen: FrozenStudy) -> bool:
    """Whether a study adds to itself while it runs."""
    return bool(frozen.searches or frozen.elastic)


def make_queue(frozen: FrozenStudy, root: Path, url: str, recipe: type[Config]) -> Queue | GrowingQueue:
    """The queue that a study needs."""
    return GrowingQueue(frozen, root, url) if grows(frozen) else Queue(frozen, url, recipe, root=root)


class GrowingQueue:
    """Listed trials from a `Queue`, drawn ones from searches, and what follows from their outcomes."""

    def __init__(self, frozen: FrozenStudy, root: Path, url: str) -> None:
        self.frozen, self.root = frozen, root
        self._arms = {arm.name: arm.search for arm in frozen.arms}  # arm → the search that drew it
        self._mine: dict[str, list[str]] = {}  # arm → its trials
        self._index(frozen.trials)
        self.queue = Queue(frozen, url, Recipe, root=root)
        self.searches = {s.name: Sampling(frozen, s, self.queue.storage) for s in frozen.searches}
        self._metrics: dict[str, Mapping[str, float] | None] = {}  # trial → its metrics; None: it failed
        self._pruned: set[str] = set()  # arms that a search ended early
        self._drawn: list[str] = []  # trials of drawn arms, to be started
        self._changed = True  # something ended since additions were last thought about

    def close(self) -> None:
        """Let another coordinator have the study."""
        self.queue.close()

    # --- what the coordinator asks ----------------------------------------------------------------------

    @answering
    def sync(self, standings: dict[str, Standing]) -> None:
        """Agree with the records there are; take up drawn arms that are not done."""
        self.queue.sync({t: s for t, s in standings.items() if self._search(t) is None})
        for trial, found in standings.items():
            if found.final:
                assert found.record is not None
                self._note(trial, found.record)
        for search in self.searches.values():
            mine = [arm.name for arm in search.drawn(self.frozen)]
            done = {arm: self._values(arm) for arm in mine if self._done(arm)}
            search.sync(self.frozen, done, {arm: self._by_block(arm) for arm in mine})
            self._tell_of_base(search)
        self._drawn = [t for t, s in standings.items() if not s.final and self._search(t) is not None]

    @answering
    def next(self) -> str | None:
        """The next trial to start; None when there is nothing until one of the running trials ends."""
        while True:
            listed = self.queue.next()
            if listed is not None:
                return listed
            if self._drawn:
                return self._drawn.pop(0)
            if not (self._draw() or self._add()):
                return None

    @answering
    def claim(self, trial: str) -> None:
        """Take an open trial out of turn."""
        if self._search(trial) is None:
            self.queue.claim(trial)
        else:
            self._drawn = [t for t in self._drawn if t != trial]

    @answering
    def tell(self, trial: str, record: Record) -> None:
        """Close a trial with its record."""
        self._note(trial, record)
        search = self._search(trial)
        if search is None:
            self.queue.tell(trial, record)
            for sampling in self.searches.values():
                self._tell_of_base(sampling)
            return
        arm, block = self.frozen.trials[trial]
        value = record.metrics.get(self.frozen.outcome["metric"]) if record.state == "complete" else None
        worse = value is not None and search.block_done(arm, block, value)
        if record.state == "pruned" or (worse and not self._done(arm)):
            self._pruned.add(arm)
            search.pruned(arm)
        elif value is None or self._done(arm):
            self._drawn = [t for t in self._drawn if self.frozen.trials[t][0] != arm]
            search.tell(arm, self._values(arm))
        else:
            self._next_block(arm)

    def prunes(self, trial: str, progress: Callable[[], Mapping[str, Any]]) -> str:
        """Why a running trial should be ended early, or ''."""
        search = self._search(trial)
        if search is None or search.search.pruner is None:
            return ""
        beat = progress()
        if beat.get("phase") != "pretrain":
            return ""
        loss = beat.get("loss")
        arm = self.frozen.trials[trial][0]
        share = float(beat.get("progress") or 0.0)
        try:
            if not answering(search.prunes)(arm, share, None if loss is None else float(loss)):
                return ""
        except StorageLostError:
            return ""  # it goes on; nobody is ended by a database that is away
        return f"successive halving: its loss {float(loss or 0):.4g} at {share:.0%} was not among the best"

    # --- additions --------------------------------------------------------------------------------------

    def _draw(self) -> bool:
        """Draw an arm from the first search that has one left."""
        for search in self.searches.values():
            arm = search.draw(self.frozen)
            if arm is not None:
                blocks = search.search.blocks
                # Arms that may be stopped after a block get their blocks one by one.
                for block in blocks[:1] if search.search.pruner else blocks:
                    self._grow(block_trial(self.frozen, arm, block, f"drawn by {search.search.name}"))
                self._take(self._mine[arm.name])
                return True
        return False

    def _next_block(self, arm: str) -> None:
        """The block that follows for a drawn arm that goes on, when it has not been asked for yet."""
        mine = {self.frozen.trials[t][1]: t for t in self._mine[arm]}
        found = next(a for a in self.frozen.arms if a.name == arm)
        search = self.searches[str(found.search)]
        left = [block for block in search.search.blocks if block not in mine]
        if left and all(t in self._metrics for t in mine.values()):
            added = block_trial(self.frozen, found, left[0], "not worse so far")
            self._grow(added)
            self._take(added.trials)

    def _take(self, trials: Iterable[str]) -> None:
        """Put trials of a drawn arm in line; an edit may have left one out that was run, and asks again."""
        found = {trial: self._recorded(trial) for trial in trials}
        self._drawn = [t for t, record in found.items() if record is None] + self._drawn
        for trial, record in found.items():
            if record is not None:
                self.tell(trial, record)

    def _recorded(self, trial: str) -> Record | None:
        """The record of a trial that was run before it was added."""
        there = standing(StudyPaths(self.root).trial(trial))
        return there.record if there.final else None

    def _add(self) -> bool:
        """What follows from the outcomes so far."""
        if not self._changed:
            return False
        self._changed = False
        used_up = [name for name, search in self.searches.items() if search.used_up(self.frozen)]
        metric = self.frozen.outcome["metric"]
        outcomes = {t: None if m is None else m.get(metric) for t, m in self._metrics.items()}
        found = additions(self.frozen, outcomes, used_up)
        for addition in found:
            self._grow(addition)
            records = {trial: self._recorded(trial) for trial in addition.trials}
            self.queue.extend(self.frozen, records)
            for trial, record in records.items():
                if record is not None:
                    self._note(trial, record)
        if not found and len(used_up) == len(self.searches) and len(outcomes) == len(self.frozen.trials):
            self._grow(Growth(why=DONE))
        return bool(found)

    def _grow(self, addition: Growth) -> None:
        grow(self.root, addition)
        self.frozen = grown(self.frozen, [addition])
        self._arms |= {arm.name: arm.search for arm in addition.arms}
        self._index(addition.trials)

    # --- what is known ----------------------------------------------------------------------------------

    def _search(self, trial: str) -> Sampling | None:
        """The search whose arm this is."""
        return self.searches.get(str(self._arms.get(self.frozen.trials[trial][0])))

    def _index(self, trials: Mapping[str, list[Any]]) -> None:
        for trial, (arm, _) in trials.items():
            self._mine.setdefault(arm, []).append(trial)

    def _note(self, trial: str, record: Record) -> None:
        self._metrics[trial] = record.metrics if record.state == "complete" else None
        if record.state == "pruned":
            self._pruned.add(self.frozen.trials[trial][0])
        self._changed = True

    def _done(self, arm: str) -> bool:
        """Whether a drawn arm has ended: on all its blocks, on one that failed, or early."""
        mine = self._mine[arm]
        search = self._search(mine[0])
        assert search is not None
        ended = [self._metrics[t] for t in mine if t in self._metrics]
        return arm in self._pruned or None in ended or len(ended) == len(search.search.blocks)

    def _values(self, arm: str) -> list[float] | None:
        search = self.searches[str(self._arms[arm])]
        return mean_values(self.frozen, search.search, arm, self._metrics)

    def _by_block(self, arm: str) -> dict[int, float]:
        """Block → outcome of an arm, as far as it got."""
        metric, found = str(self.frozen.outcome["metric"]), {}
        for trial in self._mine.get(arm, ()):
            value = (self._metrics.get(trial) or {}).get(metric)
            if value is not None:
                found[int(self.frozen.trials[trial][1])] = float(value)
        return found

    def _tell_of_base(self, search: Sampling) -> None:
        """The arm that a search starts from ran too: a point like any other."""
        if search.search.phase == "tune":
            return
        values = mean_values(self.frozen, search.search, search.search.base, self._metrics)
        if values is not None:
            search.known(search.search.base, search.base, values, self._by_block(search.search.base))
