"""Positions: how the model knows the order of its tokens.

A scheme may act at three places: on the embedding, on queries and keys (rotation), on the attention
scores (bias). Its config builds a module for each; the places where it does not act keep the defaults.

Shapes: B batch, T position, D width, H head, K head width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ablate.knobs import Config, Knob, one_of
from ablate.model.linear import Table

if TYPE_CHECKING:
    from ablate.recipe import Recipe


class Position(Config):
    """A scheme that acts nowhere; schemes override the place where they act."""

    on_scores: ClassVar[bool] = False  # on queries, keys or their scores

    def embedding(self, width: int, length: int) -> nn.Module:
        """Maps word embeddings [B, T, D] to word and position embeddings."""
        return nn.Identity()

    def rotation(self, head_width: int, length: int) -> nn.Module:
        """Maps queries or keys [B, H, T, K] to rotated ones."""
        return nn.Identity()

    def bias(self, heads: int, length: int) -> nn.Module:
        """Maps a length T to a bias [H, T, T] on the scores, or None. Built once, shared by all layers."""
        return NoBias()


class _Table(nn.Module):
    """A module with constants, computed on the CPU and then moved to where the module is being built.

    On the meta device the arithmetic itself would cost two seconds of imports (`size.parameters`).
    """

    def constant(self, name: str, compute: Callable[[], Tensor]) -> None:
        place = torch.get_default_device()
        with torch.device("cpu"):
            value = compute()
        self.register_buffer(name, value.to(place), persistent=False)


class NoBias(nn.Module):
    def forward(self, length: int) -> Tensor | None:
        return None


# --- on the embedding ----------------------------------------------------------------------------------


class Learned(Position):
    """One learned vector per position (Devlin et al. 2019)."""

    kind: Literal["learned"] = "learned"

    def embedding(self, width: int, length: int) -> nn.Module:
        return LearnedPositions(width, length)


class LearnedPositions(nn.Module):
    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(length, width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        return x_BTD + self.weight[: x_BTD.shape[1]]


class Sinusoidal(Position):
    """Fixed sines and cosines of geometric wavelengths (Vaswani et al. 2017)."""

    kind: Literal["sinusoidal"] = "sinusoidal"

    def embedding(self, width: int, length: int) -> nn.Module:
        return Sinusoids(width, length)


class Sinusoids(_Table):
    table: Tensor

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.constant("table", lambda: sinusoids(length, width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        return x_BTD + self.table[: x_BTD.shape[1]]


class ScaledSinusoidal(Position):
    """Sinusoids times one learned scalar that starts at 1/sqrt(D) (Hua et al. 2022, arXiv:2202.10447)."""

    kind: Literal["scaled-sinusoidal"] = "scaled-sinusoidal"

    def embedding(self, width: int, length: int) -> nn.Module:
        return ScaledSinusoids(width, length)


class ScaledSinusoids(Sinusoids):
    def __init__(self, width: int, length: int) -> None:
        super().__init__(width, length)
        self.scale = nn.Parameter(torch.tensor([1 / math.sqrt(width)]))

    def forward(self, x_BTD: Tensor) -> Tensor:
        return x_BTD + self.scale * self.table[: x_BTD.shape[1]]


def sinusoids(length: int, width: int) -> Tensor:
    """[length, width]: sin in the even and cos in the odd columns, wavelengths from 2π to 10000·2π."""
    angles = torch.outer(torch.arange(length).double(), frequencies(width, 10000.0))
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :width].float()


def frequencies(width: int, theta: float) -> Tensor:
    """[ceil(width / 2)]: theta^(-2i / width) for pair i, in double precision."""
    return theta ** (-torch.arange(0, width, 2).double() / width)


# --- on queries and keys -------------------------------------------------------------------------------


class Rope(Position):
    """Rotate queries and keys by angles that grow with position (Su et al. 2021, arXiv:2104.09864)."""

    kind: Literal["rope"] = "rope"
    on_scores: ClassVar[bool] = True
    theta: Annotated[float, Knob("base of the wavelengths", 100.0, 1e7, log=True)] = 10000.0
    fraction: Annotated[float, Knob("share of each head's dimensions that rotates", 0.1, 1.0)] = 1.0

    def conflicts(self, recipe: Recipe) -> list[str]:
        width, heads = recipe.model.width, recipe.model.heads
        if (
            recipe.model.attention.score_heads(recipe.model) == heads
            and width % heads == 0
            and (width // heads) % 2
        ):
            return [
                "model.position rope needs an even head width; model.width / model.heads is "
                f"{width // heads}: change one of the two"
            ]
        return []

    def same(self, recipe: Recipe) -> Mapping[str, Any]:
        model = recipe.model
        width = getattr(model.attention, "shared", model.width // model.heads)
        if width % 2:  # which `conflicts` tells
            return {}
        return {"model.position.fraction": max(0.1, rotated(width, self.fraction) / width)}

    def rotation(self, head_width: int, length: int) -> nn.Module:
        return Rotation(head_width, length, self.theta, self.fraction)


def rotated(width: int, fraction: float) -> int:
    """How many of a head's dimensions turn: whole pairs, one at least."""
    return max(2, 2 * round(fraction * width / 2))


class Rotation(_Table):
    """Pairs dimension i with i + R/2 for the first R dimensions and turns the pair by t·theta^(-2i/R)."""

    cos: Tensor
    sin: Tensor

    def __init__(self, head_width: int, length: int, theta: float, fraction: float) -> None:
        super().__init__()
        if head_width % 2:
            raise ValueError(f"rope needs an even head width; model.width / model.heads is {head_width}")
        self.rotated = rotated(head_width, fraction)
        self.constant("cos", lambda: rope_angles(length, self.rotated, theta).cos().float())
        self.constant("sin", lambda: rope_angles(length, self.rotated, theta).sin().float())

    def forward(self, x_BHTK: Tensor) -> Tensor:
        length, half = x_BHTK.shape[2], self.rotated // 2
        a, b, rest = x_BHTK.split((half, half, x_BHTK.shape[-1] - self.rotated), dim=-1)
        # The tables stay fp32: rounded to bf16 they would turn by angles up to 0.4 % of a radian off.
        cos, sin = self.cos[:length], self.sin[:length]
        turned = torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x_BHTK.dtype)
        return torch.cat((turned, rest), dim=-1)


def rope_angles(length: int, rotated: int, theta: float) -> Tensor:
    """[length, rotated / 2]: by how much the pairs at each position are turned, in double precision."""
    return torch.outer(torch.arange(length).double(), frequencies(rotated, theta))


# --- on the scores -------------------------------------------------------------------------------------


class Alibi(Position):
    """A penalty that grows with distance, at a slope of each head's own, both ways (Press et al. 2021)."""

    kind: Literal["alibi"] = "alibi"
    on_scores: ClassVar[bool] = True

    def bias(self, heads: int, length: int) -> nn.Module:
        return DistancePenalty(heads, length)


class DistancePenalty(_Table):
    table: Tensor

    def __init__(self, heads: int, length: int) -> None:
        super().__init__()
        self.constant("table", lambda: alibi_penalty(heads, length))

    def forward(self, length: int) -> Tensor:
        return self.table[:, :length, :length]


def alibi_penalty(heads: int, length: int) -> Tensor:
    """[heads, length, length]: minus slope times distance."""
    distance = (torch.arange(length)[:, None] - torch.arange(length)).abs()
    return -alibi_slopes(heads)[:, None, None] * distance


def alibi_slopes(heads: int) -> Tensor:
    """[heads]: 2^(-8i/n) for a power of two n; the rest of other counts are every second slope of 2n."""
    n = 2 ** math.floor(math.log2(heads))
    even = [2 ** (-8 * (i + 1) / n) for i in range(n)]
    between = [2 ** (-4 * (i + 1) / n) for i in range(0, 2 * n, 2)]
    return torch.tensor((even + between)[:heads])


class T5(Position):
    """A learned bias per head and bucket of signed distance, shared by all layers (Raffel et al. 2020)."""

    kind: Literal["t5"] = "t5"
    on_scores: ClassVar[bool] = True
    buckets: Annotated[int, Knob("how many distances are told apart, half of them to each side", 4, 128)] = 32
    max_distance: Annotated[int, Knob("distances from here on share the last bucket", 64, 1024, log=True)] = (
        128
    )

    def bias(self, heads: int, length: int) -> nn.Module:
        return RelativeBias(heads, length, self.buckets, self.max_distance)


class RelativeBias(_Table):
    buckets: Tensor

    def __init__(self, heads: int, length: int, buckets: int, max_distance: int) -> None:
        super().__init__()
        self.table = Table(buckets, heads)
        self.constant("buckets", lambda: t5_buckets(length, buckets, max_distance))

    def forward(self, length: int) -> Tensor:
        return self.table(self.buckets[:length, :length]).permute(2, 0, 1).contiguous()


def t5_buckets(length: int, buckets: int, max_distance: int) -> Tensor:
    """[length, length] bucket of key minus query: exact up to a quarter of the buckets, then logarithmic."""
    side = buckets // 2
    exact = side // 2
    offset = torch.arange(length) - torch.arange(length)[:, None]
    distance = offset.abs()
    log_share = (distance.clamp(min=1).double() / exact).log() / math.log(max_distance / exact)
    far = (exact + (log_share * (side - exact)).long()).clamp(max=side - 1)
    return side * (offset > 0) + torch.where(distance < exact, distance, far)


class NoPositions(Position):
    """No positions at all: a bag of words."""

    kind: Literal["none"] = "none"


PositionConfig = Annotated[Learned | Sinusoidal | ScaledSinusoidal | Rope | Alibi | T5 | NoPositions, one_of]
