"""The Optuna side: parameters for browsing, states in step with the records, no password in a message."""

from pathlib import Path
from typing import Annotated, Any, Literal

import optuna
import pytest
import sqlalchemy as sa
from optuna.storages._rdb.models import TrialModel
from pydantic import Field

from ablate.knobs import Config, Knob, one_of
from ablate.records import FrozenArm, FrozenStudy, Record
from ablate.scheduling import RefusedError
from ablate.scheduling.attempts import Standing
from ablate.scheduling.storage import Queue, open_storage, sqlite
from tests.scheduling.conftest import study


class Rope(Config):
    """Rotates."""

    kind: Literal["rope"] = "rope"
    theta: Annotated[float, Knob("base", 100, 1e7, log=True)] = 1e4


class Learned(Config):
    """A table."""

    kind: Literal["learned"] = "learned"


class Tiny(Config):
    """A recipe of three knobs."""

    width: Annotated[int, Knob("width", 8, 64)] = 16
    position: Annotated[Annotated[Rope | Learned, one_of], Knob("positions")] = Field(default_factory=Learned)
    clip: Annotated[float | None, Knob("clip", 0.1, 10)] = 0.5


ARMS = {
    "baseline": (Tiny(), {}),
    "rope": (Tiny(position=Rope()), {"position": ["learned", "rope"]}),
    "theta": (Tiny(position=Rope(theta=500)), {"position": ["learned", "rope"]}),
    "wide": (Tiny(width=32), {"width": [16, 32]}),
    "loose": (Tiny(clip=None), {"clip": [0.5, None]}),
}


def frozen_of(root: Path) -> FrozenStudy:
    frozen = study(root, {name: {} for name in ARMS}, blocks=1)
    budget = {"unit": "steps", "amount": 1}
    arms = [
        FrozenArm(name=name, changes=changes, recipe=recipe.model_dump(), budget=budget)
        for name, (recipe, changes) in ARMS.items()
    ]
    return frozen.model_copy(update={"arms": arms})


def record_of(frozen: FrozenStudy, trial: str) -> Record:
    arm, block = frozen.trials[trial]
    return Record.model_validate({
        "schema": 1, "study": frozen.name, "trial": trial, "arm": arm, "block": block, "seed": block,
        "state": "complete", "recipe": {}, "budget": {"unit": "steps", "amount": 1},
        "metrics": {"test/score": 1.0},
    })  # fmt: skip


def entries(root: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="faults", storage=sqlite(root / "optuna.db")).trials


def opened(frozen: FrozenStudy) -> dict[str, Standing]:
    return {trial: Standing("open") for trial in frozen.trials}


def test_varied_knobs_are_recorded_with_their_own_domains(root: Path) -> None:
    frozen = frozen_of(root)
    queue = Queue(frozen, sqlite(root / "optuna.db"), Tiny)
    queue.sync(opened(frozen))
    assert [queue.next() for _ in range(6)] == [*frozen.trials, None]
    params = {e.user_attrs["arm"]: e.params for e in entries(root)}
    assert params["baseline"] == {"width": 16, "position": "learned", "clip": 0.5}
    assert params["theta"] == {"width": 16, "position": "rope", "position[rope].theta": 500.0, "clip": 0.5}
    assert params["wide"]["width"] == 32
    assert "clip" not in params["loose"], "off has no place on a numeric scale"
    (wide,) = [e for e in entries(root) if e.user_attrs["arm"] == "wide"]
    assert wide.distributions["width"] == optuna.distributions.IntDistribution(8, 64)
    # What was written beside Optuna is what Optuna would have written: it takes the same trial again.
    study = optuna.load_study(study_name="faults", storage=sqlite(root / "optuna.db"))
    study.add_trial(
        optuna.trial.create_trial(value=1.0, params=wide.params, distributions=wide.distributions)
    )
    assert study.trials[-1].params == wide.params
    other = {**wide.distributions, "position": optuna.distributions.IntDistribution(0, 9)}
    bent = optuna.trial.create_trial(value=1.0, params={**wide.params, "position": 3}, distributions=other)
    with pytest.raises(ValueError, match="distribution"):
        study.add_trial(bent)


def test_dashboards_call_the_value_by_the_outcomes_name(root: Path) -> None:
    frozen = frozen_of(root)
    for _ in range(2):  # opened anew, too
        queue = Queue(frozen, sqlite(root / "optuna.db"))
        assert queue.study.metric_names == [frozen.outcome["metric"]]


def test_a_trial_left_running_by_a_dead_coordinator_is_taken_up_not_doubled(root: Path) -> None:
    frozen = frozen_of(root)
    first = Queue(frozen, sqlite(root / "optuna.db"))
    first.sync(opened(frozen))
    left = first.next()
    second = Queue(frozen, sqlite(root / "optuna.db"))
    second.sync(opened(frozen))
    assert [second.next() for _ in range(6)] == [left, *[t for t in frozen.trials if t != left], None]
    assert len(entries(root)) == 5


def test_starting_and_ending_a_trial_reads_no_other_trial(root: Path) -> None:
    frozen = frozen_of(root)
    frozen = frozen.model_copy(update={"trials": {f"{a}-{b}": [a, b] for a in ARMS for b in range(8)}})
    queue = Queue(frozen, sqlite(root / "optuna.db"), Tiny)
    queue.sync(opened(frozen))
    read: list[int] = []

    def note(row: TrialModel, *rest: Any) -> None:
        read.append(row.number)

    sa.event.listen(TrialModel, "load", note)
    try:
        for trial in frozen.trials:
            assert queue.next() == trial
            queue.tell(trial, record_of(frozen, trial))
    finally:
        sa.event.remove(TrialModel, "load", note)
    assert read, "the rows of trials are seen here"
    assert read == sorted(read), "each its own, and none after another was started"
    assert [e.state.name for e in entries(root)] == ["COMPLETE"] * 40
    assert queue.next() is None


def test_a_trial_that_ends_while_the_storage_is_away_is_told_once(root: Path) -> None:
    frozen = frozen_of(root)
    queue = Queue(frozen, sqlite(root / "optuna.db"), Tiny)
    queue.sync(opened(frozen))
    trial = queue.next()
    assert trial is not None
    record = record_of(frozen, trial)
    queue.sync({**opened(frozen), trial: Standing("complete", record)})
    queue.claim(trial)  # its process has not been seen to end
    queue.tell(trial, record)
    assert [e.state.name for e in entries(root)] == ["COMPLETE"]
    assert queue.next() == list(frozen.trials)[1]


def test_a_trial_whose_record_was_lost_runs_again_and_is_complete_once(root: Path) -> None:
    frozen = frozen_of(root)
    first = Queue(frozen, sqlite(root / "optuna.db"), Tiny)
    first.sync(opened(frozen))
    trial = first.next()
    assert trial is not None
    first.tell(trial, record_of(frozen, trial))
    second = Queue(frozen, sqlite(root / "optuna.db"), Tiny)
    second.sync(opened(frozen))
    assert second.next() == trial
    second.tell(trial, record_of(frozen, trial))
    assert [e.state.name for e in entries(root)] == ["COMPLETE"]


def test_trials_that_left_the_study_are_closed(root: Path) -> None:
    frozen = frozen_of(root)
    larger = Queue(frozen, sqlite(root / "optuna.db"))
    larger.sync(opened(frozen))
    assert [larger.next() for _ in range(4)] == list(frozen.trials)[:4]
    smaller = frozen.model_copy(update={"trials": {"baseline-0": ["baseline", 0]}})
    queue = Queue(smaller, sqlite(root / "optuna.db"))
    queue.sync(opened(smaller))
    assert [queue.next(), queue.next()] == ["baseline-0", None]
    states = [e.state.name for e in entries(root) if e.user_attrs["arm"] != "baseline"]
    assert states == ["FAIL"] * 3


def test_an_unreachable_storage_is_refused_without_showing_its_password(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        open_storage("postgresql://user:secret@127.0.0.1:1/name")
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:1/name" in str(caught.value)
    with pytest.raises(RefusedError, match="database URL"):
        open_storage("not a url")
