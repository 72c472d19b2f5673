"""How blocks are stacked: each once, shared, run again and again, or at a shorter length in the middle.

Shapes: B batch, T position, D width; P pooled positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ablate.knobs import Config, Knob, kind_of, one_of

if TYPE_CHECKING:
    from ablate.model.config import ModelConfig
    from ablate.recipe import Recipe

# Hidden vectors and mask of real tokens → bias on the scores.
ScoreBias = Callable[[Tensor, Tensor | None], Tensor | None]
MakeBlock = Callable[[int], nn.Module]  # index → block


class Stack(Config):
    """An order in which blocks run."""

    def build(self, model: ModelConfig, block: MakeBlock) -> nn.ModuleList:
        """Blocks that together map x [B, T, D], the mask and a maker of score biases to [B, T, D]."""
        raise NotImplementedError


class PlainStack(Stack):
    """Every block once, one after the other."""

    kind: Literal["plain"] = "plain"

    def build(self, model: ModelConfig, block: MakeBlock) -> nn.ModuleList:
        return Blocks(model, [block(i) for i in range(model.layers)])


class Blocks(nn.ModuleList):
    def __init__(self, model: ModelConfig, blocks: Iterable[nn.Module]) -> None:
        super().__init__(blocks)
        self.call = recomputed if model.checkpointing else called

    def forward(self, x_BTD: Tensor, mask_BT: Tensor | None, score_bias: ScoreBias) -> Tensor:
        bias = score_bias(x_BTD, mask_BT)
        for block in self:
            x_BTD = self.call(block, x_BTD, bias)
        return x_BTD


def called(block: nn.Module, x_BTD: Tensor, bias: Tensor | None) -> Tensor:
    """The block's result."""
    return block(x_BTD, bias)


def recomputed(block: nn.Module, x_BTD: Tensor, bias: Tensor | None) -> Tensor:
    """The block's result; what backward needs of it is computed again then, instead of kept."""
    result: Any = checkpoint(block, x_BTD, bias, use_reentrant=False)
    return result


class _Unusual(Stack):
    """Stacks whose blocks are no longer told apart by their depth."""

    def conflicts(self, recipe: Recipe) -> list[str]:
        model, name = recipe.model, f"model.stack {kind_of(type(self))}"
        told = []
        if model.attention.by_layer:
            told.append(
                f"model.attention {kind_of(type(model.attention))} treats layers by their depth, which "
                f"{name} does not keep apart; take one of the two"
            )
        if model.feedforward_every > 1:
            told.append(
                f"model.feedforward_every ({model.feedforward_every}) counts layers, which {name} does not "
                "keep apart; set it to 1, or model.stack to plain"
            )
        if not model.first_norm and "model.first_norm" not in model.inert(recipe):
            told.append(
                f"model.first_norm false treats the first block apart, which {name} does not keep apart; set "
                "it to true, or model.stack to plain"
            )
        if model.layer_drop > 0:
            told.append(
                f"model.layer_drop ({model.layer_drop:g}) grows with depth, which {name} does not keep "
                "apart; set it to 0, or model.stack to plain"
            )
        return told


class SharedStack(_Unusual):
    """The weights of a few blocks, each used for several layers in a row (ALBERT: Lan et al. 2020,
    arXiv:1909.11942).
    """

    kind: Literal["shared"] = "shared"
    groups: Annotated[int, Knob("blocks with weights of their own", 1, 96, log=True)] = 1

    def build(self, model: ModelConfig, block: MakeBlock) -> nn.ModuleList:
        return Shared(model, [block(i) for i in range(self.groups)])

    def conflicts(self, recipe: Recipe) -> list[str]:
        told = super().conflicts(recipe)
        if self.groups >= recipe.model.layers:
            told.append(
                f"model.stack.groups ({self.groups}) must be fewer than model.layers "
                f"({recipe.model.layers}); with as many, take model.stack plain"
            )
        return told


class Shared(Blocks):
    def __init__(self, model: ModelConfig, blocks: list[nn.Module]) -> None:
        super().__init__(model, blocks)
        self.order = [i * len(blocks) // model.layers for i in range(model.layers)]
        for i, block in enumerate(blocks):
            block.runs = self.order.count(i)  # type: ignore[assignment]

    def forward(self, x_BTD: Tensor, mask_BT: Tensor | None, score_bias: ScoreBias) -> Tensor:
        bias = score_bias(x_BTD, mask_BT)
        for i in self.order:
            x_BTD = self.call(self[i], x_BTD, bias)
        return x_BTD


class RecurrentStack(_Unusual):
    """All blocks run several times over, the input added again before each round (Bansal et al. 2022,
    arXiv:2202.05826), with gradients through all rounds.
    """

    kind: Literal["recurrent"] = "recurrent"
    rounds: Annotated[int, Knob("how often the blocks run", 2, 16, log=True)] = 3

    def build(self, model: ModelConfig, block: MakeBlock) -> nn.ModuleList:
        return Recurrent(model, [block(i) for i in range(model.layers)], self.rounds)


class Recurrent(Blocks):
    def __init__(self, model: ModelConfig, blocks: list[nn.Module], rounds: int) -> None:
        super().__init__(model, blocks)
        self.runs = rounds

    def forward(self, x_BTD: Tensor, mask_BT: Tensor | None, score_bias: ScoreBias) -> Tensor:
        bias = score_bias(x_BTD, mask_BT)
        state_BTD = torch.zeros_like(x_BTD)
        for _ in range(self.runs):
            state_BTD = state_BTD + x_BTD
            for block in self:
                state_BTD = self.call(block, state_BTD, bias)
        return state_BTD


class FunnelStack(_Unusual):
    """The middle third of the blocks sees means of neighbouring positions; the last third sees all positions
    again, with what the first third knew of each (Dai et al. 2020, arXiv:2006.03236).
    """

    kind: Literal["funnel"] = "funnel"
    pool: Annotated[int, Knob("positions per mean", 2, 8, log=True)] = 2

    def build(self, model: ModelConfig, block: MakeBlock) -> nn.ModuleList:
        return Funnel(model, [block(i) for i in range(model.layers)], self.pool)

    def conflicts(self, recipe: Recipe) -> list[str]:
        told = super().conflicts(recipe)
        if recipe.model.layers < 2:
            told.append("model.stack funnel needs model.layers of at least 2; take model.stack plain")
        return told


class Funnel(Blocks):
    def __init__(self, model: ModelConfig, blocks: list[nn.Module], pool: int) -> None:
        super().__init__(model, blocks)
        self.pool, outer = pool, len(blocks) // 3
        self.first, self.middle = range(outer), range(outer, len(blocks) - outer)
        self.last = range(len(blocks) - outer, len(blocks))
        for i in self.middle:
            self[i].pooling = pool  # type: ignore[assignment]

    def forward(self, x_BTD: Tensor, mask_BT: Tensor | None, score_bias: ScoreBias) -> Tensor:
        T, bias = x_BTD.shape[1], score_bias(x_BTD, mask_BT)
        for i in self.first:
            x_BTD = self.call(self[i], x_BTD, bias)
        y_BPD, mask_BP = pooled(x_BTD, mask_BT, self.pool)
        bias_middle = score_bias(y_BPD, mask_BP)
        for i in self.middle:
            y_BPD = self.call(self[i], y_BPD, bias_middle)
        x_BTD = x_BTD + y_BPD.repeat_interleave(self.pool, dim=1)[:, :T]
        for i in self.last:
            x_BTD = self.call(self[i], x_BTD, bias)
        return x_BTD


def pooled(x_BTD: Tensor, mask_BT: Tensor | None, pool: int) -> tuple[Tensor, Tensor | None]:
    """Means over every `pool` neighbours that are real tokens, and which means are of any token at all."""
    B, T, D = x_BTD.shape
    rest = -T % pool
    if mask_BT is None and not rest:
        return x_BTD.view(B, T // pool, pool, D).mean(2), None
    real_BT = x_BTD.new_ones(B, T, dtype=torch.bool) if mask_BT is None else mask_BT
    weight_BPN1 = F.pad(real_BT, (0, rest)).view(B, -1, pool, 1).to(x_BTD.dtype)
    sum_BPD = (F.pad(x_BTD, (0, 0, 0, rest)).view(B, -1, pool, D) * weight_BPN1).sum(2)
    count_BP1 = weight_BPN1.sum(2)
    mask_BP = None if mask_BT is None else count_BP1[..., 0] > 0
    return sum_BPD / count_BP1.clamp(min=1), mask_BP


StackConfig = Annotated[PlainStack | SharedStack | RecurrentStack | FunnelStack, one_of]
