"""What every precision must do, and the numbers of its quantisers and products against closed forms and torchao."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.data import Prepared
from ablate.evaluation.config import FinetuneConfig
from ablate.evaluation.encode import Tokens
from ablate.evaluation.finetune import Finetuner, Rows
from ablate.knobs import Choice, kind_of, knobs, label, replace
from ablate.model import Bert, ModelConfig, precision, torchao
from ablate.model import quantization as q
from ablate.model.precision import (
    BF16,
    FP8,
    FP32,
    PRECISIONS,
    TF32,
    Binary,
    EvenGradients,
    Int4,
    Int8,
    LuqGradients,
    PrecisionError,
    PureBF16,
    ScaledFP16,
    Ternary,
)
from ablate.optim import AdamW
from ablate.recipe import Recipe
from ablate.training import MaskedLanguageModel, checkpoint
from ablate.training.callbacks import BudgetStop, quiet_lightning
from ablate.training.datamodule import PretrainingData
from tests.model.variants import batch
from tests.training.test_train import Crash, crashing_at
from tests.training.tiny import Ticking, run, tiny, tiny_data

CPU = torch.device("cpu")
CONFIG = ModelConfig(
    layers=3, width=32, heads=2, intermediate=64, head="bert", linear_bias=True, decoder_bias=True
)
LEVELS = [
    *(cls() for cls in PRECISIONS if cls is not TF32),
    PureBF16(stochastic_rounding=True),
    FP8(recipe="rowwise"),
    FP8(recipe="rowwise_with_gw_hp"),
    Int4(gradients=EvenGradients()),
]
every_level = pytest.mark.parametrize("level", LEVELS, ids=label)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return tiny_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def held_out_fp32(data: Prepared, tmp_path_factory: pytest.TempPathFactory) -> float:
    found = run(tmp_path_factory.mktemp("fp32"), data, "25 steps", recipe=tiny(SMALL))
    return found.metrics["eval/mlm_loss"]


def model_of(level: Any, config: ModelConfig = CONFIG) -> Bert:
    made = Bert(config, vocabulary=64, length=16, generator=torch.Generator().manual_seed(0))
    level.prepare(made, CPU)
    return made


def loss_of(level: Any, model: Bert) -> Tensor:
    torch.manual_seed(1)
    with level.arithmetic("cpu"):
        return level.calls(model)(*batch())


def gradients(model: Bert) -> dict[str, Tensor]:
    found = {name: p.grad.float() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().norm() / b.detach().norm())


# --- quantisers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [127, 7])
def test_nearest_errs_by_a_twelfth_of_a_squared_step_and_by_half_of_one_at_most(levels: int):
    x = torch.randn(64, 4096)
    codes, scale = q.Nearest(levels)(x)
    wrong = codes * scale - x
    assert torch.equal(codes, codes.round())
    assert codes.abs().max() == levels
    assert (wrong.abs() <= scale / 2 * (1 + 1e-4)).all()
    # The largest of 4096 Gaussian magnitudes is 3.82 on average, and is the last level.
    assert relative(codes * scale, x) == pytest.approx(3.82 / levels / math.sqrt(12), rel=0.03)


UNBIASED = {
    "stochastic int8": q.Stochastic(127),
    "stochastic int4": q.Stochastic(7),
    "luq": q.Luq(),
    "luq, 3 draws": q.Luq(3),
}


@pytest.mark.parametrize("quantizer", UNBIASED.values(), ids=UNBIASED)
def test_random_rounding_is_unbiased(quantizer: q.Quantizer):
    x, draws = torch.randn(8, 32), 2000
    torch.manual_seed(0)
    found = torch.stack([q.value(quantizer(x)) for _ in range(draws)]).double()
    error = found.std(0) / math.sqrt(draws)
    z = (found.mean(0) - x.double()) / error.clamp_min(1e-9 * x.abs().max())
    spread = z[error > 0]  # a value on the grid is never moved
    assert spread.abs().max() < 4.5
    assert spread.square().mean().item() == pytest.approx(1.0, abs=0.35)


def test_luq_stays_on_zero_and_seven_powers_of_two():
    x = torch.randn(50, 50) * torch.logspace(-4, 0, 50)
    codes, alpha = q.Luq()(x)
    assert alpha.item() == x.abs().max().item() / 64
    assert set(codes.abs().unique().tolist()) <= {0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0}
    assert torch.equal(codes.sign() * x.sign(), codes.abs().clamp(max=1))
    # Never further than the neighbouring levels.
    a = (x / alpha).abs()
    below = torch.where(a < 1, torch.zeros(()), 2.0 ** a.log2().floor())
    assert ((codes.abs() == below) | (codes.abs() == below.clamp_min(0.5) * 2)).all()


def test_averaged_draws_narrow_the_noise():
    x = torch.randn(64, 64)
    one, four = ((q.value(q.Luq(n)(x)) - x).square().mean() for n in (1, 4))
    assert float(four / one) == pytest.approx(1 / 4, rel=0.15)


@pytest.mark.parametrize("quantizer", [q.Nearest(7), q.Stochastic(7), q.Luq(), q.ternary])
def test_zeros_stay_zeros(quantizer: q.Quantizer):
    assert torch.equal(q.value(quantizer(torch.zeros(3, 4))), torch.zeros(3, 4))


def test_binary_weights_are_the_sign_of_the_centred_weight_times_the_mean_magnitude():
    w = torch.randn(16, 8) + 0.3
    expected = torch.where(w - w.mean() < 0, -1.0, 1.0) * w.abs().mean()
    torch.testing.assert_close(q.value(q.binary(w)), expected)


# --- products ----------------------------------------------------------------------------------------

_draw = torch.Generator().manual_seed(0)
X, W, B, G = (torch.randn(s, generator=_draw) for s in ((4, 16, 32), (48, 32), (48,), (4, 16, 48)))


def results(product: Callable[..., Tensor], autocast: bool = False) -> tuple[Tensor, ...]:
    """Output and the gradients of input, weight and bias."""
    leaves = [t.clone().requires_grad_() for t in (X, W, B)]
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = product(*leaves)
    return (y, *torch.autograd.grad(y, leaves, G.to(y.dtype)))


def quantized(**cover: bool) -> q.Quantized:
    return q.Quantized(q.Nearest(127), q.Stochastic(127), q.Luq(2), **cover)


NOTHING = {"forward": False, "grad_input": False, "grad_weight": False}


@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "bf16"])
def test_a_product_that_covers_nothing_is_exact(autocast: bool):
    for ours, theirs in zip(
        results(quantized(**NOTHING), autocast), results(F.linear, autocast), strict=True
    ):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize(("cover", "touched"), [("forward", 0), ("grad_input", 1), ("grad_weight", 2)])
def test_a_covered_product_changes_its_own_result_alone(cover: str, touched: int, autocast: bool):
    found = results(quantized(**{**NOTHING, cover: True}), autocast)
    for i, (ours, theirs) in enumerate(zip(found, results(F.linear, autocast), strict=True)):
        assert torch.equal(ours, theirs) == (i != touched)
        assert ours.dtype == theirs.dtype
        assert relative(ours.float(), theirs.float()) < 0.3


@pytest.mark.parametrize("product", [quantized(), q.FewBitWeights(q.ternary, norm=False)])
def test_a_second_derivative_is_refused_not_made_up(product: Callable[..., Tensor]):
    x, w = X.clone().requires_grad_(), W.clone().requires_grad_()
    (gx,) = torch.autograd.grad(product(x, w, None).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gx.square().sum().backward()


def test_integer_products_are_exact():
    (a, sa), (b, sb) = q.Nearest(127)(torch.randn(8, 1000)), q.Nearest(127)(torch.randn(9, 1000))
    exact = (a.long() @ b.long().T).double() * sa.double() * sb.double().T
    torch.testing.assert_close(q.multiply((a, sa), (b, sb)).double(), exact, rtol=3e-7, atol=0)


def test_every_operand_is_scaled_along_its_own_contraction():
    """Stretching one row, column or position leaves the results that do not use it untouched."""
    product = q.Quantized(q.Nearest(7), q.Nearest(7), q.Nearest(7))

    def found(x: Tensor, w: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        x, w = x.clone().requires_grad_(), w.clone().requires_grad_()
        y = product(x, w, None)
        return (y.detach(), *torch.autograd.grad(y, (x, w), g))

    x, g = X[0], G[0]
    y, gx, gw = found(x, W, g)
    stretch = torch.ones(16, 1)
    stretch[3] = 100.0
    y2, gx2, _ = found(x * stretch, W, g * stretch)
    others = torch.arange(16) != 3
    assert torch.equal(y[others], y2[others])
    assert torch.equal(gx[others], gx2[others])
    columns = torch.ones(48)
    columns[5] = 100.0
    rows = torch.arange(48) != 5
    assert torch.equal(gw[rows], found(x, W, g * columns)[2][rows])


def test_eight_bits_to_nearest_agree_with_torchao():
    ours = results(q.Quantized(q.Nearest(127), q.Nearest(127), q.Nearest(127)))
    for a, b, exact in zip(ours, results(torchao.Int8(True, True, True)), results(F.linear), strict=True):
        assert relative(a, b) < 1e-3  # a tie may round the other way
        assert relative(a, exact) < 0.02


@pytest.mark.parametrize("cover", [(True, True, True), (True, False, True), (False, True, False)])
def test_int8_is_torchaos_module_swap_and_quantises(cover: tuple[bool, bool, bool]):
    from torchao.prototype.quantized_training import Int8MixedPrecisionTrainingConfig
    from torchao.quantization import quantize_

    layer = nn.Sequential(nn.Linear(32, 48))
    layer[0].weight, layer[0].bias = nn.Parameter(W.clone()), nn.Parameter(B.clone())
    names = dict(zip(("output", "grad_input", "grad_weight"), cover, strict=True))
    quantize_(layer, Int8MixedPrecisionTrainingConfig(**names, module_swap=True))
    x = X.clone().requires_grad_()
    y = layer(x)
    y.backward(G)
    theirs = (y, x.grad, layer[0].weight.grad, layer[0].bias.grad)
    exact = results(F.linear)
    for i, (a, b) in enumerate(zip(results(torchao.Int8(*cover)), theirs, strict=True)):
        assert torch.equal(a, b)
        if i < 3:
            assert (relative(a, exact[i]) > 1e-3) == cover[i]


@pytest.mark.parametrize("recipe", ["tensorwise", "rowwise", "rowwise_with_gw_hp"])
def test_float8_is_torchaos_own_layer_and_quantises(recipe: Any):
    from dataclasses import replace as change

    from torchao.float8 import Float8LinearConfig, convert_to_float8_training

    layer = nn.Sequential(nn.Linear(32, 48))
    layer[0].weight, layer[0].bias = nn.Parameter(W.clone()), nn.Parameter(B.clone())
    config = change(Float8LinearConfig.from_recipe_name(recipe), emulate=True)
    layer = convert_to_float8_training(layer, config=config)
    x = X.clone().requires_grad_()
    y = layer(x)
    y.backward(G)
    theirs = (y, x.grad, layer[0].weight.grad, layer[0].bias.grad)
    for a, b in zip(results(torchao.Float8(recipe, True)), theirs, strict=True):
        assert torch.equal(a, b)
    assert 0.01 < relative(y, F.linear(X, W, B)) < 0.06


def test_ternary_is_torchaos_bitnet_without_its_norm():
    from torchao.prototype.quantized_training import bitnet_training
    from torchao.quantization import quantize_

    layer = nn.Sequential(nn.Linear(32, 48))
    layer[0].weight, layer[0].bias = nn.Parameter(W.clone()), nn.Parameter(B.clone())
    quantize_(layer, bitnet_training())
    x = X.clone().requires_grad_()
    y = layer(x)
    y.backward(G)
    theirs = (y, x.grad, layer[0].weight.grad, layer[0].bias.grad)
    for a, b in zip(results(q.FewBitWeights(q.ternary, norm=False)), theirs, strict=True):
        assert relative(a, b) < 1e-3


def test_few_bit_weights_ignore_the_size_of_a_normed_input():
    product = q.FewBitWeights(q.ternary, norm=True)
    torch.testing.assert_close(product(X, W, B), product(X * 1000, W, B), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(product(X, W, B), q.FewBitWeights(q.ternary, norm=False)(X, W, B))


# --- every level -------------------------------------------------------------------------------------


def test_the_default_is_bf16_autocast_and_nothing_else():
    level = Recipe().train.precision
    assert level == BF16()
    model = model_of(level)
    assert all(part.product is F.linear for part in model.modules() if isinstance(part, nn.Linear))
    assert model.decoder.product is F.linear
    ids, positions, labels = batch()
    with torch.autocast("cpu", torch.bfloat16):
        plain = model(ids, positions, labels)
    assert torch.equal(loss_of(level, model), plain)
    assert level.for_finetuning(model.encoder) is model.encoder
    loss = torch.ones(())
    assert level.scaling("cpu").scale(loss) is loss


def test_no_two_levels_compute_the_same():
    found: dict[str, tuple[Tensor, ...]] = {}
    for level in LEVELS:
        model = model_of(level)
        torch.manual_seed(1)
        loss = loss_of(level, model)
        loss.backward()
        found[label(level)] = (loss.detach().float(), *gradients(model).values())
    # Stochastic rounding is in the update, not in the pass; it has a test of its own below.
    del found["bf16-pure(stochastic_rounding=true)"]
    names = list(found)
    for i, one in enumerate(names):
        for other in names[:i]:
            same = all(torch.equal(a, b) for a, b in zip(found[one], found[other], strict=True))
            assert not same, f"{one} and {other} compute the same"


@every_level
def test_the_pass_stays_close_to_fp32_and_its_gradients_are_finite(level: Any):
    exact, model = model_of(FP32()), model_of(level)
    loss = loss_of(level, model)
    loss.backward()
    few_bits = isinstance(level, (Ternary, Binary))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(loss_of(FP32(), exact).item(), rel=0.2 if few_bits else 0.02)
    found = gradients(model)
    assert set(found) == set(dict(model.named_parameters()))
    assert all(gradient.isfinite().all() for gradient in found.values())


SETTINGS = {
    f"{kind_of(cls)}.{info.path}": (cls(), info.path, level)
    for cls in PRECISIONS
    for info in knobs(cls)
    if isinstance(info.domain, Choice) and "[" not in info.name and info.path != "stochastic_rounding"
    for level in info.domain.levels
    if level != info.default
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_of_a_level_bites(name: str):
    level, path, value = SETTINGS[name]

    def state(arm: Any) -> list[Tensor]:
        model = model_of(arm)
        loss = loss_of(arm, model)
        loss.backward()
        return [loss.detach(), *gradients(model).values()]

    assert not all(
        torch.equal(a, b) for a, b in zip(state(level), state(replace(level, {path: value})), strict=True)
    )


def test_samples_of_the_weight_gradient_bite():
    one, four = (model_of(Int4(gradients=LuqGradients(samples=n))) for n in (1, 4))
    for model in (one, four):
        loss_of(Int4(), model).backward()
    name = "encoder.blocks.2.feedforward.sublayer.down.weight"
    assert not torch.equal(gradients(one)[name], gradients(four)[name])


def covered_names(level: Any) -> set[str]:
    return {
        name.removeprefix("encoder.").replace(".sublayer", "")
        for name, part in model_of(level).named_modules()
        if getattr(part, "product", F.linear) is not F.linear
    }


def test_the_covered_layers_are_those_of_the_blocks_and_on_request_the_head():
    block = ["attention.qkv", "attention.out", "feedforward.up", "feedforward.down"]
    blocks = [{f"blocks.{i}.{name}" for name in block} for i in range(3)]
    assert covered_names(Int4()) == blocks[0] | blocks[1] | blocks[2]
    assert covered_names(Int4(skip_first=True)) == blocks[1] | blocks[2]
    assert covered_names(Int4(skip_first=True, skip_last=True)) == blocks[1]
    head = covered_names(Int4(decoder=True)) - covered_names(Int4())
    assert head == {"transform.dense", "decoder"}


@every_level
def test_tensors_keep_their_names_and_load_into_a_plain_model(level: Any, tmp_path: Path):
    model, plain = model_of(level), model_of(FP32())
    saved = checkpoint.save(
        tmp_path, step=1, model=model, optimizer=None, state={}, tensors={"x": torch.zeros(1)}
    )
    found = checkpoint.read(saved).model
    assert found.keys() == checkpoint.weights(plain).keys()
    for tensor in checkpoint.weights(plain).values():
        tensor.fill_(7.0)
    checkpoint.load_weights(plain, found)
    tolerance = (
        0.0 if {t.dtype for t in found.values() if t.is_floating_point()} == {torch.float32} else 2**-8
    )
    for name, tensor in checkpoint.weights(model_of(FP32())).items():
        torch.testing.assert_close(checkpoint.weights(plain)[name], tensor, rtol=tolerance, atol=0)


# --- training ----------------------------------------------------------------------------------------

SMALL = {"model.layers": 2, "model.width": 32, "train.lr": 0.01, "train.batch": 8, "train.ramp": 0.0,
         "train.micro_batch": 8}  # fmt: skip


@every_level
def test_a_tiny_model_learns(data: Prepared, tmp_path: Path, held_out_fp32: float, level: Any):
    recipe = tiny({**SMALL, "train.precision": level})
    assert recipe.problems() == []
    found = run(tmp_path, data, "25 steps", recipe=recipe)
    assert found.state == "complete"
    assert np.isfinite(found.losses).all()
    assert np.mean(found.losses[-3:]) < found.losses[0] - 0.1
    assert found.metrics["eval/mlm_loss"] == pytest.approx(held_out_fp32, abs=0.3)
    told = any("speed is emulated and no claim" in warning for warning in found.warnings)
    assert told == level.supported("cpu").emulated
    dtype = torch.bfloat16 if isinstance(level, PureBF16) else torch.float32
    assert {p.dtype for p in found.model.parameters()} == {dtype}


@pytest.mark.parametrize("level", [Int4(), ScaledFP16(), PureBF16(stochastic_rounding=True)], ids=label)
def test_a_resumed_trial_ends_bit_equal(data: Prepared, tmp_path: Path, level: Any):
    recipe = tiny({"train.precision": level})
    straight = run(tmp_path / "a", data, "20 steps", recipe=recipe)
    with pytest.raises(Crash):
        run(tmp_path / "b", data, "20 steps", recipe=recipe, checkpoint_seconds=0.0, now=Ticking(0.05),
            on_progress=crashing_at(0.5))  # fmt: skip
    resumed = run(tmp_path / "b", data, "20 steps", recipe=recipe)
    assert resumed.attempts[-1]["resumed_at_seconds"] > 0
    assert resumed.losses == straight.losses
    for a, b in zip(resumed.model.parameters(), straight.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert resumed.metrics["eval/mlm_loss"] == straight.metrics["eval/mlm_loss"]


class Overflow(Callback):
    """Begins with a loss scale of 2^127, which overflows once and then falls to a usable one."""

    def __init__(self) -> None:
        self.weights: list[Tensor] = []
        self.scales: list[float] = []
        self.clock: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        pl_module.step.scaling.load_state_dict(
            {"scale": 2.0**127, "growth_factor": 2.0, "backoff_factor": 2.0**-117, "growth_interval": 2000,
             "_growth_tracker": 0}
        )  # fmt: skip
        self._note(pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *rest: Any) -> None:
        if pl_module.stepped:
            self._note(pl_module)

    def _note(self, module: MaskedLanguageModel) -> None:
        self.weights.append(torch.cat([p.detach().flatten().clone() for p in module.parameters()]))
        self.scales.append(module.step.scaling.state_dict()["scale"])
        self.clock.append(module.ledger.clock.charged)


def test_a_step_that_overflows_is_skipped_and_counted(data: Prepared):
    recipe = tiny({"train.precision": "fp16", "train.ramp": 0.0})
    module = MaskedLanguageModel(recipe)
    noted = Overflow()
    with quiet_lightning():
        Trainer(
            accelerator="cpu", barebones=True, max_steps=3, max_epochs=1, limit_val_batches=0,
            callbacks=[BudgetStop(), noted],
        ).fit(module, datamodule=PretrainingData(data, recipe, seed=0, vocabulary=data.vocabulary))  # fmt: skip
    before, skipped, taken, _ = noted.weights
    assert torch.equal(before, skipped)
    assert not torch.equal(skipped, taken)
    assert noted.scales == [2.0**127, 2.0**10, 2.0**10, 2.0**10]
    assert (module.ledger.steps, module.ledger.sequences) == (3, 3 * 16)
    assert noted.clock == sorted(set(noted.clock))
    assert np.isfinite(module.losses).all()


def test_loss_scaling_leaves_the_gradient_as_it_was(data: Prepared, tmp_path: Path):
    """Clipping sees true gradients: a clip far above their norm changes nothing, one far below does."""
    how = {"train.precision": "fp16", "train.clip": None}
    loose = run(tmp_path / "a", data, "6 steps", recipe=tiny(how))
    wide = run(tmp_path / "b", data, "6 steps", recipe=tiny({**how, "train.clip": 10.0}))
    plain = run(tmp_path / "c", data, "6 steps", recipe=tiny({"train.clip": None}))
    assert loose.losses == wide.losses
    assert np.allclose(loose.losses, plain.losses, atol=0.01)


def test_stochastic_rounding_keeps_updates_that_nearest_rounding_loses():
    def moved(level: PureBF16) -> Tensor:
        weight = nn.Parameter(torch.ones(4096, dtype=torch.bfloat16))
        optimizer = level.optimizer(AdamW(), [{"params": [weight]}], 1e-4, 0.0)
        torch.manual_seed(0)
        for _ in range(50):
            weight.grad = torch.ones_like(weight)  # Adam moves by the rate itself: 1e-4, an 40th of a step
            optimizer.step()
        return weight.detach().double()

    assert torch.equal(moved(PureBF16()), torch.ones(4096).double())
    found = moved(PureBF16(stochastic_rounding=True))
    error = found.std() / math.sqrt(4096)
    assert abs(found.mean() - (1 - 50 * 1e-4)) < 4 * error
    assert error < 5e-4


# --- fine-tuning -------------------------------------------------------------------------------------


@every_level
def test_fine_tuning_starts_from_fp32_weights_and_takes_a_step(level: Any):
    model = model_of(level)
    encoder = level.for_finetuning(model.encoder)
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(encoder.state_dict()[name], tensor.float())
    kept = [part for part in encoder.modules() if getattr(part, "product", F.linear) is not F.linear]
    assert bool(kept) == isinstance(level, (Ternary, Binary))
    config = FinetuneConfig(epochs=1, batch=8, head_width=16, max_length=16)
    tuner = Finetuner(encoder, 32, config, bf16=level.finetunes_in_bf16, seed=0)
    draw = np.random.default_rng(0)
    rows = Rows.of(Tokens(draw.integers(5, 60, (16, 16)).astype(np.uint16), np.full(16, 16), "digest"), CPU)
    tuned = tuner.run(0, 0, rows, draw.integers(0, 2, 16), 2, lambda used: None)
    assert np.isfinite(tuner.predict(tuned, rows)).all()


# --- what cannot be had ------------------------------------------------------------------------------


def recipe_with(changes: dict[str, Any]) -> Recipe:
    return tiny({"model.layers": 2, "train.micro_batch": 8, **changes})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"train.precision": {"kind": "int4", "skip_first": True, "skip_last": True}}, "covers no layer"),
        ({"train.precision": {"kind": "int8", **NOTHING}}, "covers no product"),
        ({"train.precision": "fp8", "model.width": 24}, "multiples of 16, not 24, 72"),
        (
            {"train.precision": "fp8", "train.micro_batch": 4, "train.batch": 4, "data.length": 18},
            "multiple of 16",
        ),
        ({"train.precision": {"kind": "fp8", "decoder": True}, "train.micro_batch": 2}, "8"),
        (
            {"train.precision": {"kind": "bf16-pure", "stochastic_rounding": True}, "train.optimizer": "sgd"},
            "train.optimizer adamw alone, not sgd",
        ),
        (
            {
                "train.precision": {
                    "kind": "int4",
                    "grad_weight": False,
                    "gradients": {"kind": "luq", "samples": 4},
                }
            },
            "which train.precision.grad_weight: false leaves in bf16",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_way_out(changes: dict[str, Any], told: str):
    (message,) = recipe_with(changes).problems()
    assert told in message
    assert "train.precision" in message


def test_the_tied_decoder_of_fp8_needs_a_multiple_of_16_too():
    narrow = {"train.precision": {"kind": "fp8", "decoder": True}, "train.micro_batch": 8}
    assert recipe_with(narrow).problems() == []


def test_without_torchao_a_plan_says_so_in_one_sentence(monkeypatch: pytest.MonkeyPatch):
    find = precision.importlib.util.find_spec
    monkeypatch.setattr(
        precision.importlib.util, "find_spec", lambda name: None if name == "torchao" else find(name)
    )
    for level in ("fp8", "int8", {"kind": "bf16-pure", "stochastic_rounding": True}):
        (message,) = recipe_with({"train.precision": level}).problems()
        assert message.endswith(
            "needs torchao, which is not installed: pip install 'ablate-bert[quantization]'"
        )
    for cls in PRECISIONS:
        if cls not in (FP8, Int8):
            assert recipe_with({"train.precision": cls()}).problems() == []


def test_tf32_plans_anywhere_and_is_refused_where_it_would_be_fp32(data: Prepared, tmp_path: Path):
    recipe = recipe_with({"train.precision": "tf32"})
    assert recipe.problems() == []
    with pytest.raises(
        PrecisionError, match="tf32 cannot run on cpu: TF32 is a mode of NVIDIA .* use fp32 here"
    ):
        run(tmp_path, data, "3 steps", recipe=recipe, device="cpu")


def test_every_level_says_how_a_cpu_has_it():
    emulated = {cls().kind for cls in PRECISIONS if cls().supported("cpu").emulated}
    assert {"fp8", "int8-emulated", "int4", "ternary", "binary"} <= emulated
    assert not {"fp32", "int8"} & emulated
    in_bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert {"bf16", "bf16-pure"} & emulated == (set() if in_bf16 else {"bf16", "bf16-pure"})
    for cls in PRECISIONS:
        support = cls().supported("cpu")
        assert bool(support.reason) == (support.emulated or not support.ok)


def test_the_knobs_import_neither_torch_nor_torchao():
    code = (
        "import sys, ablate.training.config as c; c.TrainConfig(precision={'kind': 'int4'});"
        " print([m for m in ('torch', 'torchao', 'lightning') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("level", [Int4(decoder=True), Int8(), FP8(), Ternary(), ScaledFP16()], ids=label)
def test_a_level_compiles_into_one_graph_and_computes_the_same(level: Any):
    model = model_of(level, replace(CONFIG, {"layers": 1}))
    eager = loss_of(level, model)
    torch.manual_seed(1)
    compiled = torch.compile(level.compiles(model), fullgraph=True, dynamic=False)
    with level.arithmetic("cpu"):
        loss = compiled(*batch())
    assert loss.item() == pytest.approx(eager.item(), rel=1e-3)
    loss.backward()
    assert all(gradient.isfinite().all() for gradient in gradients(model).values())
