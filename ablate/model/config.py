"""The model's knobs; the defaults are the crammed BERT of the ICML paper."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from ablate.knobs import Config, Knob
from ablate.model.attention import AttentionConfig, SoftmaxAttention
from ablate.model.feedforward import GATED, Activation, GluWidth
from ablate.model.head import Head
from ablate.model.init import InitConfig, Normal
from ablate.model.norm import LayerNorm, NormConfig
from ablate.model.position import PositionConfig, ScaledSinusoidal
from ablate.model.residual import Placement
from ablate.model.stack import PlainStack, StackConfig

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
    glu_width: Annotated[
        GluWidth,
        Knob(
            "a gated activation keeps model.intermediate, or is widened to the ungated form's parameters",
            paper="Architecture: kept, 3072 becomes 1536",
            cost="matched: a third more of the feed-forward's time and parameters",
        ),
    ] = "kept"
    feedforward_every: Annotated[
        int,
        Knob(
            "only every k-th block has a feed-forward sublayer",
            1,
            96,
            log=True,
            paper="Architecture: dropping feed-forward sublayers no gain; the reference now ignores its key",
            cost="saves most of a block's time and parameters where it is left out",
        ),
    ] = 1
    attention: Annotated[
        AttentionConfig,
        Knob(
            "how positions exchange what they know",
            paper="Architecture: softmax replacements, FLASH and Fourier mixing no gain; efficient attention "
            "is pointless at length 128",
            cost="fourier, none: no attention parameters; flash: no feed-forward",
        ),
    ] = SoftmaxAttention()
    stack: Annotated[
        StackConfig,
        Knob(
            "whether each block runs once, is shared by layers, runs in rounds, or at a shorter length",
            paper="Architecture: recurrence, ALBERT's sharing and the funnel no gain",
            cost="shared: fewer parameters, the same time; recurrent: time in proportion; funnel: less time",
        ),
    ] = PlainStack()
    layer_drop: Annotated[
        float,
        Knob(
            "chance that training skips the last block; earlier ones in proportion to their depth",
            0.0,
            0.9,
            paper="Architecture: stochastic layer drop no gain",
            cost="saves half of it in time",
        ),
    ] = 0.0
    checkpointing: Annotated[
        bool,
        Knob(
            "compute a block's inner results again in backward instead of keeping them",
            speed_only=True,
            cost="a third more time, memory of one block instead of all",
        ),
    ] = False
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
            "where each sublayer's norm stands: before it, after the sum, on both sides, or behind it alone",
            paper="Architecture: pre is better, mostly because it allows larger rates and less warm-up",
            cost="sandwich: twice the norms; post needs a lower peak rate or warm-up",
        ),
    ] = "pre"
    deepnorm: Annotated[
        bool,
        Knob(
            "weigh the stream by (2 x layers)^(1/4) before each sum, with norm_placement post",
            paper="the reference has it as deepnorm_scaling; its result is not in the paper",
        ),
    ] = False
    first_norm: Annotated[
        bool,
        Knob(
            "a norm before the first attention, too, whose input an embedding norm has just normalised",
            paper="in the reference; ModernBERT leaves it out",
            cost="2 vectors",
        ),
    ] = True
    final_norm: Annotated[
        bool, Knob("a norm after the last block", paper="Architecture: stabilises", cost="2 vectors")
    ] = True
    embedding_width: Annotated[
        int | None,
        Knob(
            "width of the word table, widened to model.width by a product; none: they are equal",
            8,
            4096,
            log=True,
            paper="Architecture: factorised embeddings no gain",
            cost="vocabulary x (model.width - this) fewer parameters, two products more",
        ),
    ] = None
    embedding_norm: Annotated[
        bool, Knob("a norm on the embeddings", paper="Architecture: kept", cost="2 vectors")
    ] = True
    embedding_fp32: Annotated[
        bool,
        Knob(
            "the norm on the embeddings in fp32 where train.precision keeps weights in fewer bits",
            paper="the reference's stable_low_precision, after bitsandbytes; no result",
        ),
    ] = False
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
        unused = set(self.attention.inert(recipe))
        if self.width % self.heads and "model.heads" not in unused:
            fit = [heads for heads in range(1, self.width + 1) if self.width % heads == 0]
            near = sorted(sorted(fit, key=lambda heads: abs(heads - self.heads))[:2])
            told.append(
                f"model.width ({self.width}) must be a multiple of model.heads ({self.heads}); take "
                f"{' or '.join(map(str, near))} heads, or another width"
            )
        if self.activation in GATED and self.intermediate % 2 and "model.intermediate" not in unused:
            told.append(
                f"model.activation {self.activation} gates one half of model.intermediate with the other, so "
                f"that must be even, not {self.intermediate}; take {self.intermediate + 1}, or an activation "
                "without a gate"
            )
        if self.feedforward_every > self.layers and "model.feedforward_every" not in unused:
            told.append(
                f"model.feedforward_every ({self.feedforward_every}) leaves no feed-forward sublayer in "
                f"model.layers ({self.layers}); lower it"
            )
        if self.deepnorm and self.norm_placement != "post":
            told.append(
                "model.deepnorm weighs the stream of model.norm_placement post, not of "
                f"{self.norm_placement}; set that to post, or leave deepnorm out"
            )
        return told

    def cautions(self, recipe: Recipe) -> list[str]:
        train, told = recipe.train, []
        if self.norm_placement == "post" and train.lr >= 1e-3 and train.schedule.warmup == 0:
            told.append(
                f"model.norm_placement post at train.lr {train.lr:g} without train.schedule.warmup: pre-norm "
                "is what allows high rates without warm-up (Cramming, Architecture); lower it or warm up"
            )
        if self.deepnorm and self.init.kind != "deepnorm":
            told.append(
                f"model.deepnorm with model.init {self.init.kind}: the method scales the weights down, too "
                "(Wang et al. 2022); set model.init to deepnorm"
            )
        if not (self.first_norm or self.embedding_norm or "model.first_norm" in self._inert(recipe)):
            told.append(
                "model.first_norm false with model.embedding_norm false: the first attention gets word "
                "vectors as they are; keep one of the two norms"
            )
        return told

    def inert(self, recipe: Recipe) -> Iterable[str]:
        if self.activation not in GATED:
            yield "model.glu_width"
        if not self.embedding_norm or recipe.train.precision.kind not in ("fp16-scaled", "bf16-pure"):
            yield "model.embedding_fp32"
        # Elsewhere a norm stands behind what the first attention says, or there is no attention.
        if self.norm_placement not in ("pre", "sandwich") or self.attention.kind == "none":
            yield "model.first_norm"

    def _inert(self, recipe: Recipe) -> set[str]:
        return {*self.inert(recipe), *self.norm.inert(recipe)}

    @property
    def head_width(self) -> int:
        """Width of one head. Raises ValueError when the heads do not divide the width."""
        if self.width % self.heads:
            raise ValueError(f"model.width ({self.width}) must be a multiple of model.heads ({self.heads})")
        return self.width // self.heads
