"""The encoder and the masked language model around it.

Shapes: B batch, T position, D width, H head, N predicted positions, V vocabulary.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ablate.model.attention import PADDING
from ablate.model.autocast import product_dtype, wide
from ablate.model.config import ModelConfig
from ablate.model.embedding import Embedding
from ablate.model.feedforward import feedforward
from ablate.model.head import HEADS, decoder
from ablate.model.init import initialize
from ablate.model.likelihood import negative_log_likelihood
from ablate.model.residual import RESIDUALS, PreNorm
from ablate.model.stack import Blocks

SEPARATOR = 3  # the id of [SEP]; an exported model comes without ablate.data


class Block(nn.Module):
    """Attention, then feed-forward, each around the residual stream."""

    def __init__(self, config: ModelConfig, index: int, length: int, dropout: float) -> None:
        super().__init__()
        residual = RESIDUALS[config.norm_placement]
        attention = config.attention.build(config, length, dropout, index)
        widens = not config.attention.replaces_feedforward and (index + 1) % config.feedforward_every == 0
        self.attention = residual(attention, config, dropout) if attention else Skip()
        if index == 0 and not config.first_norm and isinstance(self.attention, PreNorm):
            self.attention.norm = nn.Identity()
        self.feedforward = residual(feedforward(config), config, dropout) if widens else Skip()
        self.kept = every_position  # those whose result is asked for

    def forward(self, x_BTD: Tensor, bias: Tensor | None) -> Tensor:
        return self.feedforward(self.kept(self.attention(x_BTD, bias)))


def every_position(x_BTD: Tensor) -> Tensor:
    """As it is."""
    return x_BTD


def first_position(x_BTD: Tensor) -> Tensor:
    """[B, 1, D]."""
    return x_BTD[:, :1]


class Skip(nn.Module):
    """No sublayer."""

    def forward(self, x_BTD: Tensor, *args: Any) -> Tensor:
        return x_BTD


class DroppedBlock(Block):
    """A block that training leaves out at random, more often the deeper it lies: with probability
    p · (index + 1) / layers, drawn once per forward pass (Huang et al. 2016, arXiv:1603.09382; Zhang & He
    2020, arXiv:2010.13369).
    """

    def __init__(self, config: ModelConfig, index: int, length: int, dropout: float) -> None:
        super().__init__(config, index, length, dropout)
        self.chance = config.layer_drop * (index + 1) / config.layers
        self.runs = 1 - self.chance
        # Outside of compiled graphs: there every block's own chance is a constant, and from the ninth block
        # on, torch.compile gives up on compiling another copy. Wrapped here and not where it is defined,
        # because that would make every process import the compiler, 0.7 s.
        self.left_out = torch.compiler.disable(partial(_left_out, self.chance))

    def forward(self, x_BTD: Tensor, bias: Tensor | None) -> Tensor:
        if self.training and self.left_out():
            return x_BTD
        return super().forward(x_BTD, bias)


def _left_out(chance: float) -> bool:
    """Drawn from the host's generator, whatever the device: its state is kept, nobody waits for it."""
    return bool(torch.rand(()) < chance)


class Encoder(nn.Module):
    """Token ids to hidden vectors. Weights are zero until `initialize` or a checkpoint fills them."""

    def __init__(self, config: ModelConfig, *, vocabulary: int, length: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.config, self.vocabulary, self.length = config, vocabulary, length
        self.embedding = Embedding(config, vocabulary, length, dropout)
        self.position_bias = config.position.bias(config.attention.score_heads(config), length)
        block = Block if config.layer_drop == 0 else DroppedBlock
        self.blocks = config.stack.build(config, lambda index: block(config, index, length, dropout))
        self.final_norm = config.norm.build(config.width) if config.final_norm else nn.Identity()

    def forward(self, ids_BT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """[B, T, D]. `mask_BT` is true at real tokens; None says that there is no padding. A mask [B, T, T]
        is true where a position (row) may attend to another (column).

        Raises ValueError for rows longer than the encoder was built for.
        """
        if ids_BT.shape[1] > self.length:
            raise ValueError(
                f"rows of {ids_BT.shape[1]} tokens do not fit an encoder built for {self.length}"
            )
        return self.contextual(self.embedding(ids_BT), mask_BT)

    def keep_first(self) -> None:
        """From now on return [B, 1, D], the first position's vector, and leave out what it does not need.

        Nothing passes between positions after the last attention: the feed-forward sublayer behind it, two
        thirds of a layer's products, is for one of T. Where blocks run more than once, or in the middle at
        another length, the encoder still returns [B, T, D]; so does a block that training leaves out.
        """
        if type(self.blocks) is Blocks:
            self.blocks[-1].kept = first_position  # type: ignore[assignment]

    def contextual(self, x_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
        """[B, T, D] from embedded tokens."""
        return self.final_norm(self.blocks(x_BTD, mask_BT, self._score_bias))

    def _score_bias(self, x_BTD: Tensor, mask_BT: Tensor | None) -> Tensor | None:
        """Added to the scores of every layer: broadcasts to [B, H, T, T], in the products' precision."""
        bias = self.position_bias(x_BTD.shape[1])
        if mask_BT is not None:
            hidden = x_BTD.new_zeros(mask_BT.shape).masked_fill(~mask_BT, PADDING)
            hidden = hidden[:, None, None, :] if mask_BT.dim() == 2 else hidden[:, None]
            bias = hidden if bias is None else bias + hidden
        return None if bias is None else bias.to(product_dtype(x_BTD))


def same_document(ids_BT: Tensor) -> Tensor:
    """[B, T, T] bool: whether two positions of packed rows lie in one document; a [SEP] ends its own."""
    ends_BT = ids_BT == SEPARATOR
    number_BT = ends_BT.cumsum(1) - ends_BT.long()
    return number_BT[:, :, None] == number_BT[:, None, :]


class Bert(nn.Module):
    """An encoder with a head that runs only on the positions it is asked for."""

    def __init__(
        self,
        config: ModelConfig,
        *,
        vocabulary: int,
        length: int,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.by_document = False  # in pretraining, tokens of a packed row see their own document alone
        self.encoder = Encoder(config, vocabulary=vocabulary, length=length, dropout=dropout)
        self.transform = HEADS[config.head](config)
        self.decoder = decoder(config, vocabulary)
        initialize(self, config.init, width=config.width, layers=config.layers, generator=generator)

    def visible(self, ids_BT: Tensor) -> Tensor | None:
        """Which positions of packed rows may attend to which; None: all to all."""
        return same_document(ids_BT) if self.by_document else None

    def logits(self, ids_BT: Tensor, positions_N: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """[N, V] at flat positions b·T + t."""
        hidden_ND = self.encoder(ids_BT, mask_BT).flatten(0, 1).index_select(0, positions_N)
        return self.decoder(self.transform(hidden_ND), self.encoder.embedding.word.weight)

    def forward(self, ids_BT: Tensor, positions_N: Tensor, labels_N: Tensor) -> Tensor:
        """Mean cross-entropy at the predicted positions, a scalar in at least fp32."""
        logits_NV = self.logits(ids_BT, positions_N, self.visible(ids_BT))
        # In bf16 a log-probability near -10 is rounded by up to 0.03, 3 % of the probability; worth the copy.
        return negative_log_likelihood(wide(logits_NV), labels_N).mean()
