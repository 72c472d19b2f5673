from __future__ import annotations

import math

import pytest
import torch
from lightning.pytorch import Trainer

from ablate.data import Prepared
from ablate.knobs import UnknownKnobError, knobs
from ablate.recipe import Recipe
from ablate.training import MaskedLanguageModel
from ablate.training.callbacks import Divergence, Pace, quiet_lightning
from ablate.training.datamodule import PretrainingData
from tests.training.tiny import Ticking, tiny


class First:
    """A trial that draws the last level of a choice and the lower bound of a number."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def suggest_categorical(self, name, choices):
        self.names.append(name)
        return choices[-1]

    def suggest_int(self, name, low, high, *, log=False):
        self.names.append(name)
        return low

    def suggest_float(self, name, low, high, *, log=False):
        self.names.append(name)
        return low


def test_the_search_space_is_every_knob_of_a_recipe():
    names = [info.name for info in MaskedLanguageModel.search_space()]
    assert names == [info.name for info in knobs(Recipe)]
    assert "train.optimizer[adamw].beta2" in names
    assert any(name.startswith("model.") for name in names)


def test_a_suggested_recipe_differs_in_the_varied_knobs_alone():
    trial = First()
    drawn = MaskedLanguageModel.suggest(trial, tiny(), ["train.lr", "train.optimizer"])
    assert drawn.train.lr == 1e-5
    kind = drawn.train.optimizer.kind  # the last of the union
    assert kind != tiny().train.optimizer.kind
    assert f"train.optimizer[{kind}].beta1" in trial.names
    assert not [
        name for name in trial.names if name.startswith("train.optimizer[") and f"[{kind}]" not in name
    ]
    assert drawn.model == tiny().model


def test_an_unknown_knob_is_refused():
    with pytest.raises(UnknownKnobError, match="did you mean 'train.lr'"):
        MaskedLanguageModel.suggest(First(), tiny(), ["train.lrr"])


def test_the_module_trains_in_a_trainer_of_the_users_own(data: Prepared):
    recipe = tiny({"train.ramp": 0.0})
    module = MaskedLanguageModel(recipe)
    batches = PretrainingData(data, recipe, seed=0, vocabulary=data.vocabulary)
    with quiet_lightning():
        Trainer(accelerator="cpu", barebones=True, max_steps=3, max_epochs=1, limit_val_batches=0).fit(
            module, datamodule=batches
        )
    assert len(module.settle()) == 3
    assert module.ledger is not None
    assert module.ledger.sequences == 3 * 16


def test_micro_batches_are_addressed_by_sequences_consumed(data: Prepared):
    recipe = tiny()
    stream = iter(
        PretrainingData(data, recipe, seed=1, vocabulary=data.vocabulary, start=8).train_dataloader()
    )
    again = PretrainingData(data, recipe, seed=1, vocabulary=data.vocabulary).micro_batch(
        12, torch.device("cpu")
    )
    next(stream)
    assert all(torch.equal(a, b) for a, b in zip(next(stream), again, strict=True))


def judge(warmup: float = 0.0) -> Divergence:
    return Divergence(1000, math.log(1000), warmup, Pace(0.0, Ticking()))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_diverged_at_once(bad: float):
    found = judge()
    found.check([6.0, 6.0], 0.001)
    assert not found.reason
    found.check([6.0, 6.0, 5.0, bad], 0.002)
    assert found.reason == f"the loss is {bad} at step 4"


def test_a_loss_above_the_uniform_guess_diverged_only_after_warm_up():
    above = [math.log(1000) + 1] * 40
    early, warming, late = judge(), judge(warmup=0.3), judge()
    early.check(above, 0.09)
    warming.check(above, 0.29)
    late.check(above, 0.11)
    assert (early.reason, warming.reason) == ("", "")
    assert "above that of a uniform guess, 6.91" in late.reason


def test_a_model_that_has_learned_nothing_yet_or_had_one_spike_has_not_diverged():
    idle, spike = judge(), judge()
    idle.check([math.log(1000) + 0.2] * 40, 0.5)
    spike.check([*[5.0] * 39, 12.0], 0.5)
    assert (idle.reason, spike.reason) == ("", "")
