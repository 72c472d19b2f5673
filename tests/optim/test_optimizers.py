"""Optimizers take the steps of their definitions; groups hold every parameter once."""

import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from ablate.knobs import replace
from ablate.model import Bert
from ablate.optim import SGD, Adam, AdamW, parameter_groups
from ablate.optim.optimizers import (
    AGD,
    Adafactor,
    AdaHessian,
    AdamW4bit,
    AdamW8bit,
    AdamWScaled,
    Lion,
    Muon,
    RAdam,
    Shampoo,
    Soap,
    Sophia,
)
from ablate.recipe import Recipe
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


def test_biases_may_decay_and_embeddings_may_not():
    model = build(replace(EVERYTHING, {"position": "learned"}))
    names = {id(p): name for name, p in model.named_parameters()}

    def of(*decays: bool) -> set[str]:
        groups = parameter_groups(model, 0.01, *decays)
        return {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}

    biases = {name for name in names.values() if name.endswith("bias")}
    tables = {"encoder.embedding.word.weight", "encoder.embedding.position.weight"}
    assert of(False, True) == of(False) | biases
    assert of(False, False, False) == of(False) - tables
    assert of(True, True, False) == set(names.values()) - tables


def test_the_learned_scale_of_the_positions_decays_as_in_the_reference():
    assert "encoder.embedding.position.scale" in decayed(build(TINY), False)


def test_frozen_parameters_are_left_out():
    model: Bert = build(TINY)
    model.encoder.embedding.word.weight.requires_grad_(False)
    assert "encoder.embedding.word.weight" not in decayed(model, False)


def test_importing_optim_does_not_import_torch():
    code = "import sys, ablate.optim; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- optimizers of libraries ----------------------------------------------------------------------------


def libraries() -> dict[str, tuple[Any, Callable[[Any], torch.optim.Optimizer]]]:
    """Name → our config, and the library's own optimizer over the same parameters."""
    import pytorch_optimizer as po
    import torchao.optim

    rate = {"lr": 0.05, "weight_decay": 0.1}
    return {
        "radam": (RAdam(beta2=0.95, eps=1e-6), lambda p: torch.optim.RAdam(
            p, betas=(0.9, 0.95), eps=1e-6, decoupled_weight_decay=True, **rate)),
        "adafactor": (Adafactor(beta2_decay=-0.5, threshold=2.0), lambda p: torch.optim.Adafactor(
            p, beta2_decay=-0.5, d=2.0, **rate)),
        "adamw-8bit": (AdamW8bit(eps=1e-6), lambda p: torchao.optim.AdamW8bit(p, betas=(0.9, 0.98), eps=1e-6, **rate)),
        "adamw-4bit": (AdamW4bit(eps=1e-6), lambda p: torchao.optim.AdamW4bit(p, betas=(0.9, 0.98), eps=1e-6, **rate)),
        "lion": (Lion(beta1=0.8, beta2=0.95), lambda p: po.Lion(p, betas=(0.8, 0.95), **rate)),
        "soap": (Soap(every=2, largest=8), lambda p: po.SOAP(
            p, betas=(0.95, 0.95), precondition_frequency=2, max_precondition_dim=8, **rate)),
        "shampoo": (Shampoo(every=1, eps=1e-3), lambda p: po.Shampoo(
            p, momentum=0.9, weight_decouple=True, preconditioning_compute_steps=1, matrix_eps=1e-3, **rate)),
        "sophia": (Sophia(every=2, clip=0.1), lambda p: po.SophiaH(
            p, betas=(0.96, 0.99), p=0.1, update_period=2, **rate)),
        "adahessian": (AdaHessian(eps=1e-8), lambda p: po.AdaHessian(p, betas=(0.9, 0.99), eps=1e-8, **rate)),
    }  # fmt: skip


def descend(build: Callable[[Any], torch.optim.Optimizer], second_order: bool) -> list[torch.Tensor]:
    """A matrix and a vector after four steps on a small nonlinear problem."""
    draw = torch.Generator().manual_seed(1)
    matrix, vector = (nn.Parameter(torch.randn(*shape, generator=draw)) for shape in ((64, 80), (80,)))
    target = torch.randn(80, generator=draw)
    optimizer = build([matrix, vector])
    torch.manual_seed(0)  # the directions of curvature estimates
    for _ in range(4):
        loss = (torch.tanh(matrix * vector).square().mean(0) - target).square().sum()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using backward.. with create_graph=True")
            loss.backward(create_graph=second_order)
        optimizer.step()
        optimizer.zero_grad()
    return [matrix.detach(), vector.detach()]


@pytest.mark.parametrize(
    "name",
    ["radam", "adafactor", "adamw-8bit", "adamw-4bit", "lion", "soap", "shampoo", "sophia", "adahessian"],
)
def test_an_optimizer_is_its_librarys_own(name: str):
    config, theirs = libraries()[name]
    with torch.compiler.set_stance("force_eager"):
        expected = descend(theirs, config.second_order)
    found = descend(lambda p: config.build(p, 0.05, 0.1), config.second_order)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_muon_turns_the_blocks_matrices_and_leaves_the_rest_to_adamw():
    model = build(TINY)
    config = Muon(momentum=0.8, ratio=4.0)
    groups = config.groups(model, 0.01, False)
    names = {id(p): n for n, p in model.named_parameters()}
    turned = {names[id(p)] for group in groups if group["use_muon"] for p in group["params"]}
    assert turned == {n for n, p in model.named_parameters() if ".blocks." in n and p.ndim == 2}
    optimizer = config.build(groups, 0.1)
    assert {g["lr"] for g in optimizer.param_groups if g["use_muon"]} == {0.4}
    assert {g["lr"] for g in optimizer.param_groups if not g["use_muon"]} == {0.1}
    assert {g["betas"] for g in optimizer.param_groups if not g["use_muon"]} == {(0.9, 0.98)}
    matrix, table = (dict(model.named_parameters())[n] for n in (
        "encoder.blocks.0.attention.sublayer.out.weight", "encoder.embedding.word.weight"))  # fmt: skip
    before = matrix.detach().clone()
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    optimizer.step()
    sizes = torch.linalg.svdvals(((before - matrix.detach()) / 0.4).double())
    assert sizes.max() / sizes.min() < 3, "an orthogonalised step has nearly equal singular values"
    assert torch.linalg.svdvals(table.grad.double()).max() > 0


def test_scaled_adamw_is_adamw_in_proportion_to_the_weights():
    config, x = AdamWScaled(eps=1e-8), torch.tensor([1.0, -2.0, 3.0]).double()
    m = v = torch.zeros_like(x)
    for t in range(1, 6):
        g = torch.tensor([1.0, 2.0, 3.0]).double() * x
        m, v = 0.9 * m + 0.1 * g, 0.98 * v + 0.02 * g * g
        rms = max(1e-3, x.square().mean().sqrt().item())
        x = x - 0.1 * rms * (1 - 0.98**t) ** 0.5 / (1 - 0.9**t) * m / (v.sqrt() + 1e-8)
        x = x * (1 - 0.1 * 0.3)
    torch.testing.assert_close(steps(config, 0.3), x)


def test_agd_is_its_pseudo_code():
    draw = torch.Generator().manual_seed(2)
    tensors = [nn.Parameter(torch.randn(*s, generator=draw).double()) for s in ((6, 4), (3, 5), (4,))]
    optimizer = AGD().build(tensors, 0.7)
    before = [p.detach().clone() for p in tensors]
    for p in tensors:
        p.grad = torch.randn(p.shape, generator=draw, dtype=torch.double)
    matrices = tensors[:2]
    G = sum(math.sqrt(p.shape[0] / p.shape[1]) * p.grad.norm().item() for p in matrices) / 3
    eta = math.log((1 + math.sqrt(1 + 4 * G)) / 2)
    optimizer.step()
    for p, old in zip(matrices, before, strict=False):
        step = 0.7 * eta / 3 * math.sqrt(p.shape[0] / p.shape[1]) * p.grad / p.grad.norm()
        torch.testing.assert_close(p.detach(), old - step)
    torch.testing.assert_close(tensors[2].detach(), before[2] - 0.7 * eta / 3 * tensors[2].grad)


def test_agd_minds_how_the_weights_were_drawn():
    arm = replace(Recipe(), {"train.optimizer": "agd"})
    assert any("singular values" in told for told in arm.warnings())
    drawn = replace(arm, {"model.init": {"kind": "orthogonal", "scaled": True}})
    assert not any("singular values" in told for told in drawn.warnings())


@pytest.mark.parametrize("kind", ["sophia", "adahessian"])
def test_second_derivatives_are_refused_where_there_are_none(kind: str):
    base = replace(Recipe(), {"train.optimizer": kind, "train.compile": False})
    assert base.problems() == []
    (told,) = replace(base, {"train.precision": "int4"}).problems()
    assert told == (
        f"train.optimizer {kind} takes second derivatives, which train.precision int4 has not; take fp32, tf32 or bf16"
    )
    (told,) = replace(base, {"train.compile": True}).problems()
    assert told.endswith("set train.compile: false")


def test_shampoo_steps_before_its_first_roots():
    x = nn.Parameter(torch.ones(3, 2))
    optimizer = Shampoo(every=5, momentum=0.0).build([x], 0.1)
    x.grad = torch.full((3, 2), 2.0)
    optimizer.step()
    torch.testing.assert_close(x.detach(), torch.full((3, 2), 0.8))


def test_shampoo_keeps_the_diagonal_of_a_long_side():
    """One step with roots, written out: L = eps + diag(G Gᵀ), R = eps + Gᵀ G, move L^(-1/4) G R^(-1/4)."""
    draw = torch.Generator().manual_seed(4)
    x = nn.Parameter(torch.zeros(9, 3, dtype=torch.double))
    optimizer = Shampoo(every=1, momentum=0.0, eps=1e-2, largest=8).build([x], 1.0)
    x.grad = torch.randn(9, 3, generator=draw, dtype=torch.double)
    gradient = x.grad.clone()
    optimizer.step()
    left = (1e-2 + gradient.square().sum(1)) ** -0.25
    values, vectors = torch.linalg.eigh(1e-2 * torch.eye(3).double() + gradient.T @ gradient)
    right = vectors @ torch.diag(values**-0.25) @ vectors.T
    torch.testing.assert_close(-x.detach(), left[:, None] * gradient @ right)
    assert [tensor.shape for name, tensor in optimizer.state[x].items() if "pre_cond_0" in name] == [
        (9,),
        (9,),
    ]


def test_shampoo_steps_on_a_table_of_words():
    """Whose preconditioner of all words with all words would be 4 GiB."""
    table = nn.Parameter(torch.ones(32_768, 4))
    optimizer = Shampoo(every=1).build([table], 0.1)
    table.grad = torch.full_like(table, 0.5)
    optimizer.step()
    assert table.isfinite().all()
    assert sum(t.numel() for t in optimizer.state[table].values()) < 10 * table.numel()


def test_shampoos_root_of_statistics_that_rounding_made_singular_is_finite():
    from ablate.optim.shampoo import inverse_root

    singular = torch.diag(torch.tensor([16.0, 0.0]))
    assert inverse_root(singular, 4, 2e-4).tolist() == [[0.5, 0.0], [0.0, pytest.approx(10.0)]]


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("signed", [True, False])
def test_a_code_looked_up_is_the_code_searched_for(signed: bool, bits: int):
    from torchao.optim import quant_utils, subclass_4bit, subclass_8bit

    from ablate.optim.fewbit import Codes

    library = {8: subclass_8bit, 4: subclass_4bit}[bits]
    levels = torch.tensor(library.get_qmap_signed() if signed else library.get_qmap_unsigned())
    numbers = torch.rand(100_000, generator=torch.Generator().manual_seed(6)) ** 7
    if signed:
        numbers = torch.cat([numbers, -numbers])
    numbers = torch.cat([numbers, levels, torch.tensor([0.0, 1e-45, 1e-30])])
    search = {8: quant_utils.quantize_8bit_with_qmap, 4: quant_utils.quantize_4bit_with_qmap}[bits]
    assert torch.equal(Codes(levels).of(numbers), search(numbers, levels))
