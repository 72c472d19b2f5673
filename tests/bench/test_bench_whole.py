"""A whole trial against a loop by hand: the same work, and numbers that add up."""

import pytest
import torch

from ablate.bench import whole
from ablate.bench.errors import BenchError
from ablate.bench.subjects import changed
from ablate.data import prepare
from ablate.knobs import replace
from tests.training.tiny import run, tiny


def test_the_loop_by_hand_takes_a_trials_steps(tmp_path, monkeypatch):
    """Its losses are the trial's to the last bit, so their difference in time is plumbing."""
    recipe = replace(
        tiny(), {"train.micro_batch": 4, "train.batch": 8, "train.ramp": 0.0, "train.schedule": "constant"}
    )
    data = prepare(recipe.data, tmp_path / "data")
    losses, update = [], whole.Step.update

    def noted(step):
        losses.append(update(step))
        return losses[-1]

    monkeypatch.setattr(whole.Step, "update", noted)
    whole._by_hand(recipe, data, 10, torch.device("cpu"))
    mine = torch.stack(losses).tolist()
    losses.clear()
    trained = run(tmp_path / "trial", data, "6 steps", recipe=recipe, seed=0)
    assert mine == trained.losses


def test_a_report_adds_up():
    found = whole.bench(tiny(), "tiny", rows=4, accumulated=2, micro_batches=8, rounds=2)
    assert (found.micro_batch, found.accumulated, found.length, found.clock) == (4, 2, 16, "cpu")
    assert len(found.trial_seconds) == len(found.by_hand_seconds) == 2
    assert 0 < found.data_share < 1
    assert found.mfu == found.tokens_per_second * found.flops_per_token / found.product_flops_per_second
    assert found.to_dict()["plumbing"] == found.plumbing
    assert f"{found.tokens_per_second:,.0f} tokens per CPU-second" in found.text()


def test_text_and_length_are_the_callers(tmp_path):
    (tmp_path / "a.txt").write_text("some words\n")
    recipe = changed(tiny(), length=32, source=str(tmp_path / "*.txt"), precision="bf16")
    assert (recipe.data.length, recipe.data.source.kind, recipe.train.precision.kind) == (32, "files", "bf16")


def test_a_missing_gpu_is_refused_before_anything_is_prepared():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(BenchError, match="needs a CUDA device"):
        whole.bench(tiny(), "tiny", device="cuda", rows=4)
