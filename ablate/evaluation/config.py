"""What is measured after pretraining: the fine-tuning recipe, and the study file's `evaluate:` section.

Free of torch, so that `plan`, `status` and `report` can read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ablate.knobs import Config, Knob

GrammarName = Literal["acceptability", "sentiment", "paraphrase", "similarity", "entailment"]
Metric = Literal["accuracy", "f1", "macro-f1", "mcc", "pearson", "spearman"]

_PROTOCOL = "GLUE protocol: one global set of hyper-parameters, at most 5 epochs, last epoch scored"


class FinetuneConfig(Config):
    """How a pretrained encoder is fine-tuned on every task: the crammed GLUE protocol by default.

    One setting for all tasks, the score of the last epoch, no selection on the validation set
    (Geiping & Goldstein 2023, GLUE protocol and reference configuration).
    """

    epochs: Annotated[
        int, Knob("passes over a task's training set", 1, 20, paper=_PROTOCOL, cost="linear")
    ] = 5
    batch: Annotated[
        int,
        Knob("examples per optimizer step", 1, 256, log=True, paper="GLUE protocol: 16 crammed, 32 BERT-base",
             cost="steps are latency-bound: half the batch takes nearly twice the time"),
    ] = 16  # fmt: skip
    lr: Annotated[
        float,
        Knob("peak learning rate", 1e-6, 1e-2, log=True, paper="GLUE protocol: 4e-5 crammed, 2e-5 BERT-base"),
    ] = 4e-5
    schedule: Annotated[
        Literal["cosine", "linear", "constant"],
        Knob(
            "shape of the learning rate after the warm-up",
            paper="GLUE protocol: cosine; no help to BERT-base",
        ),
    ] = "cosine"
    warmup: Annotated[
        float,
        Knob("share of each task's own steps over which the rate rises", 0.0, 0.5,
             paper="reference configuration: 10 %; its code leaked the first task's count into all others"),
    ] = 0.1  # fmt: skip
    beta1: Annotated[float, Knob("AdamW first-moment decay", 0.5, 0.99, paper="reference configuration")] = (
        0.9
    )
    beta2: Annotated[
        float, Knob("AdamW second-moment decay", 0.9, 0.9999, paper="reference configuration")
    ] = 0.98
    eps: Annotated[float, Knob("AdamW epsilon", 1e-12, 1e-4, log=True, paper="reference configuration")] = (
        1e-6
    )
    weight_decay: Annotated[
        float,
        Knob("decoupled decay of matrices; norms and biases are spared", 0.0, 0.5, paper="reference: 0"),
    ] = 0.0
    clip: Annotated[
        float | None,
        Knob("global gradient norm limit, none: off", 0.01, 100.0, log=True, paper="reference: none"),
    ] = None
    dropout: Annotated[
        float,
        Knob("dropout while fine-tuning, of what sublayers add to the stream", 0.0, 0.5,
             paper="GLUE protocol: 0.1"),
    ] = 0.1  # fmt: skip
    embedding_dropout: Annotated[
        float | None,
        Knob("dropout of embedded tokens; none: as finetune.dropout", 0.0, 0.5, paper="reference: 0.1"),
    ] = None
    attention_dropout: Annotated[
        float | None,
        Knob("dropout of attention weights; none: as finetune.dropout", 0.0, 0.5, paper="reference: 0.1"),
    ] = None
    classifier_dropout: Annotated[
        float | None,
        Knob("dropout before the head's last product; none: as finetune.dropout", 0.0, 0.5,
             paper="reference: 0.1"),
    ] = None  # fmt: skip
    pooler: Annotated[
        Literal["cls", "mean", "max", "lse"],
        Knob("how token states become one vector", paper="reference: first token (its own yaml said mean)"),
    ] = "cls"
    head_width: Annotated[
        int, Knob("width of the head's hidden layer", 8, 4096, log=True, paper="reference: 1024; BERT 768")
    ] = 1024
    max_length: Annotated[
        int,
        Knob("longest input in tokens, [CLS] and [SEP] included; never above the pretraining length", 8, 512,
             log=True, paper="GLUE protocol: 128"),
    ] = 128  # fmt: skip

    @property
    def dropouts(self) -> tuple[float, float | None, float | None]:
        """Rates in sublayers, on the embedding and on attention weights, as `set_dropout` takes them."""
        return self.dropout, self.embedding_dropout, self.attention_dropout

    @property
    def head_dropout(self) -> float:
        """The head's rate."""
        return self.dropout if self.classifier_dropout is None else self.classifier_dropout

    def same(self, recipe: Any) -> Mapping[str, Any]:
        own = ("embedding_dropout", "attention_dropout", "classifier_dropout")
        found: dict[str, Any] = {f"finetune.{k}": None for k in own if getattr(self, k) == self.dropout}
        return {**found, "finetune.max_length": min(self.max_length, recipe.data.length)}

    def inert(self, recipe: Any) -> Iterable[str]:
        return () if recipe.model.attention.weighs else ("finetune.attention_dropout",)


class _TaskGroup(Config):
    seeds: int = Field(1, ge=1, le=100, description="fine-tuning seeds per task; their scores are averaged")
    max_train: int | dict[str, int] | None = Field(
        None, description="cut each training set to this many examples (one number, or task: number)"
    )

    def limit(self, task: str) -> int | None:
        """How many training examples of a task are used; None: all."""
        return self.max_train.get(task) if isinstance(self.max_train, dict) else self.max_train

    @field_validator("max_train")
    @classmethod
    def _positive(cls, value: int | dict[str, int] | None) -> int | dict[str, int] | None:
        counts = value.values() if isinstance(value, dict) else [] if value is None else [value]
        if any(count < 1 for count in counts):
            raise ValueError(
                "max_train counts training examples and must be at least 1; leave it out to use all"
            )
        return value


class GlueSpec(_TaskGroup):
    """GLUE tasks; without `tasks`, all that are present, WNLI aside (it is outside the paper's average)."""

    tasks: tuple[str, ...] | None = Field(
        None, description="of cola, sst2, mrpc, stsb, rte, wnli, qnli, qqp, mnli, ax", min_length=1
    )


class GrammarSpec(_TaskGroup):
    """Tasks from the package's own grammar: their truth is known, they need no download."""

    tasks: tuple[str, ...] = Field(
        ("acceptability", "sentiment", "paraphrase", "similarity", "entailment"),
        description="of acceptability, sentiment, paraphrase, similarity, entailment",
        min_length=1,
    )
    seed: int = Field(0, ge=0, description="the examples' own seed; the same for every arm and block")


class UserTask(_TaskGroup):
    """A task of one's own: text columns, a label column, a metric; files are parquet, jsonl, csv or tsv.

    Relative paths start in the working directory; `~` and variables such as `$ABLATE_DATA` are expanded.
    """

    path: str | None = Field(None, description="a folder with train.parquet and validation.parquet")
    train: str | None = Field(None, description="the training file, instead of path")
    validation: str | None = Field(None, description="the validation file, instead of path")
    text: tuple[str, ...] = Field(
        description="one text column, or two for a pair", min_length=1, max_length=2
    )
    label: str = Field(
        "label", description="the label column: classes of any type, or numbers for a regression"
    )
    metric: Metric = Field("accuracy", description="pearson and spearman make it a regression")
    classes: int | None = Field(None, ge=2, le=1000, description="number of classes; counted when left out")

    @field_validator("text", mode="before")
    @classmethod
    def _one_column(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_place(self) -> UserTask:
        files = [file for file in (self.train, self.validation) if file is not None]
        if len(files) != (0 if self.path is not None else 2):
            raise ValueError(
                "a task needs its files once: either `path`, a folder with train and validation files, "
                "or both `train` and `validation`"
            )
        if self.classes and self.metric in ("pearson", "spearman"):
            raise ValueError(f"{self.metric} makes this task a regression; drop `classes` or choose accuracy")
        if isinstance(self.max_train, dict):
            raise ValueError("max_train of a single task is one number")
        return self


class EvaluateSpec(Config):
    """The study file's `evaluate:` section; empty: only the held-out MLM loss."""

    glue: GlueSpec | None = None
    grammar: GrammarSpec | None = None
    tasks: dict[str, UserTask] = Field(default_factory=dict, description="tasks of one's own, by name")

    @field_validator("tasks")
    @classmethod
    def _plain_names(cls, value: dict[str, UserTask]) -> dict[str, UserTask]:
        for name in value:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"a task's name is letters, digits, - and _ (it names a file); got '{name}'")
        return value

    def metrics(self) -> list[str]:
        """Every number that a trial will measure, averages included; unknown tasks are left out."""
        from ablate.evaluation.tasks import metric_names

        return metric_names(self)
