"""What every level of every knob must do, whatever it is: be seen, stay finite, and survive a trial's life."""

from __future__ import annotations

import math

import pytest

from ablate.knobs import canonical, differences, replace
from ablate.model import parameters
from ablate.training import Trained
from ablate.training.initial import vocabulary_of
from tests.conformance.levels import Pair, every_level
from tests.conformance.observe import (
    Interrupting,
    Interruption,
    fresh,
    observe,
    prepared,
    pretrain,
    pretrained,
    weights_of,
)

LEVELS = every_level()
every = pytest.mark.parametrize("pair", LEVELS.values(), ids=list(LEVELS))
of_training = pytest.mark.parametrize(
    "pair",
    [pair for pair in LEVELS.values() if pair.knob.path.split(".")[0] in ("model", "train")],
    ids=[name for name, pair in LEVELS.items() if pair.knob.path.split(".")[0] in ("model", "train")],
)


@every
def test_a_level_differs_from_its_sibling_in_nothing_else_and_can_be_built(pair: Pair) -> None:
    assert list(differences(pair.sibling, pair.arm)) == [pair.knob.path]
    assert pair.sibling.problems() == []
    assert pair.arm.problems() == []
    assert canonical(pair.arm.effective()) != canonical(pair.sibling.effective()), "it is declared inert"


@every
def test_a_level_bites(pair: Pair) -> None:
    here, there = observe(pair.sibling), observe(pair.arm)
    assert all(math.isfinite(loss) for loss in there.losses)
    assert math.isfinite(there.held_out)
    assert math.isfinite(there.score)
    if pair.knob.knob.speed_only:
        assert there.parameters == here.parameters
        assert there.losses == pytest.approx(here.losses, rel=1e-5)
        assert there.held_out == pytest.approx(here.held_out, rel=1e-5)
    else:
        assert there != here, "nothing that can be seen differs"


@of_training
def test_an_interrupted_trial_ends_with_the_same_bits(pair: Pair) -> None:
    folder = fresh()
    with pytest.raises(Interruption):
        pretrain(pair.arm, folder, tracker=Interrupting(3), checkpoint_seconds=0.0)
    resumed, whole = pretrain(pair.arm, folder), pretrained(pair.arm)
    assert len(resumed.attempts) == 2
    assert resumed.losses == whole.losses
    assert weights_of(resumed) == weights_of(whole)
    assert resumed.metrics["eval/mlm_loss"] == whole.metrics["eval/mlm_loss"]


@of_training
def test_a_level_trains_in_bf16(pair: Pair) -> None:
    if pair.knob.path.startswith("train.precision"):
        pytest.skip("it is a precision itself")
    arm = replace(pair.arm, {"train.precision": "bf16"})
    if arm.problems():
        pytest.skip("; ".join(arm.problems()))
    rounded: Trained = pretrain(arm, fresh())
    exact = pretrained(pair.arm)
    assert rounded.losses[0] == pytest.approx(exact.losses[0], rel=0.03)
    assert all(math.isfinite(loss) for loss in rounded.losses)
    assert all(p.isfinite().all() for p in rounded.model.parameters())


@of_training
def test_the_size_follows_from_the_config(pair: Pair) -> None:
    model, data = pretrained(pair.arm).model, prepared(pair.arm)
    said = parameters(pair.arm.model, vocabulary=vocabulary_of(data), length=pair.arm.data.length)
    said += pair.arm.train.objective.parameters(pair.arm.model)
    assert said == sum(p.numel() for p in model.parameters())
