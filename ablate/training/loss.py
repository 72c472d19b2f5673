"""Losses at the predicted positions. Torch is imported when one is computed.

Shapes: N predicted positions, V vocabulary. Held-out loss is cross-entropy for every arm.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from ablate.knobs import Config, Knob, one_of

if TYPE_CHECKING:
    from torch import Tensor


class Loss(Config):
    """A loss per predicted position."""

    def of(self, logits_NV: Tensor, labels_N: Tensor) -> Tensor:
        """[N], in at least fp32, which `logits_NV` already are."""
        raise NotImplementedError

    def uniform(self, vocabulary: int) -> float:
        """Its value for a guess that knows nothing: equal logits of 0."""
        raise NotImplementedError


class CrossEntropy(Loss):
    """-log p(label), with label smoothing (Szegedy et al. 2016, arXiv:1512.00567) and a pull of log Z to 0
    (z-loss, Chowdhery et al. 2022, arXiv:2204.02311).
    """

    kind: Literal["cross-entropy"] = "cross-entropy"
    label_smoothing: Annotated[
        float, Knob("share of the target that goes to all words alike", 0.0, 0.5,
                    paper="Appendix A: not studied"),
    ] = 0.0  # fmt: skip
    z_loss: Annotated[
        float, Knob("weight of (log Z)²; PaLM takes 1e-4", 0.0, 1.0, paper="in the code, unreported"),
    ] = 0.0  # fmt: skip

    def of(self, logits_NV: Tensor, labels_N: Tensor) -> Tensor:
        from ablate.model.likelihood import negative_log_likelihood

        loss_N = negative_log_likelihood(logits_NV, labels_N)
        if self.label_smoothing:
            loss_N = loss_N.lerp(logits_NV.logsumexp(1) - logits_NV.mean(1), self.label_smoothing)
        return loss_N + self.z_loss * logits_NV.logsumexp(1).square() if self.z_loss else loss_N

    def uniform(self, vocabulary: int) -> float:
        return math.log(vocabulary) + self.z_loss * math.log(vocabulary) ** 2


class Focal(Loss):
    """(1 - p)^gamma · -log p: words that are known already count less (Lin et al. 2017, arXiv:1708.02002)."""

    kind: Literal["focal"] = "focal"
    gamma: Annotated[float, Knob("how much less", 0.1, 5.0, paper="in the reference's code, unreported")] = (
        2.0
    )

    def of(self, logits_NV: Tensor, labels_N: Tensor) -> Tensor:
        from ablate.model.likelihood import negative_log_likelihood

        loss_N = negative_log_likelihood(logits_NV, labels_N)
        return (1 - (-loss_N).exp()) ** self.gamma * loss_N

    def uniform(self, vocabulary: int) -> float:
        return (1 - 1 / vocabulary) ** self.gamma * math.log(vocabulary)


class Incorrect(Loss):
    """Mean cross-entropy of the predictions whose likeliest word is wrong; the others count nothing."""

    kind: Literal["incorrect"] = "incorrect"

    def of(self, logits_NV: Tensor, labels_N: Tensor) -> Tensor:
        from ablate.model.likelihood import negative_log_likelihood

        wrong_N = (logits_NV.argmax(1) != labels_N).to(logits_NV.dtype)
        # The mean over all of them, which is taken outside, is then the mean over the wrong ones.
        share = wrong_N.mean().clamp(min=1 / len(labels_N))
        return negative_log_likelihood(logits_NV, labels_N) * wrong_N / share

    def uniform(self, vocabulary: int) -> float:
        return math.log(vocabulary)


class SquaredError(Loss):
    """Mean over the vocabulary of z_v², but weight · (z_label - target)² for the label (Hui & Belkin 2021,
    arXiv:2006.07322).
    """

    kind: Literal["mse"] = "mse"
    target: Annotated[
        float, Knob("where the label's logit is pulled to", 1.0, 1000.0, log=True,
                    paper="the reference takes the root of the vocabulary, 181, and weight 1"),
    ] = 30.0  # fmt: skip
    weight: Annotated[float, Knob("how much the label counts", 1.0, 100.0, log=True)] = 15.0

    def of(self, logits_NV: Tensor, labels_N: Tensor) -> Tensor:
        label_N = logits_NV.gather(1, labels_N[:, None])[:, 0]
        others_N = logits_NV.square().sum(1) - label_N.square()
        return (others_N + self.weight * (label_N - self.target).square()) / logits_NV.shape[1]

    def uniform(self, vocabulary: int) -> float:
        return self.weight * self.target**2 / vocabulary


class AbsoluteError(Loss):
    """Sum of |p - target| over the vocabulary, 2 (1 - p(label)) (Ghosh et al. 2017, arXiv:1712.09482)."""

    kind: Literal["l1"] = "l1"

    def of(self, logits_NV: Tensor, labels_N: Tensor) -> Tensor:
        return 2 * (1 - logits_NV.softmax(1).gather(1, labels_N[:, None])[:, 0])

    def uniform(self, vocabulary: int) -> float:
        return 2 * (1 - 1 / vocabulary)


LossConfig = Annotated[CrossEntropy | Focal | Incorrect | SquaredError | AbsoluteError, one_of]
