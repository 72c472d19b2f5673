"""What is counted from the plain data of a recipe is what the model computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ablate.knobs import knobs, replace
from ablate.model import Bert
from ablate.model.feedforward import GATED, PLAIN
from ablate.model.linear import Linear
from ablate.recipe import PRESETS, Recipe, preset
from ablate.speed.work import COUNTED, FREE, UnknownWorkError, differing, is_gated, rows_of, work
from ablate.training.filling import CPU_TOKENS, largest, sizes
from ablate.training.objective import flops_per_token
from tests.speed.models import count, plain, small

TINY = {
    "model.layers": 3, "model.width": 32, "model.heads": 4, "model.intermediate": 48, "data.length": 16,
    "data.tokenizer.vocabulary": 256, "train.micro_batch": 2, "train.batch": 8,
}  # fmt: skip
CHANGES = {
    "as it is": {},
    "ungated": {"model.activation": "gelu"},
    "matched": {"model.glu_width": "matched"},
    "some feed-forwards": {"model.feedforward_every": 2},
    "heads": {"model.heads": 2},
    "rope": {"model.position": "rope"},
    "t5, untied": {"model.position": "t5", "model.tied": False},
    "learned, post": {"model.position": "learned", "model.norm_placement": "post"},
    "sandwich without first norm": {"model.norm_placement": "sandwich", "model.first_norm": False},
    "rmsnorm, fewer norms": {"model.norm": "rmsnorm", "model.final_norm": False, "model.embedding_norm": False},
    "biases": {"model.linear_bias": True, "model.attention.qkv_bias": True, "model.decoder_bias": True},
    "bert head, more masks": {"model.head": "bert", "train.mask_rate": 0.5},
    "linear head": {"model.head": "linear"},
}  # fmt: skip
every_change = pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)


def built(recipe: Recipe) -> Bert:
    return Bert(recipe.model, vocabulary=recipe.data.tokenizer.vocabulary, length=recipe.data.length)


def step(model: Bert, recipe: Recipe, device: str) -> None:
    """Forward and backward of one micro-batch."""
    B, T = recipe.train.micro_batch, recipe.data.length
    ids = torch.zeros(B, T, dtype=torch.long, device=device)
    positions = torch.arange(B * round(recipe.train.mask_rate * T), device=device)
    model(ids, positions, torch.zeros_like(positions)).backward()


@every_change
def test_products_are_those_that_torch_counts(changes: dict) -> None:
    recipe = small(TINY | changes)
    with torch.device("meta"):
        model = built(recipe)
    with FlopCounterMode(display=False) as counter:
        step(model, recipe, "meta")
    found = work(plain(recipe), count(recipe))
    assert found.flops_per_token * found.tokens == pytest.approx(counter.get_total_flops())
    assert found.flops_per_token == pytest.approx(flops_per_token(recipe, 256))
    assert found.micro["parameters"] == sum(p.numel() for p in model.parameters())


@every_change
def test_elements_are_those_that_pass_the_modules(changes: dict) -> None:
    recipe = small(TINY | changes)
    model, seen = built(recipe), {"norm": 0, "inner": 0, "logits": 0, "biased": 0}
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm | nn.RMSNorm):
            module.register_forward_hook(lambda m, i, o: seen.update(norm=seen["norm"] + o.numel()))
        if name.endswith("feedforward.sublayer.down"):
            module.register_forward_hook(lambda m, i, o: seen.update(inner=seen["inner"] + i[0].numel()))
        if isinstance(module, Linear) and module.bias is not None:
            module.register_forward_hook(lambda m, i, o: seen.update(biased=seen["biased"] + o.numel()))
    model.decoder.register_forward_hook(lambda m, i, o: seen.update(logits=o.numel()))
    step(model, recipe, "cpu")
    micro = work(plain(recipe), count(recipe)).micro
    assert micro[f"norm {recipe.model.norm.kind}"] == seen["norm"]
    assert micro[f"activation {recipe.model.activation}"] == seen["inner"]
    assert micro["logits"] == seen["logits"]
    assert micro["biases"] == seen["biased"] + (seen["logits"] if recipe.model.decoder_bias else 0)


def test_a_gate_is_told_by_its_name() -> None:
    assert all(is_gated(name) for name in GATED)
    assert not any(is_gated(name) for name in PLAIN)


@pytest.mark.parametrize("batch", [64, 96, 8192, 5])
def test_a_micro_batch_left_to_a_cpu_is_filled_as_training_fills_it(batch: int) -> None:
    recipe = small({"train.micro_batch": None, "train.batch": batch})
    assert rows_of(plain(recipe)) == largest(sizes(batch), lambda n: n * recipe.data.length, CPU_TOKENS)


def test_every_knob_that_is_named_exists() -> None:
    paths = {info.path for info in knobs(Recipe)}
    assert [p for p in FREE + COUNTED if not any(q == p or q.startswith(p + ".") for q in paths)] == []


def test_only_knobs_that_are_not_counted_tell_recipes_apart() -> None:
    base = small()
    same = replace(base, {"train.lr": 1e-4, "model.init": "small", "data.source": {"kind": "grammar", "megabytes": 1},
                          "model.layers": 2, "train.schedule": "linear", "finetune.epochs": 1})  # fmt: skip
    assert differing(plain(same), plain(base)) == []
    other = replace(base, {"train.optimizer": "lion", "model.attention": "fourier", "train.dropout": 0.1})
    assert {"train.optimizer.kind", "model.attention.kind", "train.dropout"} <= set(
        differing(plain(other), plain(base))
    )


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_counted(name: str) -> None:
    recipe = preset(name)
    vocabulary = -(-recipe.data.tokenizer.vocabulary // 64) * 64
    found = work(plain(recipe), count(recipe))
    assert found.flops_per_token == pytest.approx(flops_per_token(recipe, vocabulary), rel=0.01)


def test_a_vocabulary_that_only_its_file_tells_is_unknown() -> None:
    recipe = plain(small())
    recipe["data"]["tokenizer"] = {"kind": "file", "path": "x.json"}
    with pytest.raises(UnknownWorkError, match="known only once its file is read"):
        work(recipe, None)
