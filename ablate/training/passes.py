"""Forward passes of objectives other than the model's own.

Shapes: B batch, T position, K kept positions, D width, N predicted positions, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.model import Bert
from ablate.model.autocast import wide
from ablate.training.loss import Loss
from ablate.training.objective import kept_tokens


class Masked(nn.Module):
    """Masked language modelling with another loss, a dense head, or dropped tokens.

    Dropping leaves positions of a row out of all blocks, the same for a whole micro-batch, as the reference
    does (after Hou et al. 2022, arXiv:2203.13240); a prediction counts where its position was kept.
    """

    def __init__(self, model: Bert, loss: Loss, sparse: bool, drop: float) -> None:
        super().__init__()
        self.model, self.loss, self.sparse, self.drop = model, loss, sparse, drop

    def forward(self, ids_BT: Tensor, positions_N: Tensor, labels_N: Tensor) -> Tensor:
        """A scalar."""
        hidden_BTD, seen_T = self._hidden(ids_BT)
        hidden_MD = hidden_BTD.flatten(0, 1)
        if self.sparse:
            logits_NV = self._logits(hidden_MD.index_select(0, positions_N))
        else:
            logits_NV = self._logits(hidden_MD).index_select(0, positions_N)
        loss_N = self.loss.of(wide(logits_NV), labels_N)
        if seen_T is None:
            return loss_N.mean()
        weight_N = seen_T.index_select(0, positions_N % ids_BT.shape[1])
        return (loss_N * weight_N).sum() / weight_N.sum().clamp(min=1)

    def _logits(self, hidden_ND: Tensor) -> Tensor:
        return self.model.decoder(self.model.transform(hidden_ND), self.model.encoder.embedding.word.weight)

    def _hidden(self, ids_BT: Tensor) -> tuple[Tensor, Tensor | None]:
        """Hidden vectors [B, T, D], zero where dropped; and 1 at kept positions [T], None when all are."""
        encoder = self.model.encoder
        mask_BTT = self.model.visible(ids_BT)
        if not self.drop:
            return encoder(ids_BT, mask_BTT), None
        T = ids_BT.shape[1]
        # The host's generator, whose state a checkpoint keeps.
        chosen_K = torch.randperm(T)[: kept_tokens(T, self.drop)].sort().values.to(ids_BT.device)
        if mask_BTT is not None:
            mask_BTT = mask_BTT.index_select(1, chosen_K).index_select(2, chosen_K)
        hidden_BKD = encoder.contextual(encoder.embedding(ids_BT).index_select(1, chosen_K), mask_BTT)
        empty_BTD = hidden_BKD.new_zeros(*ids_BT.shape, hidden_BKD.shape[-1])
        seen_T = torch.zeros(T, device=ids_BT.device).index_fill(0, chosen_K, 1.0)
        return empty_BTD.index_copy(1, chosen_K, hidden_BKD), seen_T


class Replaced(nn.Module):
    """The masked language model's loss, and the loss of telling which tokens its samples replaced."""

    def __init__(self, model: Bert, loss: Loss, weight: float) -> None:
        super().__init__()
        self.model, self.loss, self.weight = model, loss, weight
        assert isinstance(model.discriminator, nn.Module)
        self.discriminator = model.discriminator

    def forward(self, ids_BT: Tensor, positions_N: Tensor, labels_N: Tensor) -> Tensor:
        """A scalar. Gradients do not pass through the samples."""
        logits_NV = wide(self.model.logits(ids_BT, positions_N, self.model.visible(ids_BT)))
        with torch.no_grad():
            # Gumbel noise makes the largest logit a sample of the softmax.
            uniform_NV = torch.rand_like(logits_NV).clamp(1e-9, 1 - 1e-7)
            sampled_N = (logits_NV - (-uniform_NV.log()).log()).argmax(1)
            filled_BT = ids_BT.flatten().index_copy(0, positions_N, sampled_N).view_as(ids_BT)
            # A sample that hits the original is no replacement; nor is a token that was never hidden.
            replaced_BT = torch.zeros(ids_BT.numel(), device=ids_BT.device).index_copy(
                0, positions_N, (sampled_N != labels_N).float()
            ).view_as(ids_BT)  # fmt: skip
        verdict_BT = wide(
            self.discriminator(self.model.encoder(filled_BT, self.model.visible(ids_BT)))[..., 0]
        )
        told = F.binary_cross_entropy_with_logits(verdict_BT, replaced_BT.to(verdict_BT.dtype))
        return self.loss.of(logits_NV, labels_N).mean() + self.weight * told
