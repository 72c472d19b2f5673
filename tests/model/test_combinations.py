"""Attentions, stacks and what stands around them, combined: what one change at a time cannot show."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ablate.knobs import get, is_variant, kind_of, knobs, label, replace
from ablate.model import Bert, flops_per_token
from ablate.model.attention import FourierMixing
from ablate.model.dropout import WeightDropout, set_dropout
from ablate.recipe import Recipe
from tests.conformance.levels import kinds, other_levels, tiny
from tests.model.variants import LENGTH, TINY, VOCABULARY, batch, build

# Four layers, so that a funnel has three parts and groups of blocks differ; fp32 attention means something.
BASE = replace(tiny(), {"model.layers": 4, "train.precision": "bf16"})
ATTENTIONS: dict[str, Any] = {
    **{kind: kind for kind in kinds("model.attention")},
    "causal": {"kind": "softmax", "causal": True},
    "cumsumexp": {"kind": "scores", "weights": "cumsumexp"},
    "fourier-output": {"kind": "fourier", "output": True},
}
STACKS: dict[str, Any] = {
    **{kind: kind for kind in kinds("model.stack")},
    "groups": {"kind": "shared", "groups": 3},
    "funnel-by-3": {"kind": "funnel", "pool": 3},  # does not divide the length
}
PAIRS = {
    f"{one}-{other}": recipe
    for one, attention in ATTENTIONS.items()
    for other, stack in STACKS.items()
    if not (recipe := replace(BASE, {"model.attention": attention, "model.stack": stack})).problems()
}
every_pair = pytest.mark.parametrize("recipe", PAIRS.values(), ids=list(PAIRS))


def moved(recipe: Recipe) -> Bert:
    """In double precision, gains and biases away from where they start."""
    model = build(recipe.model).double()
    draw = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=draw, dtype=torch.double)
    return model


def test_hardly_any_pair_is_refused():
    refused = len(ATTENTIONS) * len(STACKS) - len(PAIRS)
    assert refused == len(STACKS) - 1, "the hybrid goes with a plain stack alone"


@every_pair
def test_padding_changes_nothing_in_any_pair(recipe: Recipe):
    ids, _, _ = batch()
    model = moved(recipe).eval()
    real = torch.arange(LENGTH) < torch.tensor([[LENGTH], [9], [3]])
    padded = model.encoder(ids.masked_fill(~real, 11), real)
    for row, tokens in enumerate((LENGTH, 9, 3)):
        torch.testing.assert_close(padded[row, :tokens], model.encoder(ids[row : row + 1, :tokens])[0])


@every_pair
def test_operations_are_those_that_torch_counts_in_any_pair(recipe: Recipe, monkeypatch: pytest.MonkeyPatch):
    ids, positions, labels = batch()
    with FlopCounterMode(display=False) as counter:
        build(recipe.model)(ids, positions, labels).backward()
    # torch counts products alone, and fast transforms are none.
    monkeypatch.setattr(FourierMixing, "macs_per_token", lambda self, length: 0.0)
    share = len(positions) / ids.numel()
    ours = flops_per_token(recipe.model, vocabulary=VOCABULARY, length=LENGTH, predicted=share)
    assert counter.get_total_flops() == pytest.approx(ids.numel() * ours, rel=1e-12)


CONTEXTS = {
    **{f"attention {name}": {"model.attention": level} for name, level in ATTENTIONS.items()},
    **{f"stack {name}": {"model.stack": level} for name, level in STACKS.items()},
    **{f"norm {kind}": {"model.norm": kind} for kind in kinds("model.norm")},
    "ungated": {"model.activation": "gelu"},
    "post": {"model.norm_placement": "post"},
}


def seen(recipe: Recipe) -> tuple[dict[str, tuple[int, ...]], torch.Tensor]:
    ids, positions, _ = batch()
    model = moved(recipe).train()
    torch.manual_seed(0)
    return {name: tuple(p.shape) for name, p in model.named_parameters()}, model.logits(ids, positions)


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=list(CONTEXTS))
def test_a_knob_of_the_model_is_inert_exactly_where_it_says_so(context: dict[str, Any]):
    recipe = replace(BASE, context)
    shapes, logits = seen(recipe)
    tried = 0
    for knob in knobs(Recipe):
        parent, _, _ = knob.name.rpartition(".")
        elsewhere = "[" in parent and parent not in present(recipe)
        # What matters in low precision alone cannot be seen in double.
        if not knob.path.startswith("model.") or elsewhere or knob.knob.speed_only or "fp32" in knob.path:
            continue
        for level in other_levels(knob, get(recipe, knob.path)):
            arm = replace(recipe, {knob.path: level})
            if arm.problems():
                continue
            other_shapes, other_logits = seen(arm)
            same = other_shapes == shapes and torch.equal(other_logits, logits)
            assert same == (arm.effective() == recipe.effective()), f"{knob.name}={label(level)}"
            tried += 1
    assert tried > 30


def present(recipe: Recipe) -> set[str]:
    """The variants that the model has: `model.position[rope]`."""
    values = ((name, getattr(recipe.model, name)) for name in type(recipe.model).model_fields)
    return {f"model.{name}[{kind_of(type(value))}]" for name, value in values if is_variant(type(value))}


@pytest.mark.parametrize("attention", ATTENTIONS.values(), ids=list(ATTENTIONS))
def test_dropout_has_a_rate_of_its_own_on_the_embedding_and_on_weights_between_positions(attention: Any):
    model = build(replace(BASE, {"model.attention": attention}).model)
    weighs = any(isinstance(part, WeightDropout) for part in model.modules())
    assert weighs == replace(BASE, {"model.attention": attention}).model.attention.weighs
    set_dropout(model, 0.3, 0.2, 0.1)
    rates = {part.p for part in model.modules() if isinstance(part, torch.nn.Dropout)}
    assert rates == ({0.1, 0.2, 0.3} if weighs else {0.2, 0.3})
    set_dropout(model, 0.3)
    assert {part.p for part in model.modules() if isinstance(part, torch.nn.Dropout)} == {0.3}


@pytest.mark.parametrize("kind", ["fourier", "flash", "none"])
def test_heads_need_not_divide_the_width_where_there_are_none(kind: str):
    assert replace(BASE, {"model.attention": kind, "model.heads": 3}).problems() == []
    assert replace(BASE, {"model.heads": 3}).problems() != []


@pytest.mark.parametrize(
    "changes",
    [
        *({"attention": level} for level in ATTENTIONS.values() if level != "fourier-hybrid"),
        *({"stack": level, "layers": 4} for level in STACKS.values()),
        {"checkpointing": True},
    ],
    ids=[*(name for name in ATTENTIONS if name != "fourier-hybrid"), *STACKS, "checkpointing"],
)
def test_a_model_is_one_graph(changes: dict[str, Any]):
    """Captured, not compiled: that takes a compiler's time, and slow tests do it."""
    ids, positions, labels = batch()
    model = build(replace(TINY, changes))
    torch.compiler.reset()
    captured = torch.compile(model, fullgraph=True, dynamic=False, backend="eager")
    # GELU and the loss are written otherwise where they are compiled.
    torch.testing.assert_close(
        captured(ids, positions, labels), model(ids, positions, labels), rtol=1e-6, atol=0
    )


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # where a graph ends, Dynamo looks at all tensors
def test_blocks_that_are_left_out_at_random_do_not_exhaust_the_compiler():
    """Ten blocks with a chance each: more than the eight copies that one function may have."""
    ids, positions, labels = batch()
    model = build(replace(TINY, {"layers": 10, "layer_drop": 0.5}))
    torch.compiler.reset()
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        captured = torch.compile(model.forward, dynamic=False, backend="eager")
        for seed in range(4):
            torch.manual_seed(seed)
            expected = model(ids, positions, labels)
            torch.manual_seed(seed)
            torch.testing.assert_close(captured(ids, positions, labels), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("precision", kinds("train.precision"))
def test_every_precision_multiplies_in_every_attention(precision: str):
    ids, positions, labels = batch()
    for name, attention in ATTENTIONS.items():
        sizes = {"model.width": 32, "model.intermediate": 64}
        recipe = replace(BASE, {**sizes, "model.attention": attention, "train.precision": precision})
        assert recipe.problems() == []
        if not recipe.train.precision.supported("cpu").ok:
            pytest.skip("not on this device")
        model = build(recipe.model)
        exact = model(ids, positions, labels).item()
        recipe.train.precision.prepare(model, torch.device("cpu"))
        with recipe.train.precision.arithmetic("cpu"):
            loss = recipe.train.precision.calls(model)(ids, positions, labels)
        loss.backward()
        assert loss.item() == pytest.approx(exact, rel=0.03), name
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters()), name


def test_half_weights_that_are_gone_cannot_compute_a_block_again():
    recipe = replace(BASE, {"train.precision": "fp16-scaled", "model.checkpointing": True})
    (told,) = recipe.problems()
    assert "train.precision fp16-scaled" in told
    assert "model.checkpointing" in told
