"""A recipe: everything that determines a trial except its seed and its budget; and the named presets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pydantic import Field

from ablate.data.config import DataConfig
from ablate.evaluation.config import FinetuneConfig
from ablate.knobs import Config, knobs, parts, replace
from ablate.model import ModelConfig
from ablate.training.config import TrainConfig


class Recipe(Config):
    """Model, data, pretraining and fine-tuning of one arm; the defaults are the ICML paper's crammed BERT."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    finetune: FinetuneConfig = Field(default_factory=FinetuneConfig)

    def problems(self) -> list[str]:
        """Combinations of knobs that cannot be built or run, each with the way out."""
        precision = self.train.precision
        told = [line for part in parts(self) if part is not precision for line in part.conflicts(self)]
        # The precision looks at the layers, so only of a model that can be built.
        return told or precision.conflicts(self)

    def warnings(self) -> list[str]:
        """Couplings to mind, each with its reason; the recipe can be run as it is."""
        return [line for part in parts(self) for line in part.cautions(self)]

    def effective(self) -> Recipe:
        """The recipe with every knob that changes nothing in it at its default, and what has two names under
        one: two recipes with the same effective recipe are the same experiment.
        """
        inert = {path for part in parts(self) for path in part.inert(self)}
        found = replace(self, {k.path: k.default for k in knobs(Recipe) if k.path in inert})
        return replace(found, {p: v for part in parts(found) for p, v in part.same(found).items()})


def crammed_bert() -> Recipe:
    """The ICML recipe, `crammed-bert` + `bert-o4` of the reference: every config's defaults."""
    return Recipe()


def crammed_bert_v1() -> Recipe:
    """The first paper's recipe, `bert-c5` + `bert-o3`: C4, 15.6 % masking, batch 4096, norms decayed."""
    return replace(
        crammed_bert(),
        {
            "model.head": "linear",
            "data.source": {"kind": "hub", "name": "allenai/c4", "config": "en"},
            "train.mask_rate": 0.15625,
            "train.batch": 4096,
            # 300,000 of 600,000 micro-batch steps of 128 sequences.
            "train.ramp": 0.5,
            "train.decay_norms": True,
        },
    )


def bert_original() -> Recipe:
    """The original BERT as the reference restates it (`v1/bert-original`), post-norm with biases."""
    return replace(
        crammed_bert(),
        {
            "model.layers": 12,
            "model.attention.qkv_bias": True,
            "model.linear_bias": True,
            "model.decoder_bias": True,
            "model.norm_placement": "post",
            "model.final_norm": False,
            "model.position": "learned",
            "model.activation": "gelu",
            "model.head": "bert",
            "data.source": {"kind": "hub", "name": "wikimedia/wikipedia", "config": "20231101.en"},
            "data.tokenizer": {"kind": "wordpiece", "vocabulary": 30522},
            "data.order": "random",
            "data.token_ratio": None,
            "train.optimizer": {"kind": "adam", "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
            "train.lr": 1e-4,
            "train.schedule": {"kind": "linear", "warmup": 0.01},
            "train.clip": None,
            "train.batch": 512,
            "train.micro_batch": 64,
            "train.ramp": 0.0,
            "train.mask_rate": 0.15,
            "train.dropout": 0.1,
            "finetune.batch": 32,
            "finetune.lr": 2e-5,
            "finetune.schedule": "constant",
        },
    )


def crammed_small() -> Recipe:
    """The crammed BERT at a size for a few CPU cores and minutes: 4 layers of 256, vocabulary 8192."""
    return replace(
        crammed_bert(),
        {
            "model.layers": 4,
            "model.width": 256,
            "model.intermediate": 1024,
            "model.heads": 4,
            "data.source": "grammar",
            "data.tokenizer": {"kind": "wordpiece", "vocabulary": 8192},
            # Minutes see a tenth of a small corpus: sorted, they would see its shortest sentences alone.
            "data.order": "random",
            # The ratio of tokens to characters depends on the vocabulary; 0.25 belongs to 32768.
            "data.token_ratio": None,
            # 8192 sequences are about a thousandth of a GPU-day's tokens; 128 keep that share in minutes.
            "train.batch": 128,
            "train.micro_batch": 32,
            # Compiling takes longer than it saves in trials of minutes.
            "train.compile": False,
        },
    )


PRESETS: dict[str, Callable[[], Recipe]] = {
    "crammed-bert": crammed_bert,
    "crammed-bert-v1": crammed_bert_v1,
    "bert-original": bert_original,
    "crammed-small": crammed_small,
}


@functools.cache
def preset(name: str) -> Recipe:
    """A named recipe. Raises KeyError naming the presets there are."""
    if name not in PRESETS:
        raise KeyError(f"there is no preset '{name}'; the presets are {', '.join(PRESETS)}")
    return PRESETS[name]()


def recipe_from(data: dict[str, Any]) -> Recipe:
    """A recipe from the plain data of a record. Raises pydantic.ValidationError."""
    return Recipe.model_validate(data)
