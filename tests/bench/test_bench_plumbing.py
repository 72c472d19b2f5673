"""The plumbing bench compares the same work with and without a trial's own loop."""

from ablate.bench import plumbing
from ablate.budget import Budget
from ablate.data import prepare
from ablate.knobs import replace
from ablate.recipe import preset
from ablate.records import TrialPaths
from ablate.training import train
from tests.training.tiny import tiny


def test_both_loops_train_the_same_model(tmp_path):
    """The loop by hand ends with the losses of a trial, so their difference is plumbing and nothing else."""
    recipe = replace(preset("crammed-small"), plumbing.SMALL)
    data = prepare(recipe.data, tmp_path / "data")
    _, by_hand = plumbing._by_hand(recipe, data, 12)
    trained = train(
        recipe, seed=0, budget=Budget("steps", 12), data=data, paths=TrialPaths(tmp_path / "trial")
    )
    assert by_hand == trained.losses


def test_a_report_adds_up(tmp_path):
    found = plumbing.bench(tiny(), "tiny", steps=20, rounds=1)
    assert 0 < found.data_ms < found.by_hand_ms
    assert found.plumbing_ms == found.trial_ms - found.by_hand_ms
    assert found.to_dict()["share"] == found.plumbing_ms / (found.recipe_ms + found.plumbing_ms)
