"""What trials of each arm will take and see, from speeds that `ablate bench scaling` measured on a machine.

Nothing is guessed: an arm with a knob that the cost model does not count, or far from what was measured, has
a reason instead of a number.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from ablate.records import FrozenArm, FrozenStudy, Record
from ablate.speed.model import WITHIN, SpeedModel
from ablate.speed.saved import Machine
from ablate.speed.trial import foresee
from ablate.speed.work import UnknownWorkError


@dataclass(frozen=True)
class Pace:
    """What one trial of an arm sees and takes; `source` says whence that is known, or why it is not."""

    tokens: float | None
    hours: float | None  # of training
    source: str

    @property
    def known(self) -> bool:
        return self.hours is not None


@dataclass(frozen=True)
class Foresight:
    """Arm → pace, as far as speeds of the machine are known."""

    paces: dict[str, Pace] = field(default_factory=dict)
    within: float = WITHIN  # the relative error to expect
    notes: list[str] = field(default_factory=list)  # about files that could not be used, or none at all


def observed(study: FrozenStudy, records: Sequence[Record]) -> dict[str, Pace]:
    """Arm → means over its finished trials."""
    spent: dict[str, list[Mapping[str, float]]] = {}
    for record in records:
        finished = record.trial in study.trials and record.state == "complete"
        if finished and {"tokens", "seconds"} <= record.spent.keys():
            spent.setdefault(str(study.trials[record.trial][0]), []).append(record.spent)
    found = {}
    for arm, of in spent.items():
        tokens, seconds = (sum(one[what] for one in of) / len(of) for what in ("tokens", "seconds"))
        trials = f"{len(of)} finished trial{'s' if len(of) > 1 else ''}"
        found[arm] = Pace(tokens, seconds / 3600, f"measured on {trials}")
    return found


def foresight(
    study: FrozenStudy,
    machine: Machine,
    models: Sequence[SpeedModel],
    problems: Sequence[str] = (),
    seen: Container[str] = (),
) -> Foresight:
    """Predictions for the arms that are known beforehand, but for those that were `seen` to train; of models
    that fit an arm, the first one's.
    """
    arms = [a for a in study.arms if a.search is None and a.budget.get("amount") and a.name not in seen]
    if not arms:
        return Foresight()
    notes = list(problems)
    if not models:
        how = f" --threads {machine.threads}" if machine.threads > 1 else ""
        notes.append(
            f"what trials take and see is not predicted: no speeds of {machine} are saved; "
            f"`ablate bench scaling{how}` measures them"
        )
    used: list[SpeedModel] = []
    paces = {arm.name: _pace(arm, study.charge, models, used) for arm in arms} if models else {}
    # What they are held against, or the worst that they were off by where that is worse.
    within = max([WITHIN, *(abs(error) for model in used for error in model.held_out.values())])
    return Foresight(paces, within, notes)


def _pace(arm: FrozenArm, charge: str, models: Sequence[SpeedModel], used: list[SpeedModel]) -> Pace:
    if charge == "occupied" and arm.budget["unit"] == "seconds":
        return Pace(None, None, "charge: occupied counts start-up and evaluation too, which no bench knows")
    train = arm.recipe.get("train", {})
    kind = train.get("precision", {}).get("kind")
    same = [m for m in models if (m.precision, m.compiled) == (kind, train.get("compile"))]
    if not same:
        how = f"train.precision {kind}, {'compiled' if train.get('compile') else 'not compiled'}"
        return Pace(None, None, f"{how}, was not measured here")
    why = ""
    for model in same:
        try:
            found = foresee(model, arm.recipe, arm.parameters, arm.budget)
        except UnknownWorkError as error:
            why = why or str(error)
        else:
            used.append(model)
            source = f"predicted by `ablate bench scaling` of {model.date[:10]}"
            return Pace(found.tokens, found.seconds / 3600, source)
    return Pace(None, None, why)
