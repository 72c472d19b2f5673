"""Variants of attention, stack, norm and initialisation against references and closed forms."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import FNetConfig
from transformers.models.fnet.modeling_fnet import FNetBasicFourierTransform

from ablate.knobs import replace
from ablate.model import ModelConfig
from ablate.model.attention import PADDING, WEIGHTS, FourierMixing, Standardized
from ablate.model.stack import pooled
from ablate.recipe import Recipe
from tests.model.variants import LENGTH, TINY, batch, build

B, T, D, H = 2, 8, 16, 2
x = torch.randn(B, T, D, dtype=torch.double, generator=torch.Generator().manual_seed(3))


def sublayer(changes: dict, index: int = 0) -> nn.Module:
    """The attention of one block in double precision, every parameter away from 0 and 1."""
    config = replace(TINY, changes)
    made = config.attention.build(config, T, 0.0, index)
    assert made is not None
    made.double()
    draw = torch.Generator().manual_seed(5)
    for parameter in made.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=draw, dtype=torch.double)
    return made


def padding(real: list[int]) -> torch.Tensor:
    """A bias on scores for rows of so many real tokens."""
    mask = torch.arange(T) < torch.tensor(real)[:, None]
    return torch.zeros(mask.shape, dtype=torch.double).masked_fill(~mask, PADDING)[:, None, None]


# --- attention ---------------------------------------------------------------------------------------


def test_fourier_mixing_is_fnets():
    theirs = FNetBasicFourierTransform(FNetConfig(hidden_size=D, tpu_short_seq_length=T))
    layer = sublayer({"attention": {"kind": "fourier", "orthonormal": False}})
    torch.testing.assert_close(layer(x), theirs(x)[0])


def test_orthonormal_mixing_keeps_the_size_of_its_input():
    """Parseval: half of the energy of white noise lies in the real part."""
    layer = sublayer({"attention": "fourier"})
    noise = torch.randn(50, T, D, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    assert layer(noise).square().mean().item() == pytest.approx(0.5, rel=0.03)
    torch.testing.assert_close(layer(x), torch.fft.fft2(x, norm="ortho").real)


@pytest.mark.parametrize("norm", ["ortho", "backward"])
def test_a_padded_row_is_transformed_at_its_own_length(norm: str):
    layer = sublayer({"attention": {"kind": "fourier", "orthonormal": norm == "ortho"}})
    found = layer(x, padding([8, 5]))
    torch.testing.assert_close(found[0], torch.fft.fft2(x[0], norm=norm).real)
    torch.testing.assert_close(found[1, :5], torch.fft.fft2(x[1, :5], norm=norm).real)


def test_a_product_may_follow_the_transform():
    layer = sublayer({"attention": {"kind": "fourier", "output": True}, "linear_bias": True})
    mixed = torch.fft.fft2(x, norm="ortho").real
    torch.testing.assert_close(layer(x), mixed @ layer.out.weight.T + layer.out.bias)


def test_standardised_scores_are_a_layer_norm_over_the_keys_with_a_gain_per_head():
    weigh = Standardized(H).double()
    weigh.weight.data, weigh.bias.data = torch.tensor([2.0, 3.0]).double(), torch.tensor([0.5, -1.0]).double()
    scores = torch.randn(B, H, T, T, dtype=torch.double)
    found = weigh(scores, torch.ones(1, dtype=torch.double))
    for h, (gain, offset) in enumerate(((2.0, 0.5), (3.0, -1.0))):
        torch.testing.assert_close(found[:, h], gain * F.layer_norm(scores[:, h], (T,)) + offset)
    keep = (torch.arange(T) < 5).double()
    among = weigh(scores, keep)
    assert not among[..., 5:].any()
    torch.testing.assert_close(among[..., :5], weigh(scores[..., :5], keep[:5]))


def test_heads_are_a_tuformer_whose_mixing_is_fixed():
    """A block of ones per head adds up a head's channels; all of them then have the head's scores."""
    heads, tuformer = sublayer({}), sublayer({"attention": {"kind": "tuformer", "rank": D}})
    tuformer.qkv.load_state_dict(heads.qkv.state_dict())
    tuformer.out.load_state_dict(heads.out.state_dict())
    K = D // H
    tuformer.mix.weight.data = math.sqrt(D / K) * torch.block_diag(*[torch.ones(K, K).double()] * H)
    torch.testing.assert_close(tuformer(x), heads(x))
    torch.testing.assert_close(tuformer(x, padding([8, 5])), heads(x, padding([8, 5])))


def test_a_tuformer_mixes_the_products_of_queries_and_keys_channel_by_channel():
    layer = sublayer({"attention": {"kind": "tuformer", "rank": 6}})
    q, k, _ = layer.qkv(x).chunk(3, dim=-1)
    found = layer._scores(q, k)
    torch.testing.assert_close(found, layer.mix(torch.einsum("bsc,btc->bstc", q, k)).permute(0, 3, 1, 2))
    layer.mix.product = lambda *operands: F.linear(*operands)  # what a precision of few bits puts there
    torch.testing.assert_close(layer._scores(q, k), found)


def test_linear_attention_is_its_quadratic_form():
    layer = sublayer({"attention": "linear"})
    q, k, v = (
        (F.elu(p) + 1 if i < 2 else p) for i, p in enumerate(layer.qkv(x).view(B, T, 3, H, D // H).unbind(2))
    )
    weights = torch.einsum("bqhk,bshk->bhqs", q, k)
    mixed = torch.einsum("bhqs,bshk->bqhk", weights / weights.sum(-1, keepdim=True), v)
    torch.testing.assert_close(layer(x), layer.out(mixed.reshape(B, T, D)))


@pytest.mark.parametrize(
    ("weights", "formula"),
    [
        ("identity", lambda s: s / math.sqrt(T)),
        ("relu", lambda s: s.clamp(min=0) / T),
        ("cumsum", lambda s: s.cumsum(-1) / math.sqrt(T)),
        ("cumsumexp", lambda s: s.exp().cumsum(-1).log() / math.sqrt(T)),
    ],
)
def test_weights_other_than_a_softmax_are_their_formulas(weights: str, formula):
    layer = sublayer({"attention": {"kind": "scores", "weights": weights}})
    q, k, v = layer.qkv(x).view(B, T, 3, H, D // H).unbind(2)
    scores = torch.einsum("bqhk,bshk->bhqs", q, k) / math.sqrt(D // H)
    mixed = torch.einsum("bhqs,bshk->bqhk", formula(scores), v)
    torch.testing.assert_close(layer(x), layer.out(mixed.reshape(B, T, D)))


def test_running_sums_of_exponentials_stay_exact_where_scores_lie_far_apart():
    """Values and gradients against torch's own scan, in fp32."""
    scores = torch.randn(3, 50) * torch.tensor([1.0, 10.0, 15.0])[:, None] + 200
    mine, reference = scores.clone().requires_grad_(), scores.double().requires_grad_()
    keep = torch.ones(1)
    found, expected = WEIGHTS["cumsumexp"](1)(mine, keep), reference.logcumsumexp(-1) / math.sqrt(50)
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-5)
    for loss in (found, expected):
        (loss * torch.linspace(-1, 1, 50)).sum().backward()
    torch.testing.assert_close(mine.grad, reference.grad.float(), rtol=1e-4, atol=1e-4)
    extreme = torch.tensor([[-500.0, 0.0, 500.0]], requires_grad=True)
    WEIGHTS["cumsumexp"](1)(extreme, keep).sum().backward()
    assert extreme.grad.isfinite().all()


def test_flash_is_its_pseudo_code():
    """Hua et al. 2022, figure 2 and section 3.1, with one over the row's length."""
    layer = sublayer({"attention": {"kind": "flash", "shared": 8, "expansion": 3}, "linear_bias": True})
    u, v = F.silu(x @ layer.up.weight.T + layer.up.bias).split(3 * D, dim=-1)
    z = F.silu(x @ layer.qk.weight.T + layer.qk.bias)
    q, k = z * layer.q.weight + layer.q.bias, z * layer.k.weight + layer.k.bias
    weights = torch.einsum("bns,bms->bnm", q, k).div(math.sqrt(8)).clamp(min=0) ** 2 / T
    expected = (u * torch.einsum("bnm,bme->bne", weights, v)) @ layer.down.weight.T + layer.down.bias
    torch.testing.assert_close(layer(x), expected)


def test_flash_alone_makes_a_block():
    model = build(replace(TINY, {"attention": "flash"}))
    assert not [name for name, _ in model.named_parameters() if ".feedforward." in name]


def test_no_later_position_is_seen_by_causal_attention():
    layer = sublayer({"attention": {"kind": "softmax", "causal": True}})
    changed = x.clone()
    changed[:, 5:] += 1
    assert torch.equal(layer(x)[:, :5], layer(changed)[:, :5])
    assert not torch.equal(layer(x)[:, 5:], layer(changed)[:, 5:])


def test_without_attention_positions_do_not_meet():
    model = build(replace(TINY, {"attention": "none"}))
    ids, _, _ = batch(1)
    changed = ids.clone()
    changed[:, 3] += 1
    same = (model.encoder(ids) == model.encoder(changed)).all(-1)[0]
    assert same.tolist() == [i != 3 for i in range(LENGTH)]


def test_the_last_layers_of_the_hybrid_attend():
    model = build(replace(TINY, {"layers": 3, "attention": {"kind": "fourier-hybrid", "softmax_layers": 1}}))
    fourier = [isinstance(block.attention.sublayer, FourierMixing) for block in model.encoder.blocks]
    assert fourier == [True, True, False]


@pytest.mark.parametrize("position", ["rope", "alibi", "t5"])
@pytest.mark.parametrize("attention", ["fourier", "linear", "none", "fourier-hybrid"])
def test_a_position_on_scores_needs_scores(position: str, attention: str):
    recipe = replace(Recipe(), {"model.position": position, "model.attention": attention})
    assert f"model.position {position} acts on attention scores" in "\n".join(recipe.problems())
    assert f"model.attention {attention} has none" in "\n".join(recipe.problems())


# --- feed-forward, stack, residual -------------------------------------------------------------------


def test_a_matched_gate_has_the_ungated_forms_parameters():
    plain, kept, matched = (
        sum(p.numel() for n, p in build(replace(TINY, c)).named_parameters() if ".feedforward.sublayer" in n)
        for c in (
            {"intermediate": 48, "activation": "gelu"},
            {"intermediate": 48},
            {"intermediate": 48, "glu_width": "matched"},
        )
    )
    assert matched == plain
    assert kept == 0.75 * plain


def test_only_every_second_block_widens():
    model = build(replace(TINY, {"layers": 4, "feedforward_every": 2}))
    owners = {name.split(".")[2] for name, _ in model.named_parameters() if ".feedforward." in name}
    assert owners == {"1", "3"}


def test_shared_layers_are_one_block_whose_gradients_add_up():
    """Four layers of one block are four equal blocks; the gradient is the sum of theirs."""
    ids, positions, labels = batch()
    shared = build(replace(TINY, {"layers": 4, "stack": "shared"})).double()
    unrolled = build(replace(TINY, {"layers": 4})).double()
    own = shared.state_dict()
    unrolled.load_state_dict(
        {
            k: own[k.replace(f"blocks.{k.split('.')[2]}.", "blocks.0.") if ".blocks." in k else k]
            for k in unrolled.state_dict()
        }
    )
    shared(ids, positions, labels).backward()
    unrolled(ids, positions, labels).backward()
    theirs = dict(unrolled.named_parameters())
    for name, parameter in shared.named_parameters():
        copies = (
            [theirs[name.replace("blocks.0.", f"blocks.{i}.")] for i in range(4)]
            if ".blocks." in name
            else [theirs[name]]
        )
        torch.testing.assert_close(parameter.grad, sum(copy.grad for copy in copies))


def test_groups_follow_each_other():
    model = build(replace(TINY, {"layers": 5, "stack": {"kind": "shared", "groups": 2}}))
    assert model.encoder.blocks.order == [0, 0, 0, 1, 1]


def test_rounds_start_from_the_input_again():
    model = build(replace(TINY, {"stack": {"kind": "recurrent", "rounds": 3}})).double()
    ids, _, _ = batch()
    start = state = model.encoder.embedding(ids)
    for i in range(3):
        state = state if i == 0 else state + start
        for block in model.encoder.blocks:
            state = block(state, None)
    torch.testing.assert_close(model.encoder(ids), model.encoder.final_norm(state))


def test_pooling_without_padding_needs_no_mask():
    """Eight positions by threes: the last mean is of two."""
    y, seen = pooled(x, None, 3)
    assert seen is None
    torch.testing.assert_close(y[:, 2], x[:, 6:].mean(1))


def test_pooling_takes_the_mean_of_real_neighbours():
    mask = torch.arange(T) < torch.tensor([[8], [4]])
    y, seen = pooled(x, mask, 3)
    torch.testing.assert_close(y[0, 0], x[0, :3].mean(0))
    torch.testing.assert_close(y[0, 2], x[0, 6:8].mean(0))
    torch.testing.assert_close(y[1, 1], x[1, 3])
    assert seen.tolist() == [[True, True, True], [True, True, False]]
    torch.testing.assert_close(pooled(x, None, 2)[0], x.view(B, 4, 2, D).mean(2))


def test_the_middle_of_a_funnel_is_shorter():
    model = build(replace(TINY, {"layers": 3, "stack": "funnel"}))
    lengths: list[int] = []
    for block in model.encoder.blocks:
        block.register_forward_hook(lambda module, args, out: lengths.append(out.shape[1]))
    ids, _, _ = batch()
    assert model.encoder(ids).shape == (*ids.shape, TINY.width)
    assert lengths == [LENGTH, LENGTH // 2, LENGTH]


def test_checkpointing_changes_no_gradient():
    ids, positions, labels = batch()
    plain, again = build(TINY), build(replace(TINY, {"checkpointing": True}))
    for model in (plain, again):
        model(ids, positions, labels).backward()
    for one, other in zip(plain.parameters(), again.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_layers_drop_in_proportion_to_their_depth_and_only_in_training():
    model = build(replace(TINY, {"layers": 4, "layer_drop": 0.8}))
    assert [block.chance for block in model.encoder.blocks] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    vector = torch.randn(1, 1, TINY.width)
    torch.manual_seed(0)
    left_out = [
        [torch.equal(block(vector, None), vector) for block in model.encoder.blocks] for _ in range(400)
    ]
    for block, expected in zip(
        torch.tensor(left_out, dtype=torch.double).mean(0), (0.2, 0.4, 0.6, 0.8), strict=True
    ):
        assert block == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 400))
    model.eval()
    assert not any(torch.equal(block(vector, None), vector) for block in model.encoder.blocks)


def test_placements_are_their_formulas():
    def block(**changes) -> tuple[nn.Module, nn.Module]:
        residual = build(replace(TINY, {"layers": 3, **changes})).double().encoder.blocks[0].attention
        for i, part in enumerate(p for p in residual.modules() if isinstance(p, nn.LayerNorm)):
            nn.init.normal_(part.weight, 1 + i)
        return residual, residual.sublayer

    residual, f = block(norm_placement="sandwich")
    torch.testing.assert_close(residual(x, None), x + residual.norm_out(f(residual.norm(x))))
    residual, f = block(norm_placement="output")
    torch.testing.assert_close(residual(x, None), x + residual.norm(f(x)))
    residual, f = block(norm_placement="post", deepnorm=True)
    torch.testing.assert_close(residual(x, None), residual.norm(6**0.25 * x + f(x)))


def test_deepnorm_is_refused_where_nothing_is_weighed():
    (told,) = replace(Recipe(), {"model.deepnorm": True}).problems()
    assert told.startswith("model.deepnorm weighs the stream of model.norm_placement post, not of pre")


# --- norms, embedding, initialisation ----------------------------------------------------------------


def test_scale_norm_gives_every_vector_one_length():
    norm = replace(TINY, {"norm": {"kind": "scalenorm", "eps": 1e-15}}).norm.build(D).double()
    torch.testing.assert_close(norm(7 * x).norm(dim=-1), torch.full((B, T), math.sqrt(D), dtype=torch.double))
    torch.testing.assert_close(norm(7 * x), norm(x))


def test_dynamic_tanh_is_its_formula():
    norm = replace(TINY, {"norm": {"kind": "dyt", "alpha": 0.8}}).norm.build(D).double()
    norm.weight.data.normal_()
    norm.bias.data.normal_()
    torch.testing.assert_close(norm(x), norm.weight * torch.tanh(0.8 * x) + norm.bias)


@pytest.mark.parametrize("tied", [True, False])
def test_a_factorised_embedding_has_albert_s_parameters(tied: bool):
    V, E, W = 50, 8, TINY.width
    plain = build(replace(TINY, {"tied": tied}))
    factored = build(replace(TINY, {"tied": tied, "embedding_width": E}))
    saved = sum(p.numel() for p in plain.parameters()) - sum(p.numel() for p in factored.parameters())
    assert saved == (1 if tied else 2) * V * (W - E) - 2 * E * W


def spreads(init: str, **changes) -> dict[str, float]:
    wide = replace(
        ModelConfig(), {"layers": 3, "width": 128, "heads": 2, "intermediate": 256, "init": init, **changes}
    )
    return {name: p.detach() for name, p in build(wide).named_parameters() if p.ndim == 2}


def test_xavier_and_deepnorm_are_the_formulas():
    xavier = spreads("xavier")
    assert xavier["encoder.embedding.word.weight"].std().item() == pytest.approx(0.02, rel=0.03)
    up = "encoder.blocks.1.feedforward.sublayer.up.weight"  # two parts of 128 outputs
    assert xavier[up].std().item() == pytest.approx(math.sqrt(2 / 256), rel=0.03)
    deep, beta = spreads("deepnorm", deepnorm=True, norm_placement="post"), 24**-0.25
    assert deep[up].std().item() == pytest.approx(beta * math.sqrt(2 / 256), rel=0.03)
    q, k, v = deep["encoder.blocks.0.attention.sublayer.qkv.weight"].chunk(3)
    for part, gain in ((q, 1.0), (k, 1.0), (v, beta)):
        assert part.std().item() == pytest.approx(gain * math.sqrt(2 / 256), rel=0.03)


def test_scaled_orthogonal_matrices_have_one_singular_value():
    model = build(replace(TINY, {"init": {"kind": "orthogonal", "scaled": True}, "intermediate": 64}))
    for name, rows, columns in (("attention.sublayer.out", D, D), ("feedforward.sublayer.down", D, 32)):
        weight = model.get_parameter(f"encoder.blocks.0.{name}.weight")
        assert weight.shape == (rows, columns)
        values = torch.linalg.svdvals(weight.double())
        torch.testing.assert_close(
            values, torch.full((D,), math.sqrt(rows / columns)).double(), rtol=1e-5, atol=0
        )


def test_the_embeddings_norm_is_exact_where_weights_are_rounded():
    ids = torch.arange(5, 13)[None]
    rounded, exact = (
        build(replace(TINY, {"embedding_fp32": level})).bfloat16().encoder.embedding
        for level in (False, True)
    )
    for table in (rounded, exact):
        table.word.weight.data += 3.0  # a mean that costs digits
    with torch.no_grad():
        summed = exact.position(exact.word(ids))
        expected = F.layer_norm(summed.float(), (D,), eps=1e-12).bfloat16()
        assert torch.equal(exact(ids), expected)
    exact(ids).float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in exact.parameters())


def test_orthogonal_matrices_are_orthogonal_part_by_part():
    found = spreads("orthogonal")
    for part in found["encoder.blocks.0.attention.sublayer.qkv.weight"].chunk(3):
        torch.testing.assert_close(part @ part.T, torch.eye(128), rtol=0, atol=1e-5)
    down = found["encoder.blocks.0.feedforward.sublayer.down.weight"]
    torch.testing.assert_close(down @ down.T, torch.eye(128), rtol=0, atol=1e-5)
