"""The model that a block begins with."""

from __future__ import annotations

import torch

from ablate.data import Prepared
from ablate.model import Bert, set_dropout
from ablate.recipe import Recipe
from ablate.streams import stream


def vocabulary_of(data: Prepared) -> int:
    """Rows of the embedding: the tokens there are, up to a multiple of 64, which matrix units want."""
    return -(-data.vocabulary // 64) * 64


def build(recipe: Recipe, *, seed: int, vocabulary: int) -> Bert:
    """The initialised model of a block; arms whose tensors agree start from the same numbers."""
    generator = torch.Generator().manual_seed(stream(seed, "initialization"))
    model = Bert(
        recipe.model,
        vocabulary=vocabulary,
        length=recipe.data.length,
        generator=generator,
    )
    model.by_document = recipe.data.attention == "document"
    recipe.train.objective.extend(model, generator)
    set_dropout(model, *recipe.train.dropouts)
    return model
