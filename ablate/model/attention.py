"""How positions exchange what they know.

Shapes: B batch, T position, D width, H head, K head width; S shared width and E gated width of FLASH.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.knobs import Config, Knob, kind_of, one_of
from ablate.model.autocast import uncast, wide
from ablate.model.dropout import WeightDropout
from ablate.model.linear import Linear

if TYPE_CHECKING:
    from ablate.model.config import ModelConfig
    from ablate.recipe import Recipe

# Added to the scores of padding. Its exponential is 0 in every precision, and a row of nothing but
# padding stays finite, which -inf would not.
PADDING = -1e4

QkvBias = Annotated[
    bool,
    Knob(
        "biases of the query, key and value projections",
        paper="Architecture: dropped, for speed at about the same size",
        cost="3 vectors of model.width per layer",
    ),
]


class Attention(Config):
    """What the variants share. `replaces_feedforward`: a block has no other sublayer."""

    replaces_feedforward: ClassVar[bool] = False
    by_layer: ClassVar[bool] = False  # blocks differ by their index
    weighs: ClassVar[bool] = True  # has weights between positions, which dropout may leave out

    def build(self, model: ModelConfig, length: int, dropout: float, index: int) -> nn.Module | None:
        """The sublayer of block `index`: x [B, T, D] and a bias on scores → [B, T, D]; None: it has none."""
        raise NotImplementedError

    def score_heads(self, model: ModelConfig) -> int:
        """How many score matrices [T, T] a position may act on; 0: there are none."""
        return 0

    def conflicts(self, recipe: Recipe) -> list[str]:
        model = recipe.model
        if model.position.on_scores and not self.score_heads(model):
            return [
                f"model.position {model.position.kind} acts on attention scores, and model.attention "
                f"{kind_of(type(self))} has none; take scaled-sinusoidal, sinusoidal, learned or none"
            ]
        return []


# --- scores and weights --------------------------------------------------------------------------------


class SoftmaxAttention(Attention):
    """Scaled dot-product attention with several heads (Vaswani et al. 2017)."""

    kind: Literal["softmax"] = "softmax"
    qkv_bias: QkvBias = False
    output: Annotated[
        bool,
        Knob("a product that mixes the heads' results", cost="off saves model.width squared per layer"),
    ] = True
    causal: Annotated[bool, Knob("look at earlier positions only, as a decoder does")] = False
    fp32: Annotated[
        bool, Knob("scores and weights in fp32 where train.precision has them in fewer bits", cost="slower")
    ] = False

    def build(self, model: ModelConfig, length: int, dropout: float, index: int) -> nn.Module:
        return SelfAttention(model, self, length, dropout)

    def score_heads(self, model: ModelConfig) -> int:
        return model.heads

    def inert(self, recipe: Recipe) -> Iterable[str]:
        if recipe.train.precision.kind in ("fp32", "tf32"):
            yield "model.attention.fp32"


class SelfAttention(nn.Module):
    """Queries, keys and values from one product; heads; output projection."""

    def __init__(self, model: ModelConfig, config: SoftmaxAttention, length: int, dropout: float) -> None:
        super().__init__()
        width = model.width
        self.heads, self.head_width = model.heads, model.head_width
        self.qkv = Linear(width, 3 * width, config.qkv_bias, parts=3)
        self.rotate = model.position.rotation(self.head_width, length)
        self.attend: Attend = attend_in_fp32 if config.fp32 else attend
        if config.causal:
            self.attend = Causal(self.attend)
        self.dropout = WeightDropout(dropout)
        self.out = output_product(model) if config.output else nn.Identity()

    def forward(self, x_BTD: Tensor, bias: Tensor | None = None) -> Tensor:
        B, T, D = x_BTD.shape
        q_BHTK, k_BHTK, v_BHTK = by_head(self.qkv(x_BTD), self.heads)
        dropout = self.dropout.p if self.training else 0.0
        y_BHTK = self.attend(self.rotate(q_BHTK), self.rotate(k_BHTK), v_BHTK, bias, dropout)
        return self.out(y_BHTK.transpose(1, 2).reshape(B, T, D))

    def macs_per_token(self, length: int) -> float:
        """Scores and weighted values; the projections count themselves."""
        return 2 * length * self.heads * self.head_width


def by_head(qkv_BTC: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [B, H, T, K], which lie side by side in the last axis.

    Cut before heads are: compiled, their gradients are then written side by side, not stacked and reordered.
    """
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv_BTC.chunk(3, dim=-1))
    return q, k, v


def output_product(model: ModelConfig) -> Linear:
    """What stands last in an attention: it mixes what the heads found."""
    return Linear(model.width, model.width, model.linear_bias, into_residual=True)


Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]


def attend(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """softmax(q kᵀ / √K + bias) v, by the backend that is fastest on the tensors' device.

    `bias` broadcasts to [B, H, T, T]. On CPUs the fused kernel loses in bf16: 133 ms against 28 ms for
    two products and a softmax, forward and backward, 16 rows of 128, 12 heads, one thread; fp32 is a tie.
    """
    if q_BHTK.device.type != "cpu":
        return F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, attn_mask=bias, dropout_p=dropout)
    return explicit(q_BHTK, k_BHTK, v_BHTK, bias, dropout)


def explicit(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """`attend` by two products and a softmax."""
    scores = torch.matmul(q_BHTK * q_BHTK.shape[-1] ** -0.5, k_BHTK.transpose(-1, -2))
    weights = torch.softmax(scores if bias is None else scores + bias, dim=-1)
    return torch.matmul(F.dropout(weights, dropout), v_BHTK)


def attend_in_fp32(
    q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, bias: Tensor | None, dropout: float
) -> Tensor:
    """`attend`, computed in fp32 from rounded queries, keys and values."""
    with uncast(q_BHTK):
        exact = None if bias is None else wide(bias)
        return attend(wide(q_BHTK), wide(k_BHTK), wide(v_BHTK), exact, dropout).to(v_BHTK.dtype)


class Causal:
    """An attention in which no position sees a later one."""

    def __init__(self, attend: Attend) -> None:
        self.attend = attend

    def __call__(
        self, q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, bias: Tensor | None, dropout: float
    ) -> Tensor:
        later_TT = torch.full((q_BHTK.shape[2],) * 2, PADDING, device=q_BHTK.device, dtype=q_BHTK.dtype).triu(
            1
        )
        return self.attend(q_BHTK, k_BHTK, v_BHTK, later_TT if bias is None else bias + later_TT, dropout)


class Standardized(nn.Module):
    """Scores of a query at mean 0 and variance 1 over the keys that are no padding, then a gain and an offset
    per head.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(heads))
        self.bias = nn.Parameter(torch.zeros(heads))

    def forward(self, scores: Tensor, keep: Tensor) -> Tensor:
        count = _count(scores, keep)
        centred = (scores - (scores * keep).sum(-1, keepdim=True) / count) * keep
        variance = centred.square().sum(-1, keepdim=True) / count
        gain, offset = self.weight[:, None, None], self.bias[:, None, None]
        return (centred * (variance + 1e-5).rsqrt() * gain + offset) * keep


def _identity(scores: Tensor, keep: Tensor) -> Tensor:
    return scores * keep * _count(scores, keep).rsqrt()


def _relu(scores: Tensor, keep: Tensor) -> Tensor:
    return F.relu(scores) * keep / _count(scores, keep)


def _cumsum(scores: Tensor, keep: Tensor) -> Tensor:
    return (scores * keep).cumsum(-1) * keep * _count(scores, keep).rsqrt()


def _cumsumexp(scores: Tensor, keep: Tensor) -> Tensor:
    # Not `logcumsumexp`, whose scans take seven times as long, 51 ms against 7 for 8 rows and 4 heads.
    # A running sum of ever larger terms keeps its digits; what lies e^80 below the row's largest is e^-80.
    scores = scores.masked_fill(keep == 0, PADDING)
    largest = scores.detach().amax(-1, keepdim=True)
    sums = (scores - largest).clamp(min=-80).exp().cumsum(-1)
    return (sums.log() + largest) * keep * _count(scores, keep).rsqrt()


def _count(scores: Tensor, keep: Tensor) -> Tensor:
    return keep.expand_as(scores).sum(-1, keepdim=True).clamp(min=1)


Weights = Literal["norm", "identity", "relu", "cumsum", "cumsumexp"]
# What stands in for the softmax: scores and which keys are no padding (1 or 0) → weights.
Weigh = Callable[[Tensor, Tensor], Tensor]
# Number of heads → that.
WEIGHTS: dict[Weights, Callable[[int], Weigh]] = {
    "norm": Standardized,
    "identity": lambda heads: _identity,
    "relu": lambda heads: _relu,
    "cumsum": lambda heads: _cumsum,
    "cumsumexp": lambda heads: _cumsumexp,
}
assert set(WEIGHTS) == set(get_args(Weights))


class ScoreAttention(Attention):
    """Dot-product attention whose weights come from something other than a softmax.

    norm: scores standardised over the keys, with a gain and an offset per head (Richter & Wattenhofer 2020,
    arXiv:2005.09561; the reference standardises over all heads and queries of a row together); identity:
    scores / √T; relu: ReLU / T (Wortsman et al. 2023, arXiv:2309.08586); cumsum: their running sum over the
    keys / √T; cumsumexp: the logarithm of their exponentials' running sum / √T; all but relu the reference's.
    """

    kind: Literal["scores"] = "scores"
    weights: Annotated[
        Weights, Knob("from scores to weights", paper="Architecture: softmax replacements no gain")
    ] = "norm"
    qkv_bias: QkvBias = False

    def build(self, model: ModelConfig, length: int, dropout: float, index: int) -> nn.Module:
        softmax = SelfAttention(model, SoftmaxAttention(qkv_bias=self.qkv_bias), length, dropout)
        softmax.attend = Weighted(WEIGHTS[self.weights](model.heads))
        return softmax

    def score_heads(self, model: ModelConfig) -> int:
        return model.heads


class Weighted(nn.Module):
    """weights(q kᵀ / √K + bias) v, without keys that are padding; scores and weights in fp32."""

    def __init__(self, weights: Weigh) -> None:
        super().__init__()
        # "norm" in the name of a gain keeps it from weight decay.
        self.norm = weights

    def forward(
        self, q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, bias: Tensor | None, dropout: float
    ) -> Tensor:
        scores = wide(torch.matmul(q_BHTK * q_BHTK.shape[-1] ** -0.5, k_BHTK.transpose(-1, -2)))
        weights = self.norm(*_biased(scores, bias))
        return torch.matmul(F.dropout(weights.to(v_BHTK.dtype), dropout), v_BHTK)


def _biased(scores: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Scores with the positions' bias, and 1 where a key is no padding, else 0."""
    if bias is None:
        return scores, torch.ones_like(scores[..., :1, :])
    keep = bias > PADDING / 2
    return scores + bias.masked_fill(~keep, 0.0), keep.to(scores.dtype)


class Tuformer(Attention):
    """As many score matrices as channels: queries times keys, channel by channel, mixed by one product, then
    a softmax for each (Liu et al., Tuformer, ICLR 2022). Heads are a fixed mixing of ones and zeros.
    """

    kind: Literal["tuformer"] = "tuformer"
    rank: Annotated[
        int,
        Knob(
            "channels, each with a score matrix of its own; the reference takes model.width",
            2,
            4096,
            log=True,
            cost="memory: as many matrices [T, T] per row and layer; time with its square times T",
        ),
    ] = 64
    qkv_bias: QkvBias = False

    def build(self, model: ModelConfig, length: int, dropout: float, index: int) -> nn.Module:
        return TensorAttention(model, self.rank, self.qkv_bias, dropout)

    def inert(self, recipe: Recipe) -> Iterable[str]:
        return ("model.heads",)


class TensorAttention(nn.Module):
    """Shapes: R channels, S and T positions of queries and keys, M = R S."""

    def __init__(self, model: ModelConfig, rank: int, qkv_bias: bool, dropout: float) -> None:
        super().__init__()
        self.rank = rank
        self.qkv = Linear(model.width, 3 * rank, qkv_bias, parts=3)
        self.mix = Linear(rank, rank, False)  # a bias would be the same for all keys, which a softmax drops
        self.dropout = WeightDropout(dropout)
        self.out = Linear(rank, model.width, model.linear_bias, into_residual=True)

    def forward(self, x_BTD: Tensor, bias: Tensor | None = None) -> Tensor:
        q_BSR, k_BTR, v_BTR = self.qkv(x_BTD).chunk(3, dim=-1)
        scores_BRST = self._scores(q_BSR * self.rank**-0.5, k_BTR)
        weights_BRST = torch.softmax(scores_BRST if bias is None else scores_BRST + bias, dim=-1)
        mixed_BRS1 = torch.matmul(self.dropout(weights_BRST), v_BTR.transpose(1, 2)[..., None])
        return self.out(mixed_BRS1[..., 0].transpose(1, 2))

    def _scores(self, q_BSR: Tensor, k_BTR: Tensor) -> Tensor:
        """[B, R, S, T]: for each channel, the sum of mix · q · k over the channels."""
        if self.mix.product is not F.linear:  # few bits, to which the operands of the mixing are rounded
            return self.mix(q_BSR[:, :, None] * k_BTR[:, None]).permute(0, 3, 1, 2)
        # Mixing the queries before they meet the keys takes the same product, but leaves the scores in the
        # order that the softmax reads, and no [B, S, T, R] for backward: 90 ms instead of 118 for 8 rows.
        mixed_BRSR = self.mix.weight.to(q_BSR.dtype)[:, None] * q_BSR[:, None]
        scores_BMT = torch.matmul(mixed_BRSR.flatten(1, 2), k_BTR.transpose(1, 2))
        return scores_BMT.unflatten(1, (self.rank, -1))

    def macs_per_token(self, length: int) -> float:
        """Weighted values, and the mixing at every pair of positions, which counts itself once."""
        return length * self.rank + (length - 1) * self.rank**2


# --- without a matrix of scores ------------------------------------------------------------------------


class LinearAttention(Attention):
    """φ(q) (φ(k)ᵀ v), normalised, with φ = elu + 1 (Katharopoulos et al. 2020, arXiv:2006.16236)."""

    kind: Literal["linear"] = "linear"
    weighs: ClassVar[bool] = False
    qkv_bias: QkvBias = False

    def build(self, model: ModelConfig, length: int, dropout: float, index: int) -> nn.Module:
        return KernelAttention(model, self.qkv_bias)


class KernelAttention(nn.Module):
    def __init__(self, model: ModelConfig, qkv_bias: bool) -> None:
        super().__init__()
        self.heads, self.head_width = model.heads, model.head_width
        self.qkv = Linear(model.width, 3 * model.width, qkv_bias, parts=3)
        self.out = output_product(model)

    def forward(self, x_BTD: Tensor, bias: Tensor | None = None) -> Tensor:
        B, T, D = x_BTD.shape
        q_BHTK, k_BHTK, v_BHTK = by_head(self.qkv(x_BTD), self.heads)
        q_BHTK, k_BHTK = F.elu(wide(q_BHTK)) + 1, F.elu(wide(k_BHTK)) + 1
        if bias is not None:
            k_BHTK = k_BHTK * real(bias, T)[:, None, :, None]
        with uncast(x_BTD):
            y_BHTK = q_BHTK @ (k_BHTK.transpose(-1, -2) @ wide(v_BHTK))
            y_BHTK = y_BHTK / (q_BHTK @ k_BHTK.sum(2)[..., None]).clamp(min=1e-6)
        return self.out(y_BHTK.to(v_BHTK.dtype).transpose(1, 2).reshape(B, T, D))

    def macs_per_token(self, length: int) -> float:
        """Keys times values, queries times that, and the sum it is divided by."""
        return self.heads * (2 * self.head_width**2 + self.head_width)


def real(bias: Tensor, length: int) -> Tensor:
    """[B, T]: 1 at real tokens and 0 at padding, from a bias on scores that holds nothing but padding."""
    return (bias > PADDING / 2).to(bias.dtype).expand(-1, -1, -1, length)[:, 0, 0]


class _Fourier(Attention):
    """What both variants of Fourier mixing have."""

    orthonormal: Annotated[
        bool,
        Knob(
            "divide by the root of positions x width, so that mixing keeps its input's size; FNet does not",
            paper="on in the reference; 128 positions of 768 would come out 300 times as large, and a "
            "pre-norm stream would hear no feed-forward sublayer beside them",
        ),
    ] = True
    output: Annotated[
        bool,
        Knob(
            "a product after the transform; FNet has none",
            paper="on in the reference, as after every attention",
            cost="model.width squared parameters per layer",
        ),
    ] = False

    def build(self, model: ModelConfig, length: int, dropout: float, index: int) -> nn.Module:
        return FourierMixing(model, self.orthonormal, self.output)


class FourierAttention(_Fourier):
    """FNet: the real part of a Fourier transform over positions and width (Lee-Thorp et al. 2021,
    arXiv:2105.03824). Padding takes no part: a row is transformed at its own length.
    """

    kind: Literal["fourier"] = "fourier"
    weighs: ClassVar[bool] = False

    def inert(self, recipe: Recipe) -> Iterable[str]:
        return ("model.heads",)


class FourierHybrid(_Fourier):
    """Fourier mixing, but softmax attention in the last layers (Lee-Thorp et al. 2021, section 4.1)."""

    kind: Literal["fourier-hybrid"] = "fourier-hybrid"
    by_layer: ClassVar[bool] = True
    softmax_layers: Annotated[int, Knob("how many of the last layers attend by softmax", 1, 96)] = 2
    qkv_bias: QkvBias = False

    def build(self, model: ModelConfig, length: int, dropout: float, index: int) -> nn.Module:
        if index < model.layers - self.softmax_layers:
            return super().build(model, length, dropout, index)
        return SelfAttention(model, SoftmaxAttention(qkv_bias=self.qkv_bias), length, dropout)

    def conflicts(self, recipe: Recipe) -> list[str]:
        layers = recipe.model.layers
        told = super().conflicts(recipe)
        if self.softmax_layers >= layers:
            told.append(
                f"model.attention.softmax_layers ({self.softmax_layers}) must be fewer than model.layers "
                f"({layers}); with all of them, take model.attention softmax"
            )
        return told


class FourierMixing(nn.Module):
    """Re(F_T x F_D), in fp32, and an output product where it is asked for."""

    def __init__(self, model: ModelConfig, orthonormal: bool, output: bool) -> None:
        super().__init__()
        self.width = model.width
        self.norm = "ortho" if orthonormal else "backward"
        self.out = output_product(model) if output else nn.Identity()

    def forward(self, x_BTD: Tensor, bias: Tensor | None = None) -> Tensor:
        with uncast(x_BTD):
            if bias is None:
                y_BTD = torch.fft.fft2(wide(x_BTD), norm=self.norm).real
            else:
                spectrum_BTD = torch.fft.fft(wide(x_BTD), norm=self.norm)
                rows_BTT = _transforms(real(bias, x_BTD.shape[1]), self.norm)
                y_BTD = (rows_BTT.to(spectrum_BTD.dtype) @ spectrum_BTD).real
        return self.out(y_BTD.to(x_BTD.dtype))

    def macs_per_token(self, length: int) -> float:
        """A fast transform by the usual count, 5 n log2 n operations for n numbers; `out` counts itself."""
        return 2.5 * self.width * (math.log2(self.width) + math.log2(max(2.0, length)))


def _transforms(real_BT: Tensor, norm: str) -> Tensor:
    """[B, T, T]: each row's own transform, as long as the row has tokens, zero beyond."""
    real_BT = real_BT.double()
    t = torch.arange(real_BT.shape[1], device=real_BT.device, dtype=torch.float64)
    length_B11 = real_BT.sum(1).clamp(min=1)[:, None, None]
    within_BTT = real_BT[:, :, None] * real_BT[:, None, :]
    if norm == "ortho":
        within_BTT = within_BTT * length_B11.rsqrt()
    return torch.polar(within_BTT, -2 * math.pi * torch.outer(t, t) / length_B11)


class NoAttention(Attention):
    """Nothing passes between positions: what the feed-forward sublayers and the position alone can do."""

    kind: Literal["none"] = "none"
    weighs: ClassVar[bool] = False

    def build(self, model: ModelConfig, length: int, dropout: float, index: int) -> None:
        return None

    def inert(self, recipe: Recipe) -> Iterable[str]:
        return ("model.heads",)


# --- instead of both sublayers -------------------------------------------------------------------------


class Flash(Attention):
    """The gated attention unit of FLASH, with quadratic attention (Hua et al. 2022, arXiv:2202.10447).

    One unit stands in for attention and feed-forward: o = (u · relu(q kᵀ/√S + bias)² v / T) W, with u and v
    of width E, and q and k each a scale and an offset away from one product of width S. The reference divides
    the scores by T before it squares them; without a relative bias that leaves weights of 1/T² and less.
    """

    kind: Literal["flash"] = "flash"
    replaces_feedforward: ClassVar[bool] = True
    shared: Annotated[int, Knob("width of what queries and keys share", 8, 1024, log=True)] = 128
    expansion: Annotated[int, Knob("width of gate and values, in multiples of model.width", 1, 8)] = 2

    def build(self, model: ModelConfig, length: int, dropout: float, index: int) -> nn.Module:
        return GatedAttentionUnit(model, self, length, dropout)

    def score_heads(self, model: ModelConfig) -> int:
        return 1

    def inert(self, recipe: Recipe) -> Iterable[str]:
        return (
            "model.heads", "model.intermediate", "model.activation", "model.glu_width",
            "model.feedforward_every",
        )  # fmt: skip

    def conflicts(self, recipe: Recipe) -> list[str]:
        if recipe.model.position.kind == "rope" and self.shared % 2:
            return [
                f"model.position rope needs an even model.attention.shared, not {self.shared}; change one"
            ]
        return super().conflicts(recipe)


class GatedAttentionUnit(nn.Module):
    def __init__(self, model: ModelConfig, config: Flash, length: int, dropout: float) -> None:
        super().__init__()
        self.shared, self.gated = config.shared, config.expansion * model.width
        self.up = Linear(model.width, 2 * self.gated, model.linear_bias, parts=2)
        self.qk = Linear(model.width, self.shared, model.linear_bias)
        self.q, self.k = Affine(self.shared), Affine(self.shared)
        self.rotate = model.position.rotation(self.shared, length)
        self.dropout = WeightDropout(dropout)
        self.down = Linear(self.gated, model.width, model.linear_bias, into_residual=True)

    def forward(self, x_BTD: Tensor, bias: Tensor | None = None) -> Tensor:
        u_BTE, v_BTE = F.silu(self.up(x_BTD)).chunk(2, dim=-1)
        z_B1TS = F.silu(self.qk(x_BTD))[:, None]
        q_B1TS, k_B1TS = self.rotate(self.q(z_B1TS)), self.rotate(self.k(z_B1TS))
        scores = wide(torch.matmul(q_B1TS, k_B1TS.transpose(-1, -2))) * self.shared**-0.5
        scores, keep = _biased(scores, bias)
        weights_BTT = (F.relu(scores).square() * keep / _count(scores, keep))[:, 0].to(v_BTE.dtype)
        return self.down(u_BTE * torch.matmul(self.dropout(weights_BTT), v_BTE))

    def macs_per_token(self, length: int) -> float:
        """Scores and weighted values; the projections count themselves."""
        return length * (self.shared + self.gated)


class Affine(nn.Module):
    """A scale and an offset per dimension."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias


AttentionConfig = Annotated[
    SoftmaxAttention
    | ScoreAttention
    | Tuformer
    | LinearAttention
    | FourierAttention
    | FourierHybrid
    | Flash
    | NoAttention,
    one_of,
]
