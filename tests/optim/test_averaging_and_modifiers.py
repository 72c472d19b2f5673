"""Averages of weights, changed gradients and batches that follow noise, each against its definition."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ablate.knobs import replace
from ablate.optim.averaging import Ema, EmaConfig, Lawa, LawaConfig
from ablate.optim.batch import Noise, NormTest
from ablate.optim.modifier import Larc, Lars, Sam
from ablate.recipe import Recipe

# --- averages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [EmaConfig(decay=0.9), LawaConfig(snapshots=3, every=0.1)])
def test_the_average_of_a_constant_is_that_constant(config):
    """The reference's EMA of 1.0 becomes 11.0 after a hundred updates."""
    one = [torch.ones(3), torch.full((2, 2), -2.5)]
    average = config.build(one)
    for i in range(100):
        average.update(one, (i + 1) / 100)
    for mean, value in zip(average.weights(), one, strict=True):
        torch.testing.assert_close(mean, value)


def test_an_ema_is_its_definition():
    draw = torch.Generator().manual_seed(0)
    values = [torch.randn(4, generator=draw) for _ in range(20)]
    average, expected = Ema([values[0]], 0.7), values[0].clone()
    for value in values[1:]:
        average.update([value], 0.0)
        expected = 0.7 * expected + 0.3 * value
    torch.testing.assert_close(average.weights()[0], expected)


def test_lawa_is_the_mean_of_the_latest_snapshots():
    average = Lawa([torch.tensor([0.0])], snapshots=3, every=0.25)
    for step in range(1, 101):  # snapshots at 25, 50, 75 and 100 per cent
        average.update([torch.tensor([float(step)])], step / 100)
    assert average.weights()[0].item() == pytest.approx((50 + 75 + 100) / 3)


@pytest.mark.parametrize("config", [EmaConfig(decay=0.9), LawaConfig(snapshots=3, every=0.1)])
def test_an_average_goes_on_where_it_was(config):
    draw = torch.Generator().manual_seed(0)
    values = [[torch.randn(4, generator=draw)] for _ in range(30)]
    whole, first = config.build(values[0]), config.build(values[0])
    for i, value in enumerate(values):
        whole.update(value, i / 30)
    for i, value in enumerate(values[:17]):
        first.update(value, i / 30)
    second = config.build(values[5])
    second.restore({name: tensor.clone() for name, tensor in first.tensors().items()})
    for i, value in enumerate(values[17:], 17):
        second.update(value, i / 30)
    assert torch.equal(second.weights()[0], whole.weights()[0])


def test_averages_of_rounded_weights_are_not_rounded():
    average = Ema([torch.tensor([1.0], dtype=torch.bfloat16)], 0.999)
    for _ in range(100):
        average.update([torch.tensor([2.0], dtype=torch.bfloat16)], 0.0)
    assert average.weights()[0].item() == pytest.approx(2 - 0.999**100, rel=1e-5)


# --- modifiers ---------------------------------------------------------------------------------------


def test_sam_climbs_to_the_edge_of_its_ball_and_comes_back():
    a, b, unused = (
        nn.Parameter(torch.tensor([3.0, 4.0])),
        nn.Parameter(torch.ones(2)),
        nn.Parameter(torch.ones(1)),
    )
    a.grad, b.grad = torch.tensor([2.0, 0.0]), torch.tensor([0.0, -1.5])
    modifier = Sam(rho=0.5)
    moves = modifier.climb([a, b, unused])
    moved = torch.cat([a.detach() - torch.tensor([3.0, 4.0]), b.detach() - 1])
    torch.testing.assert_close(moved, 0.5 * torch.tensor([2.0, 0.0, 0.0, -1.5]) / 2.5)
    modifier.descend([a, b, unused], moves)
    torch.testing.assert_close(a.detach(), torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(b.detach(), torch.ones(2))


def test_sam_takes_the_gradient_at_the_edge(tmp_path):
    """One step of the module is one step of the definition, by hand on the same batch."""
    from ablate.data import prepare
    from ablate.training.datamodule import PretrainingData
    from ablate.training.initial import build
    from tests.training.tiny import run, tiny

    recipe = tiny({"train.modifier": {"kind": "sam", "rho": 0.3}, "train.ramp": 0.0, "train.clip": None})
    data = prepare(recipe.data, tmp_path / "cache")
    trained = run(tmp_path / "trial", data, "1 steps", recipe=recipe)
    model = build(recipe, seed=3, vocabulary=512)
    batches = PretrainingData(data, recipe, seed=3, vocabulary=data.vocabulary)
    micro = [batches.micro_batch(i, torch.device("cpu")) for i in range(0, 16, 4)]

    def gradient() -> list[torch.Tensor]:
        model.zero_grad()
        for batch in micro:
            (model(*batch) / len(micro)).backward()
        return [p.grad.clone() for p in model.parameters()]

    first = gradient()
    norm = math.sqrt(sum(float(g.square().sum()) for g in first))
    start = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        for p, g in zip(model.parameters(), first, strict=True):
            p += 0.3 * g / norm
    edge = gradient()
    with torch.no_grad():
        for p, value in zip(model.parameters(), start, strict=True):
            p.copy_(value)
    train = recipe.train
    groups = train.optimizer.groups(model, train.weight_decay, train.decay_norms)
    optimizer = train.optimizer.build(groups, train.lr * train.schedule.factor(0.0), train.weight_decay)
    for p, g in zip(model.parameters(), edge, strict=True):
        p.grad = g
    optimizer.step()
    for (name, mine), p in zip(model.named_parameters(), trained.model.parameters(), strict=True):
        torch.testing.assert_close(p, mine, rtol=1e-4, atol=1e-6, msg=name)


def test_sam_costs_twice_the_flops(tmp_path):
    from tests.training.tiny import run, tiny, tiny_data

    data = tiny_data(tmp_path / "cache")
    plain = run(tmp_path / "plain", data, "3 steps")
    twice = run(tmp_path / "sam", data, "3 steps", recipe=tiny({"train.modifier": "sam"}))
    assert twice.spent.flops == 2 * plain.spent.flops
    assert twice.spent.tokens == plain.spent.tokens


@pytest.mark.parametrize("lr", [0.001, 1.0])
def test_lars_and_larc_scale_each_matrix_by_its_own_trust(lr: float):
    weight, gradient = torch.full((2, 2), 3.0), torch.full((2, 2), 0.5)
    ratio = 0.01 * 6.0 / (1.0 + 0.1 * 6.0)
    for modifier, expected in ((Lars(trust=0.01), ratio), (Larc(trust=0.01), min(ratio / lr, 1.0))):
        matrix, vector = nn.Parameter(weight.clone()), nn.Parameter(torch.ones(2))
        matrix.grad, vector.grad = gradient.clone(), torch.ones(2)
        modifier.before([{"params": [matrix, vector], "lr": lr, "weight_decay": 0.1}])
        torch.testing.assert_close(matrix.grad, expected * gradient)
        torch.testing.assert_close(vector.grad, torch.ones(2))


def test_sam_is_refused_beside_what_it_would_break():
    recipe = replace(Recipe(), {"train.modifier": "sam", "train.precision": "bf16-pure"})
    assert "train.modifier sam moves weights by small steps" in recipe.problems()[0]


# --- batches that follow noise -----------------------------------------------------------------------


@given(signal=st.floats(0.01, 10), noise=st.floats(0.01, 1e4), parts=st.integers(2, 32))
def test_noise_and_signal_are_recovered_from_their_expectations(signal: float, noise: float, parts: int):
    """E|g_n|² = |G|² + tr(Σ) / n."""
    estimate = Noise(0.9)
    estimate.update(signal + noise / 4, signal + noise / (4 * parts), 4, 4 * parts)
    assert estimate.noise == pytest.approx(noise, rel=1e-6)
    assert estimate.signal == pytest.approx(signal, rel=1e-6, abs=1e-6 * noise)
    size = estimate.size(4096, 4)
    assert size % 4 == 0
    assert size == pytest.approx(min(max(noise / signal, 8), 4096), abs=4.001)


def test_the_norm_test_doubles_while_noise_prevails():
    rule = NormTest(theta=1.0, smoothing=0.0).build()
    sizes = []
    for _ in range(6):
        size = rule.size(256, 4)
        rule.update(1 + 100 / 4, 1 + 100 / size, 4, size)  # signal 1, noise 100: enough at a batch of 100
        sizes.append(size)
    assert sizes == [8, 16, 32, 64, 128, 128]
