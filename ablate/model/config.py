"""The model's knobs; the defaults are the crammed BERT of the ICML paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.knobs import Config, Knob
from ablate.model.attention import SoftmaxAttention
from ablate.model.feedforward import Activation
from ablate.model.head import Head
from ablate.model.init import InitConfig, Normal
from ablate.model.norm import LayerNorm, NormConfig
from ablate.model.position import PositionConfig, ScaledSinusoidal
from ablate.model.residual import Placement

if TYPE_CHECKING:
    from ablate.recipe import Recipe


class ModelConfig(Config):
    """A BERT-shaped encoder and its masked-language-modelling head."""

    layers: Annotated[
        int,
        Knob(
            "how many blocks of attention and feed-forward",
            1,
            96,
            paper="Architecture: minimal gains by 16 instead of 12; 4 to 24 layers end near the same loss",
            cost="time and parameters in proportion",
        ),
    ] = 16
    width: Annotated[
        int,
        Knob(
            "length of the vector that each position carries",
            16,
            4096,
            log=True,
            paper="Architecture: 512 and 1024 were tried, no gain",
            cost="time and parameters with its square",
        ),
    ] = 768
    heads: Annotated[
        int,
        Knob(
            "parallel attention patterns per layer",
            1,
            64,
            log=True,
            paper="Architecture: fewer are faster and better in pretraining, worse after fine-tuning",
            cost="softmax time in proportion, no parameters",
        ),
    ] = 12
    intermediate: Annotated[
        int,
        Knob(
            "outputs of the first feed-forward product; a gated activation halves what follows",
            16,
            16384,
            log=True,
            paper="Architecture: not enlarged for the gate, 3072 becomes 1536",
            cost="most of a block's time and parameters",
        ),
    ] = 3072
    attention: SoftmaxAttention = Field(default_factory=SoftmaxAttention)
    linear_bias: Annotated[
        bool,
        Knob(
            "biases of the attention output, the feed-forward products and the head's dense layer",
            paper="Architecture: dropped; empirical gains through throughput",
            cost="about 6 vectors of model.width per layer",
        ),
    ] = False
    decoder_bias: Annotated[
        bool,
        Knob("a bias per word of the vocabulary", paper="Architecture: can be dropped", cost="one per word"),
    ] = False
    norm: Annotated[
        NormConfig, Knob("the normalisation used throughout", paper="Architecture: RMSNorm no gain")
    ] = LayerNorm()
    norm_placement: Annotated[
        Placement,
        Knob(
            "where each sublayer's norm stands: before it, or after the sum",
            paper="Architecture: pre is better, mostly because it allows larger rates and less warm-up",
            cost="none; post needs a lower peak rate or warm-up",
        ),
    ] = "pre"
    final_norm: Annotated[
        bool, Knob("a norm after the last block", paper="Architecture: stabilises", cost="2 vectors")
    ] = True
    embedding_norm: Annotated[
        bool, Knob("a norm on the embeddings", paper="Architecture: kept", cost="2 vectors")
    ] = True
    position: Annotated[
        PositionConfig,
        Knob(
            "how the model knows the order of tokens",
            paper="Architecture: scaled sinusoidal a small gain over learned and unscaled; rotary's "
            "gain cancelled by its cost, but the reference's rotary switch does not rotate",
            cost="rope: an element-wise pass over queries and keys; alibi, t5: a bias on the scores",
        ),
    ] = ScaledSinusoidal()
    activation: Annotated[
        Activation,
        Knob(
            "the feed-forward non-linearity; names in -glu are gated",
            paper="Architecture: gating a small gain, other activations none",
            cost="gated: a quarter of the feed-forward parameters less at the same model.intermediate",
        ),
    ] = "geglu"
    head: Annotated[
        Head,
        Knob(
            "what stands before the decoder: nothing, one linear layer, or BERT's dense, GELU and norm",
            paper="Architecture: removable without ill effect; the first paper's code kept one linear layer",
            cost="model.width squared parameters at the predicted positions",
        ),
    ] = "none"
    tied: Annotated[
        bool,
        Knob(
            "the decoder uses the word embedding's weight",
            paper="Architecture: untying no gain",
            cost="untied: vocabulary x width more parameters, the same time",
        ),
    ] = True
    init: Annotated[
        InitConfig, Knob("how the weights are drawn", paper="the reference scripts others; none is reported")
    ] = Normal()

    def conflicts(self, recipe: Recipe) -> list[str]:
        told: list[str] = []
        if self.width % self.heads:
            told.append(f"model.width ({self.width}) must be a multiple of model.heads ({self.heads})")
        if self.activation.endswith("glu") and self.intermediate % 2:
            told.append(f"a gated activation needs an even model.intermediate; it is {self.intermediate}")
        return told

    def cautions(self, recipe: Recipe) -> list[str]:
        train = recipe.train
        if self.norm_placement == "post" and train.lr >= 1e-3 and train.schedule.warmup == 0:
            return [
                f"model.norm_placement post at train.lr {train.lr:g} without train.schedule.warmup: pre-norm "
                "is what allows high rates without warm-up (Cramming, Architecture); lower it or warm up"
            ]
        return []

    @property
    def head_width(self) -> int:
        """Width of one head. Raises ValueError when the heads do not divide the width."""
        if self.width % self.heads:
            raise ValueError(f"model.width ({self.width}) must be a multiple of model.heads ({self.heads})")
        return self.width // self.heads
