"""The position-wise feed-forward sublayer and its activations.

Shapes: B batch, T position, D width, F intermediate.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.model.gelu import gelu
from ablate.model.linear import Linear

if TYPE_CHECKING:
    from ablate.model.config import ModelConfig

Activation = Literal[
    "gelu",
    "gelu-tanh",
    "relu",
    "relu2",
    "leaky-relu",
    "silu",
    "mish",
    "hardswish",
    "elu",
    "selu",
    "softplus",
    "sigmoid",
    "tanh",
    "relu6",
    "hardtanh",
    "hardsigmoid",
    "softsign",
    "logsigmoid",
    "tanhshrink",
    "geglu",
    "reglu",
    "swiglu",
    "glu",
    "bilinear-glu",
    "gelu-tanh-glu",
    "relu2-glu",
    "leaky-relu-glu",
    "mish-glu",
    "hardswish-glu",
    "elu-glu",
    "selu-glu",
    "softplus-glu",
    "tanh-glu",
    "relu6-glu",
    "hardtanh-glu",
    "hardsigmoid-glu",
    "softsign-glu",
    "logsigmoid-glu",
    "tanhshrink-glu",
]
GluWidth = Literal["kept", "matched"]


def _identity(x: Tensor) -> Tensor:
    return x


def _relu2(x: Tensor) -> Tensor:
    """The square of ReLU (So et al. 2021, Primer, arXiv:2109.08668)."""
    return F.relu(x).square()


PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "gelu-tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "relu2": _relu2,
    "leaky-relu": F.leaky_relu,
    "silu": F.silu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu6": F.relu6,
    "hardtanh": F.hardtanh,
    "hardsigmoid": F.hardsigmoid,
    "softsign": F.softsign,
    "logsigmoid": F.logsigmoid,
    "tanhshrink": F.tanhshrink,
}
# The name of a gated form and the function of its gate (Shazeer 2020, arXiv:2002.05202), who named five.
GATED: dict[str, Callable[[Tensor], Tensor]] = {
    "geglu": gelu,
    "reglu": F.relu,
    "swiglu": F.silu,
    "glu": torch.sigmoid,
    "bilinear-glu": _identity,
}
GATED |= {f"{name}-glu": act for name, act in PLAIN.items() if act not in GATED.values()}
assert {*PLAIN, *GATED} == set(get_args(Activation))


def gated_width(model: ModelConfig) -> int:
    """Outputs of a gated sublayer's first product, value and gate together.

    matched: the parameters of the ungated sublayer, 3 D F' / 2 = 2 D F up to D; kept: as the paper has it.
    """
    return model.intermediate if model.glu_width == "kept" else 2 * round(2 * model.intermediate / 3)


def feedforward(model: ModelConfig) -> nn.Module:
    """The sublayer that `model.activation` asks for."""
    gated = model.activation in GATED
    return (GatedFeedForward if gated else FeedForward)(model)


class FeedForward(nn.Module):
    """Widen to `intermediate`, act, come back."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.up = Linear(model.width, model.intermediate, model.linear_bias)
        self.act = PLAIN[model.activation]
        self.down = Linear(model.intermediate, model.width, model.linear_bias, into_residual=True)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(self.act(self.up(x_BTD)))


class GatedFeedForward(nn.Module):
    """Widen to `intermediate` in one product; the second half gates the first; come back from half the width.

    By default the width is not enlarged to make up for the gate: 3072 becomes 1536, as in the paper.
    """

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        if model.intermediate % 2:
            raise ValueError(
                f"a gated activation halves model.intermediate: {model.intermediate} must be even"
            )
        width = gated_width(model)
        self.up = Linear(model.width, width, model.linear_bias, parts=2)
        self.act = GATED[model.activation]
        self.down = Linear(width // 2, model.width, model.linear_bias, into_residual=True)

    def forward(self, x_BTD: Tensor) -> Tensor:
        value_BTF, gate_BTF = self.up(x_BTD).chunk(2, dim=-1)
        return self.down(self.act(gate_BTF) * value_BTF)
