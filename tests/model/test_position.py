"""Position schemes against independent closed forms."""

import math

import pytest
import torch
from transformers.models.t5.modeling_t5 import T5Attention

from ablate.knobs import replace
from ablate.model.position import T5, Alibi, Rope, Rotation, ScaledSinusoidal, Sinusoidal
from tests.model.variants import TINY, batch, build


def rotation(width: int, length: int, theta: float = 10000.0, fraction: float = 1.0) -> Rotation:
    return Rope(theta=theta, fraction=fraction).rotation(width, length).double()


@pytest.mark.parametrize(("theta", "fraction"), [(10000.0, 1.0), (500.0, 0.5)])
def test_rope_multiplies_pairs_by_a_complex_phase(theta: float, fraction: float):
    length, width = 12, 8
    rotated = int(width * fraction)
    x = torch.randn(2, 3, length, width, dtype=torch.double)
    pairs = torch.complex(x[..., : rotated // 2], x[..., rotated // 2 : rotated])
    turned = torch.empty_like(pairs)
    for t in range(length):
        for i in range(rotated // 2):
            angle = t * theta ** (-2 * i / rotated)
            turned[..., t, i] = pairs[..., t, i] * complex(math.cos(angle), math.sin(angle))
    expected = torch.cat([turned.real, turned.imag, x[..., rotated:]], dim=-1)
    # 1e-6: the tables are kept in fp32.
    torch.testing.assert_close(rotation(width, length, theta, fraction)(x), expected, rtol=1e-6, atol=1e-6)


def test_rope_rotates():
    x = torch.randn(1, 1, 4, 8, dtype=torch.double)
    turned = rotation(8, 4)(x)
    assert torch.equal(turned[..., 0, :], x[..., 0, :])
    assert not torch.isclose(turned[..., 1:, :], x[..., 1:, :]).all()
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1), rtol=1e-6, atol=0)


def test_ropes_scores_depend_on_relative_position_alone():
    length, width = 10, 8
    query = torch.randn(width, dtype=torch.double).expand(1, 1, length, width)
    key = torch.randn(width, dtype=torch.double).expand(1, 1, length, width)
    rotate = rotation(width, length)
    scores = (rotate(query) @ rotate(key).transpose(-1, -2))[0, 0]
    for offset in range(-length + 1, length):
        along = scores.diagonal(offset)
        torch.testing.assert_close(along, along[:1].expand_as(along), rtol=1e-5, atol=1e-6)
    assert scores.diagonal(1)[0] != pytest.approx(scores.diagonal(2)[0].item(), rel=1e-3)


def test_an_odd_head_width_cannot_rotate():
    with pytest.raises(ValueError, match=r"rope needs an even head width; model.width / model.heads is 5"):
        Rope().rotation(5, 8)


def test_sinusoids_are_vaswanis():
    width, length = 10, 7
    added = Sinusoidal().embedding(width, length)(torch.zeros(1, length, width))[0]
    for t in range(length):
        for i in range(width // 2):
            angle = t / 10000 ** (2 * i / width)
            assert added[t, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert added[t, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_scaled_sinusoids_start_at_one_over_root_width_and_learn_one_number():
    module = ScaledSinusoidal().embedding(16, 7)
    plain = Sinusoidal().embedding(16, 7)
    torch.testing.assert_close(module(torch.zeros(1, 7, 16)), plain(torch.zeros(1, 7, 16)) / 4)
    assert [p.numel() for p in module.parameters()] == [1]


def test_alibi_falls_with_distance_both_ways_at_geometric_slopes():
    bias = Alibi().bias(8, 6)(5)
    for head in range(8):
        for i in range(5):
            for j in range(5):
                assert bias[head, i, j].item() == pytest.approx(-(2.0 ** -(head + 1)) * abs(i - j))


def test_alibi_with_twelve_heads_interleaves_the_slopes_of_sixteen():
    slopes = -Alibi().bias(12, 2)(2)[:, 0, 1]
    expected = [2.0 ** -(i + 1) for i in range(8)] + [2 ** (-0.5 * (i + 1)) for i in (0, 2, 4, 6)]
    torch.testing.assert_close(slopes, torch.tensor(expected))


@pytest.mark.parametrize(("buckets", "far"), [(32, 128), (8, 64), (64, 300)])
def test_t5_buckets_are_hugging_faces(buckets: int, far: int):
    length = 200
    module = T5(buckets=buckets, max_distance=far).bias(2, length)
    offset = torch.arange(length) - torch.arange(length)[:, None]
    expected = T5Attention._relative_position_bucket(
        offset, bidirectional=True, num_buckets=buckets, max_distance=far
    )
    # At exact powers the logarithm in fp32 and in double can fall to either side of a bucket's edge.
    assert (module.buckets != expected).float().mean() < 0.01
    assert (module.buckets - expected).abs().max() <= 1


def test_t5_shares_one_learned_bias_between_layers():
    model = build(replace(TINY, {"position": "t5"}))
    tables = [name for name, p in model.named_parameters() if p.shape == (32, TINY.heads)]
    assert tables == ["encoder.position_bias.table.weight"]
    bias = model.encoder.position_bias(6)
    assert bias.shape == (TINY.heads, 6, 6)
    torch.testing.assert_close(bias[:, 1, 3], bias[:, 3, 5])
    assert not torch.equal(bias[:, 1, 3], bias[:, 3, 1])


SCHEMES = ["learned", "sinusoidal", "scaled-sinusoidal", "rope", "alibi", "t5"]


@pytest.mark.parametrize("stack", ["plain", "shared", "recurrent"])
@pytest.mark.parametrize("position", ["alibi", "t5"])
def test_a_bias_on_scores_is_made_once_a_step_and_is_one_tensor_for_all_layers(position: str, stack: str):
    model = build(replace(TINY, {"position": position, "stack": stack, "layers": 3}))
    made: list[torch.Tensor] = []
    model.encoder.position_bias.register_forward_hook(lambda module, inputs, bias: made.append(bias))
    taken: list[torch.Tensor] = []
    for block in model.encoder.blocks:
        block.register_forward_pre_hook(lambda module, inputs: taken.append(inputs[1]))
    ids, positions, labels = batch()
    with torch.autocast("cpu", torch.bfloat16):
        model(ids, positions, labels)
    assert len(made) == 1
    assert len(taken) == {"plain": 3, "shared": 3, "recurrent": 9}[stack]
    assert all(bias is taken[0] for bias in taken)
    assert taken[0].shape == (TINY.heads, ids.shape[1], ids.shape[1])  # no copy for each row either
    assert taken[0].dtype == torch.bfloat16


@pytest.mark.parametrize("position", [*SCHEMES, "none"])
def test_only_without_positions_is_the_text_a_bag_of_words(position: str):
    model = build(replace(TINY, {"position": position, "init": {"kind": "normal", "std": 0.2}})).double()
    ids, _, _ = batch(1)
    order = torch.randperm(ids.shape[1], generator=torch.Generator().manual_seed(3))
    moved = torch.allclose(model.encoder(ids)[:, order], model.encoder(ids[:, order]), rtol=1e-6, atol=1e-8)
    assert moved == (position == "none")
