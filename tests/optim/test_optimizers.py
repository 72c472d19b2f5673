"""Optimizers take the steps of their definitions; groups hold every parameter once."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from ablate.knobs import replace
from ablate.model import Bert
from ablate.optim import SGD, Adam, AdamW, parameter_groups
from tests.model.variants import ARMS, TINY, build


def steps(config, weight_decay: float, count: int = 5, lr: float = 0.1) -> torch.Tensor:
    """A vector after some steps down f(x) = Σ (i + 1) x_i² / 2."""
    x = nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=torch.double))
    optimizer = config.build([{"params": [x], "weight_decay": weight_decay}], lr)
    for _ in range(count):
        x.grad = torch.tensor([1.0, 2.0, 3.0], dtype=torch.double) * x.detach()
        optimizer.step()
    return x.detach()


def adam_by_hand(
    config, weight_decay: float, decoupled: bool, count: int = 5, lr: float = 0.1
) -> torch.Tensor:
    x = torch.tensor([1.0, -2.0, 3.0], dtype=torch.double)
    m = v = torch.zeros_like(x)
    for t in range(1, count + 1):
        g = torch.tensor([1.0, 2.0, 3.0], dtype=torch.double) * x
        if decoupled:
            x = x * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * x
        m = config.beta1 * m + (1 - config.beta1) * g
        v = config.beta2 * v + (1 - config.beta2) * g * g
        x = x - lr * (m / (1 - config.beta1**t)) / ((v / (1 - config.beta2**t)).sqrt() + config.eps)
    return x


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_adamw_and_adam_are_their_definitions(weight_decay: float):
    torch.testing.assert_close(steps(AdamW(), weight_decay), adam_by_hand(AdamW(), weight_decay, True))
    torch.testing.assert_close(steps(Adam(), weight_decay), adam_by_hand(Adam(), weight_decay, False))


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_its_definition(nesterov: bool):
    config, x, velocity = SGD(momentum=0.5, nesterov=nesterov), torch.tensor([1.0, -2.0, 3.0]).double(), 0.0
    for _ in range(5):
        g = torch.tensor([1.0, 2.0, 3.0]).double() * x + 0.3 * x
        velocity = 0.5 * velocity + g
        x = x - 0.1 * (g + 0.5 * velocity if nesterov else velocity)
    torch.testing.assert_close(steps(config, 0.3), x)


@pytest.mark.parametrize(
    "change", [{"beta1": 0.5}, {"beta2": 0.9}, {"eps": 1e-3}], ids=lambda c: next(iter(c))
)
@pytest.mark.parametrize("optimizer", [AdamW(), Adam()], ids=lambda o: o.kind)
def test_every_setting_of_adam_bites(optimizer, change: dict):
    assert not torch.equal(steps(optimizer, 0.1), steps(replace(optimizer, change), 0.1))


def test_optimizers_differ_and_sgd_without_momentum_cannot_look_ahead():
    outcomes = [steps(config, 0.1) for config in (AdamW(), Adam(beta2=0.98, eps=1e-12), SGD())]
    assert not torch.equal(outcomes[0], outcomes[1])
    assert not torch.equal(outcomes[1], outcomes[2])
    assert torch.equal(steps(SGD(momentum=0, nesterov=True), 0.1), steps(SGD(momentum=0), 0.1))


@pytest.mark.parametrize("name", ["base", *ARMS])
@pytest.mark.parametrize("decay_norms", [False, True])
def test_every_parameter_is_in_exactly_one_group(name: str, decay_norms: bool):
    model = build(TINY if name == "base" else ARMS[name][1])
    groups = parameter_groups(model, 0.01, decay_norms)
    members = [id(p) for group in groups for p in group["params"]]
    assert sorted(members) == sorted(id(p) for p in model.parameters())
    assert len(set(members)) == len(members)


def decayed(model: nn.Module, decay_norms: bool) -> set[str]:
    names = {id(p): name for name, p in model.named_parameters()}
    groups = parameter_groups(model, 0.01, decay_norms)
    return {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}


EVERYTHING = replace(
    TINY, {"linear_bias": True, "attention.qkv_bias": True, "decoder_bias": True, "head": "bert"}
)


@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
@pytest.mark.parametrize("placement", ["pre", "post"])
def test_biases_and_norms_are_not_decayed(norm: str, placement: str):
    model = build(replace(EVERYTHING, {"norm": norm, "norm_placement": placement}))
    norms = {
        f"{name}.{kind}"
        for name, part in model.named_modules()
        if isinstance(part, (nn.LayerNorm, nn.RMSNorm))
        for kind, _ in part.named_parameters()
    }
    biases = {name for name, _ in model.named_parameters() if name.endswith("bias")}
    rest = {name for name, _ in model.named_parameters()} - norms - biases
    assert decayed(model, False) == rest
    # The first paper's code decayed the norms' weights, not their biases.
    assert decayed(model, True) == rest | (norms - biases)


def test_the_learned_scale_of_the_positions_decays_as_in_the_reference():
    assert "encoder.embedding.position.scale" in decayed(build(TINY), False)


def test_frozen_parameters_are_left_out():
    model: Bert = build(TINY)
    model.encoder.embedding.word.weight.requires_grad_(False)
    assert "encoder.embedding.word.weight" not in decayed(model, False)


def test_importing_optim_does_not_import_torch():
    code = "import sys, ablate.optim; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
