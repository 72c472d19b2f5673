"""The knobs of pretraining: optimizer, schedule, batch, masking, dropout, precision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from ablate.data.masking import MaskingConfig, MaskRule, TokenMasking
from ablate.knobs import Config, Knob
from ablate.model.precision import BF16, PrecisionConfig
from ablate.optim import AdamW, OptimizerConfig, ScheduleConfig, Triangle2
from ablate.optim.averaging import AveragingConfig
from ablate.optim.batch import BatchRule
from ablate.optim.modifier import ModifierConfig
from ablate.training.curriculum import LengthCurriculum
from ablate.training.loss import CrossEntropy, LossConfig
from ablate.training.objective import MaskedLM, ObjectiveConfig

if TYPE_CHECKING:
    from ablate.recipe import Recipe


class TrainConfig(Config):
    """How the model is pretrained. The defaults are the crammed recipe (`bert-o4`)."""

    optimizer: Annotated[
        OptimizerConfig,
        Knob(
            "the update rule",
            paper="Training setup: Adafactor, RAdam and higher-order optimizers bring no gain over AdamW",
        ),
    ] = AdamW()
    schedule: Annotated[
        ScheduleConfig,
        Knob(
            "shape of the learning rate over the budget",
            paper="Training setup: many shapes reach a similar loss",
        ),
    ] = Triangle2()
    lr: Annotated[
        float, Knob("peak learning rate", 1e-5, 1e-1, log=True, paper="Training setup: peak 1e-3")
    ] = 1e-3
    weight_decay: Annotated[
        float, Knob("decoupled weight decay, or L2 for adam", 0.0, 1.0, paper="Training setup: 0.01")
    ] = 0.01
    decay_norms: Annotated[
        bool,
        Knob("decay norm weights too", paper="First paper's code: decayed, because its filter lacked 'norm'"),
    ] = False
    decay_biases: Annotated[bool, Knob("decay biases too", paper="never in the reference")] = False
    decay_embeddings: Annotated[
        bool, Knob("decay the tables of words and positions", paper="decayed in the reference")
    ] = True
    clip: Annotated[
        float | None,
        Knob("largest global L2 norm of the gradient; none: not clipped", 0.01, 10.0, log=True,
             paper="Training setup: 0.5 stabilises at no cost"),
    ] = 0.5  # fmt: skip
    batch: Annotated[
        int,
        Knob("sequences per optimizer step, once ramped", 1, 65536, log=True,
             paper="Training setup: loss is best near 2048, MNLI near 8192"),
    ] = 8192  # fmt: skip
    ramp: Annotated[
        float,
        Knob("share of the budget over which the batch grows from one micro-batch to `batch`", 0.0, 1.0,
             paper="Training setup: a linear ramp is a small gain; adaptive rules end up like it"),
    ] = 0.6  # fmt: skip
    micro_batch: Annotated[
        int | None,
        Knob("sequences per forward pass; none: as many as fill the device", 1, 8192, log=True,
             speed_only=True,
             cost="memory grows with it; speed too, until the device is full"),
    ] = 128  # fmt: skip
    batch_rule: Annotated[
        BatchRule | None,
        Knob("what decides the batch below `batch`: none, the ramp; or how noisy the gradient is",
             paper="Training setup: adaptive batch rules end up like the linear ramp"),
    ] = None  # fmt: skip
    modifier: Annotated[
        ModifierConfig | None,
        Knob("what changes the gradient before the optimizer sees it",
             paper="scripted in the reference (LARS, LARC, SAM), no result in the text",
             cost="sam: twice the time"),
    ] = None  # fmt: skip
    averaging: Annotated[
        AveragingConfig | None,
        Knob("evaluate an average of the weights along training",
             paper="scripted (EMA, LAWA), no result in the text; the reference's code averages wrongly",
             cost="memory of one more copy of the weights per snapshot"),
    ] = None  # fmt: skip
    mask_rate: Annotated[
        float,
        Knob("share of tokens to predict, an exact count per row", 0.01, 0.9,
             paper="Training setup: larger rates bring no gain; 25 % for a clean shape",
             cost="the head's share of the work"),
    ] = 0.25  # fmt: skip
    mask_rule: Annotated[
        MaskRule,
        Knob("of the tokens to predict, 80 % are masked, 10 % random, 10 % kept; or all are masked",
             paper="Training setup: no difference"),
    ] = "80-10-10"  # fmt: skip
    masking: Annotated[
        MaskingConfig,
        Knob("what is hidden together: single tokens, the pieces of a word, or a span", paper="not studied"),
    ] = TokenMasking()  # fmt: skip
    objective: Annotated[
        ObjectiveConfig,
        Knob("what is learned from a row", paper="ELECTRA is future work; SCRIPT in the code, unreported",
             cost="electra: twice through the encoder"),
    ] = MaskedLM()  # fmt: skip
    loss: Annotated[
        LossConfig,
        Knob("loss at a predicted position; held-out loss is always cross-entropy",
             paper="MSE and L1 no gain; z-loss, focal and wrong-only in the code, unreported"),
    ] = CrossEntropy()  # fmt: skip
    sparse_prediction: Annotated[
        bool,
        Knob("decode predicted positions only", speed_only=True, paper="a gain in memory",
             cost="off: the vocabulary product at every position"),
    ] = True  # fmt: skip
    length_curriculum: Annotated[
        LengthCurriculum | None,
        Knob("short rows first, by cutting rows off or into pieces",
             paper="Training setup: length curricula no gain", cost="saves attention's time early on"),
    ] = None  # fmt: skip
    token_drop: Annotated[
        float,
        Knob("share of positions that training leaves out of all blocks", 0.0, 0.9,
             paper="Training setup: token dropping no gain", cost="saves as much of the encoder's time"),
    ] = 0.0  # fmt: skip
    dropout: Annotated[
        float,
        Knob("dropout in pretraining, of what sublayers add to the stream", 0.0, 0.9,
             paper="Training setup: off is better within a single epoch"),
    ] = 0.0  # fmt: skip
    embedding_dropout: Annotated[
        float | None,
        Knob("dropout of embedded tokens in pretraining; none: as train.dropout", 0.0, 0.9,
             paper="0.1 in the reference, and off in pretraining as all dropout is"),
    ] = None  # fmt: skip
    attention_dropout: Annotated[
        float | None,
        Knob("dropout of attention weights in pretraining; none: as train.dropout", 0.0, 0.9,
             paper="0.1 in the reference, and off in pretraining as all dropout is"),
    ] = None  # fmt: skip
    precision: Annotated[
        PrecisionConfig,
        Knob("arithmetic of pretraining; bf16 is autocast over fp32 weights",
             paper="Training setup: automatic mixed precision over full fp32, scaled fp16 and pure bf16",
             cost="bf16 is many times faster on hardware that has it; below 8 bits speed is emulated"),
    ] = BF16()  # fmt: skip
    compile: Annotated[
        bool,
        Knob("compile the model before the first step", speed_only=True,
             cost="tens of seconds of start-up, outside the training clock"),
    ] = True  # fmt: skip

    @property
    def decays(self) -> tuple[bool, bool, bool]:
        """Which groups are decayed beside the matrices: norms, biases, embeddings."""
        return self.decay_norms, self.decay_biases, self.decay_embeddings

    @property
    def dropouts(self) -> tuple[float, float | None, float | None]:
        """Rates in sublayers, on the embedding and on attention weights, as `set_dropout` takes them."""
        return self.dropout, self.embedding_dropout, self.attention_dropout

    @property
    def passes(self) -> int:
        """How often a step computes each of its micro-batches, forward and backward."""
        return 2 if self.modifier is not None and self.modifier.second_pass else 1

    def conflicts(self, recipe: Recipe) -> list[str]:
        told: list[str] = []
        if self.micro_batch is not None and self.batch % self.micro_batch:
            whole = -(-self.batch // self.micro_batch) * self.micro_batch
            told.append(
                f"train.batch ({self.batch}) must be a multiple of train.micro_batch ({self.micro_batch}); "
                f"take {whole}, or another micro-batch"
            )
        if round(self.mask_rate * recipe.data.length) < 1:
            told.append(
                f"train.mask_rate {self.mask_rate} masks no token of a row of "
                f"data.length {recipe.data.length}; raise one of the two"
            )
        position = recipe.model.position
        if self.token_drop and position.on_scores:
            told.append(
                f"train.token_drop ({self.token_drop:g}) closes the gaps that it leaves, and model.position "
                f"{position.kind} measures distances; take a position on the embedding, or no dropping"
            )
        if self.token_drop and recipe.model.stack.kind == "funnel":
            told.append(
                "train.token_drop leaves rows of another length, which model.stack funnel pools otherwise; "
                "take one of the two"
            )
        return told

    def same(self, recipe: Recipe) -> Mapping[str, Any]:
        length = recipe.data.length
        masked = round(self.mask_rate * length) / length
        found: dict[str, Any] = {"train.mask_rate": min(0.9, max(0.01, masked))}
        if self.embedding_dropout == self.dropout:
            found["train.embedding_dropout"] = None
        if self.attention_dropout == self.dropout:
            found["train.attention_dropout"] = None
        if self.length_curriculum is None:  # whose short rows round otherwise
            found["train.token_drop"] = round(self.token_drop * length) / length
        return found

    def inert(self, recipe: Recipe) -> Iterable[str]:
        if not recipe.model.attention.weighs:
            yield "train.attention_dropout"
        if self.weight_decay == 0:
            yield from ("train.decay_norms", "train.decay_biases", "train.decay_embeddings")
        if self.micro_batch is not None and self.micro_batch >= self.batch and self.batch_rule is None:
            yield "train.ramp"
