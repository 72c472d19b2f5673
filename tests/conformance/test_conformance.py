"""What every level of every knob must do, whatever it is: be seen, stay finite, and survive a trial's life."""

from __future__ import annotations

import math
from itertools import takewhile

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ablate.knobs import canonical, differences, replace
from ablate.model import parameters
from ablate.model.attention import FourierMixing
from ablate.training import Trained
from ablate.training.initial import build, vocabulary_of
from ablate.training.objective import flops_per_token
from tests.conformance.levels import UNTRIED, Pair, every_level
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


def test_no_level_is_left_out() -> None:
    assert UNTRIED == {}, "a variant with settings of no default: give them in SETTINGS"


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
        assert there.differs_from(here), "nothing that can be seen differs by more than rounding"


@every
def test_no_two_levels_of_a_knob_do_the_same(pair: Pair) -> None:
    if pair.knob.knob.speed_only:
        pytest.skip("its levels are meant to do the same")
    for other in takewhile(lambda other: other is not pair, LEVELS.values()):
        if other.knob == pair.knob and other.sibling == pair.sibling:
            assert observe(pair.arm).differs_from(observe(other.arm)), differences(pair.arm, other.arm)


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


@of_training
def test_the_operations_follow_from_the_config(pair: Pair) -> None:
    """Those of one pass over a micro-batch, as torch counts them; modifiers that make a second pass say so."""
    arm = replace(pair.arm, {"train.precision": "fp32"})
    if arm.model.checkpointing or arm.model.layer_drop:
        pytest.skip("recomputed, or counted on average: tests/model/test_size.py")
    rows, length, vocabulary = 2, arm.data.length, 64
    masked = round(arm.train.mask_rate * length)
    arm = replace(arm, {"train.mask_rate": masked / length})
    model = build(arm, seed=1, vocabulary=vocabulary)
    objective = arm.train.objective.build(model, arm.train)
    positions = torch.cat([torch.arange(masked) + row * length for row in range(rows)])
    ids = torch.randint(5, vocabulary, (rows, length))
    with FlopCounterMode(display=False) as counter:
        objective(ids, positions, ids.flatten()[positions]).backward()
    fast = [part for part in model.modules() if isinstance(part, FourierMixing)]  # which torch does not count
    said = flops_per_token(arm, vocabulary) / arm.train.passes
    said -= 6 * sum(part.macs_per_token(length) for part in fast)
    assert counter.get_total_flops() == pytest.approx(rows * length * said, rel=1e-9)
