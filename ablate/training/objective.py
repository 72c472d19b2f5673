"""What is learned from a micro-batch: masked language modelling, or ELECTRA with one network for both."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from ablate.knobs import Config, Knob, one_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ablate.model import Bert
    from ablate.model.config import ModelConfig
    from ablate.recipe import Recipe
    from ablate.training.config import TrainConfig


class MaskedLM(Config):
    """Predict the hidden tokens (Devlin et al. 2019)."""

    kind: Literal["mlm"] = "mlm"
    encodings: ClassVar[int] = 1  # passes through the encoder per micro-batch

    @property
    def coin(self) -> float:
        """What the objective's other losses add for a model that knows nothing."""
        return 0.0

    def extend(self, model: Bert, generator: torch.Generator | None = None) -> None:
        """Add what only this objective has to a model; `generator` seeds its weights."""

    def parameters(self, model: ModelConfig) -> int:
        """How many numbers `extend` adds."""
        return 0

    def macs_per_token(self, model: ModelConfig) -> float:
        """Multiply-accumulates per position of what `extend` adds."""
        return 0.0

    def build(self, model: Bert, train: TrainConfig) -> nn.Module:
        """Maps ids [B, T], flat positions [N] and labels [N] to the loss; the model itself if that does."""
        from ablate.training.config import TrainConfig
        from ablate.training.passes import Masked

        plain = TrainConfig()
        usual = (train.loss, train.sparse_prediction, train.token_drop) == (
            plain.loss, plain.sparse_prediction, plain.token_drop
        )  # fmt: skip
        return model if usual else Masked(model, train.loss, train.sparse_prediction, train.token_drop)


class Electra(MaskedLM):
    """One network fills the gaps, and then tells which tokens it has replaced: ELECTRA (Clark et al. 2020,
    arXiv:2003.10555) with generator and discriminator in one, as the reference's SCRIPT.
    """

    kind: Literal["electra"] = "electra"  # type: ignore[assignment]
    encodings: ClassVar[int] = 2
    weight: Annotated[
        float, Knob("of the second loss against the first; ELECTRA takes 50", 0.1, 500.0, log=True)
    ] = 50.0

    @property
    def coin(self) -> float:
        return self.weight * math.log(2)

    def extend(self, model: Bert, generator: torch.Generator | None = None) -> None:
        from ablate.model.init import initialize
        from ablate.model.linear import Linear

        config = model.config
        head = Linear(config.width, 1, True)
        initialize(head, config.init, width=config.width, layers=config.layers, generator=generator)
        model.discriminator = head

    def parameters(self, model: ModelConfig) -> int:
        return model.width + 1

    def macs_per_token(self, model: ModelConfig) -> float:
        return model.width

    def build(self, model: Bert, train: TrainConfig) -> nn.Module:
        from ablate.training.passes import Replaced

        return Replaced(model, train.loss, self.weight)

    def conflicts(self, recipe: Recipe) -> list[str]:
        train, told = recipe.train, []
        for name, usual in (("token_drop", 0.0), ("sparse_prediction", True)):
            if getattr(train, name) != usual:
                told.append(
                    f"train.{name} belongs to train.objective mlm; with electra leave it {str(usual).lower()}"
                )
        return told


ObjectiveConfig = Annotated[MaskedLM | Electra, one_of]


def flops_per_token(recipe: Recipe, vocabulary: int, length: int | None = None) -> float:
    """Of a training step, forward and backward, per token of a row of `length`, by default data.length."""
    from ablate.model.size import flops_per_token as of_model

    model, train, length = recipe.model, recipe.train, length or recipe.data.length
    size = {"vocabulary": vocabulary, "length": length}
    predicted = train.mask_rate if train.sparse_prediction else 1.0
    head = of_model(model, **size, predicted=predicted) - of_model(model, **size, predicted=0.0)
    kept = kept_tokens(length, train.token_drop)
    encoder = of_model(model, vocabulary=vocabulary, length=kept, predicted=0.0) * kept / length
    own = 3 * 2 * train.objective.macs_per_token(model)
    return (encoder * train.objective.encodings + head + own) * train.passes


def uniform_guess(recipe: Recipe, vocabulary: int) -> float:
    """The training loss of a model that knows nothing, above which it has diverged."""
    return recipe.train.loss.uniform(vocabulary) + recipe.train.objective.coin


def kept_tokens(length: int, drop: float) -> int:
    """Tokens of a row that the blocks see."""
    return max(1, length - round(drop * length))
