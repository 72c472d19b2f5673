"""Initialisation: arms of one block share what they have in common."""

import math

import pytest
import torch

from ablate.knobs import replace
from ablate.model import ModelConfig
from tests.model.variants import TINY, build


def weights(config: ModelConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in build(config, seed).named_parameters()}


@pytest.mark.parametrize(
    "change",
    [
        {"layers": 3},
        {"linear_bias": True, "attention.qkv_bias": True, "decoder_bias": True},
        {"position": "learned"},
        {"norm": "rmsnorm"},
        {"norm_placement": "post"},
        {"heads": 4},
        {"head": "bert"},
        {"tied": False},
        {"activation": "swiglu"},
    ],
    ids=str,
)
def test_an_arm_keeps_every_weight_that_its_baseline_has_too(change: dict):
    base, arm = weights(TINY), weights(replace(TINY, change))
    shared = base.keys() & arm.keys()
    assert {"encoder.embedding.word.weight", "encoder.blocks.1.attention.sublayer.qkv.weight"} <= shared
    for name in shared:
        assert torch.equal(base[name], arm[name]), name


def test_no_two_matrices_and_no_two_seeds_share_their_numbers():
    first, second = weights(TINY), weights(TINY, seed=1)
    matrices = [p.flatten()[:64] for p in (*first.values(), *second.values()) if p.ndim == 2]
    for i, one in enumerate(matrices):
        assert not any(torch.equal(one, other) for other in matrices[:i])


def test_biases_start_at_zero_and_norms_at_one():
    everything = {"linear_bias": True, "attention.qkv_bias": True, "decoder_bias": True, "head": "bert"}
    for name, parameter in weights(replace(TINY, everything)).items():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name


WIDE = replace(TINY, {"width": 128, "intermediate": 256, "layers": 3})


@pytest.mark.parametrize(
    ("init", "inner", "outer"),
    [
        ("normal", 0.02, 0.02),
        ({"kind": "normal", "std": 0.05}, 0.05, 0.05),
        ("depth-scaled", 0.02, 0.02 / math.sqrt(6)),
        ("small", math.sqrt(2 / (5 * 128)), math.sqrt(2 / (5 * 128))),
        ("megatron", math.sqrt(1 / (3 * 128)), math.sqrt(1 / (3 * 128))),
        ("wang", math.sqrt(2 / (5 * 128)), 2 / (3 * math.sqrt(128))),
    ],
)
def test_spreads_are_those_of_the_formulas(init, inner: float, outer: float):
    for name, parameter in weights(replace(WIDE, {"init": init})).items():
        if parameter.ndim == 2:
            expected = outer if name.endswith(("out.weight", "down.weight")) else inner
            assert parameter.std().item() == pytest.approx(expected, rel=0.05), name
            assert abs(parameter.mean().item()) < 0.05 * expected, name


def test_without_a_generator_the_default_seed_decides():
    from ablate.model import Bert

    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(Bert(TINY, vocabulary=20, length=8).encoder.embedding.word.weight)
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])
