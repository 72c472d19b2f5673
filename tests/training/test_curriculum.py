"""Length curricula as tables; tokens and FLOPs of what was really computed."""

import pytest
import torch

from ablate.data import prepare
from ablate.training.curriculum import Truncate, Unfold
from ablate.training.objective import flops_per_token
from tests.training.tiny import run, tiny, tiny_data

LONG = {"data.length": 64, "train.ramp": 0.0}


def test_lengths_double_in_equal_stages():
    curriculum = Truncate(stages=4, until=0.6)
    table = {0.0: 16, 0.19: 16, 0.2: 32, 0.39: 32, 0.4: 64, 0.59: 64, 0.6: 128, 1.0: 128}
    assert {progress: curriculum.length(128, progress) for progress in table} == table


ids = torch.arange(24).view(3, 8)
positions = torch.tensor([1, 5, 8, 14, 16, 23])
labels = positions * 100


def test_truncation_keeps_what_stands_in_the_beginning():
    cut, at, targets = Truncate().cut((ids, positions, labels), 4)
    assert cut.tolist() == [[0, 1, 2, 3], [8, 9, 10, 11], [16, 17, 18, 19]]
    assert targets.tolist() == [100, 800, 1600]
    assert cut.flatten()[at].tolist() == [1, 8, 16]


def test_a_beginning_without_a_prediction_predicts_its_first_token():
    _, at, targets = Truncate().cut((ids, torch.tensor([7]), torch.tensor([700])), 4)
    assert (at.tolist(), targets.tolist()) == ([0], [0])


def test_unfolding_keeps_every_token_and_every_prediction():
    cut, at, targets = Unfold().cut((ids, positions, labels), 2)
    assert cut.shape == (12, 2)
    assert cut.flatten()[at].tolist() == positions.tolist()
    assert torch.equal(targets, labels)


@pytest.mark.parametrize(("kind", "share"), [("truncate", (2 / 8 + 2 / 4 + 2 / 2 + 2) / 8), ("unfold", 1.0)])
def test_tokens_and_flops_are_those_that_were_computed(kind: str, share: float, tmp_path):
    recipe = tiny({**LONG, "train.length_curriculum": {"kind": kind, "stages": 4, "until": 0.75}})
    data = prepare(recipe.data, tmp_path / "cache")
    spent = run(tmp_path / "trial", data, "8 steps", recipe=recipe).spent
    assert spent.tokens == 8 * 16 * 64 * share
    cut = [1 / 8, 1 / 4, 1 / 2, 1] if kind == "truncate" else [1] * 4
    expected = sum(
        2 * 16 * 64 * part * flops_per_token(recipe, 512, length)
        for part, length in zip(cut, (8, 16, 32, 64), strict=True)
    )
    assert spent.flops == pytest.approx(expected, rel=1e-12)


def test_what_cannot_be_halved_or_is_compiled_is_refused():
    told = "\n".join(tiny({"train.length_curriculum": "truncate", "train.compile": True}).problems())
    assert "halves data.length (16) 4 times, and at least 4 tokens must be left" in told
    assert "set train.compile: false" in told


def test_without_a_curriculum_nothing_is_missed(tmp_path):
    data = tiny_data(tmp_path / "cache")
    spent = run(tmp_path / "trial", data, "3 steps", recipe=tiny({"train.ramp": 0.0})).spent
    assert spent.tokens == 3 * 16 * 16
    assert spent.flops == spent.tokens * flops_per_token(tiny(), 512)
