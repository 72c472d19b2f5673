"""Attention, feed-forward, residual placements, heads and pooling, each against its formula."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from ablate.knobs import replace
from ablate.model import ClassificationHead, ModelConfig
from ablate.model.attention import attend
from ablate.model.feedforward import PLAIN, FeedForward, GatedFeedForward, feedforward
from tests.model.variants import LENGTH, TINY, VOCABULARY, batch, build


@pytest.mark.parametrize("shape", [None, (4, 6, 6), (2, 1, 1, 6), (2, 4, 6, 6)])
def test_attention_on_the_cpu_is_the_fused_kernels(shape: tuple[int, ...] | None):
    q, k, v = torch.randn(3, 2, 4, 6, 8, dtype=torch.double).unbind()
    bias = None if shape is None else torch.randn(shape, dtype=torch.double)
    torch.testing.assert_close(
        attend(q, k, v, bias, 0.0), F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    )


def test_attention_drops_weights_and_keeps_their_mean():
    torch.manual_seed(0)
    q, k, v = torch.zeros(1, 1, 400, 2), torch.zeros(1, 1, 400, 2), torch.ones(1, 1, 400, 2)
    dropped = attend(q, k, v, None, 0.5)
    assert dropped.std() > 0
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.02)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match=r"model.width \(16\) must be a multiple of model.heads \(3\)"):
        build(replace(TINY, {"heads": 3}))


@pytest.mark.parametrize(
    ("name", "gate"),
    [
        ("geglu", F.gelu),
        ("reglu", F.relu),
        ("swiglu", lambda x: x * torch.sigmoid(x)),
        ("glu", torch.sigmoid),
        ("bilinear-glu", lambda x: x),
    ],
)
def test_the_second_half_gates_the_first(name: str, gate):
    layer = feedforward(replace(TINY, {"activation": name}))
    assert isinstance(layer, GatedFeedForward)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(3, TINY.width)
    value, gated = (x @ layer.up.weight.T).split(TINY.intermediate // 2, dim=-1)
    torch.testing.assert_close(layer(x), (value * gate(gated)) @ layer.down.weight.T)


@pytest.mark.parametrize(
    ("name", "act"),
    [("gelu", F.gelu), ("relu2", lambda x: x.clamp(min=0) ** 2), ("silu", lambda x: x * torch.sigmoid(x))],
)
def test_a_plain_activation_keeps_the_whole_width(name: str, act):
    layer = feedforward(replace(TINY, {"activation": name}))
    assert isinstance(layer, FeedForward)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(3, TINY.width)
    torch.testing.assert_close(layer(x), act(x @ layer.up.weight.T) @ layer.down.weight.T)


@pytest.mark.parametrize("name", [name for name in PLAIN if name not in ("gelu-tanh", "relu2")])
def test_an_activation_is_torchs_module_of_that_name(name: str):
    modules = {m.lower(): getattr(torch.nn, m) for m in dir(torch.nn)}
    x = torch.linspace(-8, 8, 101).double()
    torch.testing.assert_close(PLAIN[name](x), modules[name.replace("-", "")]()(x))


def test_an_odd_width_cannot_be_halved_by_a_gate():
    with pytest.raises(ValueError, match=r"halves model.intermediate: 33 must be even"):
        build(replace(TINY, {"intermediate": 33}))


def test_pre_norm_leaves_the_stream_unnormalised_and_post_norm_does_not():
    x = 5 * torch.randn(2, 4, TINY.width)
    pre, post = (
        build(replace(TINY, {"norm_placement": place})).encoder.blocks[0].feedforward
        for place in ("pre", "post")
    )
    torch.testing.assert_close(pre(x), x + pre.sublayer(F.layer_norm(x, x.shape[-1:])))
    torch.testing.assert_close(post(x), F.layer_norm(x + post.sublayer(x), x.shape[-1:]))


def test_norms_are_their_formulas():
    x = 3 + torch.randn(5, 16, dtype=torch.double)
    layer, rms = (
        build(replace(TINY, {"norm": kind})).encoder.final_norm.double() for kind in ("layernorm", "rmsnorm")
    )
    torch.testing.assert_close(
        layer(x), (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True, unbiased=False)
    )
    torch.testing.assert_close(rms(x), x / x.square().mean(-1, keepdim=True).add(1e-6).sqrt())


@pytest.mark.parametrize("head", ["none", "linear", "bert"])
def test_the_head_runs_only_where_it_is_asked(head: str):
    model = build(replace(TINY, {"head": head})).double()
    ids, positions, labels = batch()
    everywhere = model.logits(ids, torch.arange(ids.numel()))
    torch.testing.assert_close(model.logits(ids, positions), everywhere[positions])
    expected = -everywhere.log_softmax(-1)[positions].gather(1, labels[:, None]).mean()
    torch.testing.assert_close(model(ids, positions, labels), expected)


@pytest.mark.parametrize("tied", [True, False])
def test_every_weight_is_stored_once_and_comes_back(tied: bool, tmp_path):
    config: ModelConfig = replace(TINY, {"tied": tied})
    model, other = build(config), build(config, seed=1)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    ids, positions, _ = batch()
    assert torch.equal(model.logits(ids, positions), other.logits(ids, positions))


def test_a_tied_decoder_sends_its_gradient_to_the_embedding():
    ids, positions, labels = batch()
    unseen = next(i for i in range(VOCABULARY) if i not in ids)
    gradients = {}
    for tied in (True, False):
        model = build(replace(TINY, {"tied": tied}))
        model(ids, positions, labels).backward()
        gradients[tied] = model.encoder.embedding.word.weight.grad[unseen]
    assert gradients[True].abs().sum() > 0
    assert gradients[False].abs().sum() == 0


@pytest.mark.parametrize("pooler", ["cls", "mean", "max"])
def test_pooling_ignores_padding(pooler: str):
    head = ClassificationHead(8, 3, pooler=pooler, head_width=5, generator=torch.Generator().manual_seed(0))
    hidden = torch.randn(2, LENGTH, 8)
    real = torch.arange(LENGTH) < torch.tensor([[5], [LENGTH]])
    other = hidden.masked_fill(~real[..., None], 100.0)
    head.eval()
    assert torch.equal(head(hidden, real), head(other, real))
    torch.testing.assert_close(head(hidden, real)[0], head(hidden[:1, :5])[0])
    assert head(hidden, real).shape == (2, 3)


def test_poolers_differ():
    hidden = torch.randn(2, LENGTH, 8)
    heads = [
        ClassificationHead(
            8, 3, pooler=p, dropout=0.0, head_width=5, generator=torch.Generator().manual_seed(0)
        )
        for p in ("cls", "mean", "max")
    ]
    outputs = [head(hidden) for head in heads]
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[1], outputs[2])


def test_tokens_of_one_document_do_not_see_the_others_in_their_row():
    """What stands after a [SEP] changes nothing before it, and the other way round; and the row's own does."""
    from ablate.data.tokenizer import SEP
    from ablate.model.bert import SEPARATOR, Bert, same_document

    assert SEPARATOR == SEP
    config = ModelConfig(layers=2, width=16, intermediate=32, heads=2, position="rope")
    model = Bert(config, vocabulary=64, length=8, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[9, 8, 7, SEP, 11, 12, SEP, 13]])
    assert same_document(ids)[0].long().sum(1).tolist() == [4, 4, 4, 4, 3, 3, 3, 1]
    changed = ids.clone()
    changed[0, 4] = 20
    for by_document in (False, True):
        model.by_document = by_document
        one, two = (model.encoder(x, model.visible(x))[0] for x in (ids, changed))
        assert torch.equal(one[:4], two[:4]) is by_document
        assert torch.equal(one[7:], two[7:]) is by_document
        assert not torch.allclose(one[5], two[5])
