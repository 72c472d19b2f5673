"""Fine-tuning as transformers' own GLUE script does it: `Trainer` over a tokenised `datasets.Dataset`.

`run_glue.py` of its examples pads every text to the longest allowed (`--pad_to_max_length`, its default) and
fine-tunes an `AutoModelForSequenceClassification`. Here too, with the settings of a recipe's `finetune`:
batches, epochs, rate and its shape, AdamW, clipping, arithmetic. The rows, the targets and the metrics are
those of `ablate.evaluation`, so that what differs is the program. Not timed for it: its reports and saving.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.bench.errors import BenchError
from ablate.evaluation.batching import steps
from ablate.evaluation.finetune import PREDICT_BATCH
from ablate.evaluation.metrics import score
from ablate.evaluation.suite import targets
from ablate.evaluation.tasks import Examples, Task, load

if TYPE_CHECKING:
    import datasets
    import transformers

    from ablate.recipe import Recipe

SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
NEEDED = ("transformers", "accelerate")


def require_packages() -> None:
    """Raises BenchError for a package that the peer needs and that is not installed."""
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise BenchError(
                f"bench glue compares with transformers' Trainer, which needs {name}, and that is not "
                "installed: pip install 'ablate-bert[bench]'"
            )


@dataclass(frozen=True)
class Padding:
    """How a peer fills up its batches."""

    name: str
    full: bool  # every text to the longest allowed; else each batch to its longest, like lengths together


PADDED = Padding("padded", True)
GROUPED = Padding("grouped", False)


@dataclass(frozen=True)
class Finetuned:
    """What a run of the Trainer ended with."""

    scores: dict[str, float]  # by validation set, in points
    steps: int  # of the optimizer


class Peer:
    """Fine-tunes an exported checkpoint: the same weights for every task and seed."""

    def __init__(self, folder: Path, recipe: Recipe, device: str) -> None:
        from transformers import PreTrainedTokenizerFast

        self._folder, self._config, self._device = folder, recipe.finetune, device
        self._bf16 = recipe.train.precision.finetunes_in_bf16
        self._longest = min(recipe.finetune.max_length, recipe.data.length)
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)

    def model(self, outputs: int, seed: int) -> transformers.PreTrainedModel:
        """The classifier with a new head, drawn from the seed."""
        import transformers

        from ablate.export.modeling_ablate import AblateForSequenceClassification

        kind = json.loads((self._folder / "config.json").read_text(encoding="utf-8"))["model_type"]
        # Its own sources are the same as the package's; loading them by AutoModel leaves a copy in a cache.
        own = kind == AblateForSequenceClassification.config_class.model_type
        cls: Any = AblateForSequenceClassification if own else transformers.AutoModelForSequenceClassification
        transformers.set_seed(seed)
        with quiet():
            return cls.from_pretrained(self._folder, num_labels=outputs)

    def finetune(
        self, model: transformers.PreTrainedModel, task: Task, padding: Padding, seed: int
    ) -> Finetuned:
        """Read, tokenise, train and score a task: what the script does once its model is loaded."""
        with quiet(), tempfile.TemporaryDirectory(prefix="ablate-bench-") as scratch:
            data = load(task)
            labels, shift, spread = targets(task, data)
            rows = self.rows(data.train, labels, padding)
            trainer = self.trainer(model, rows, padding, seed, Path(scratch))
            trainer.train()
            scores = {}
            for name, split in data.validation.items():
                # Where lengths are grouped, predictions come in another order, their labels beside them.
                found: Any = trainer.predict(self.rows(split, split.labels, padding))
                outputs = np.asarray(found.predictions)
                if not np.isfinite(outputs).all():
                    raise BenchError(f"transformers' Trainer diverged on {task.name}; lower finetune.lr")
                predicted = outputs[:, 0] * spread + shift if task.regression else outputs.argmax(axis=1)
                scores[name] = score(task.metric, np.asarray(found.label_ids), predicted)
            return Finetuned(scores, trainer.state.global_step)

    def rows(self, examples: Examples, labels: np.ndarray, padding: Padding) -> datasets.Dataset:
        """Tokenised by `map` in batches, as the script has it."""
        import datasets

        texts = [examples.first, *([] if examples.second is None else [examples.second])]
        names = [f"text{i}" for i in range(len(texts))]

        def tokenise(batch: Any) -> Any:
            return self._tokenizer(
                *(batch[name] for name in names), padding="max_length" if padding.full else False,
                max_length=self._longest, truncation=True,
            )  # fmt: skip

        kind = np.float32 if labels.dtype.kind == "f" else np.int64
        table = datasets.Dataset.from_dict(
            {**dict(zip(names, texts, strict=True)), "label": labels.astype(kind)}
        )
        return table.map(tokenise, batched=True, load_from_cache_file=False)

    def trainer(
        self,
        model: transformers.PreTrainedModel,
        rows: datasets.Dataset,
        padding: Padding,
        seed: int,
        scratch: Path,
    ) -> transformers.Trainer:
        """With the settings of `finetune`; it says nothing and keeps nothing."""
        from transformers import (
            DataCollatorWithPadding,
            PrinterCallback,
            Trainer,
            TrainingArguments,
            default_data_collator,
        )

        config = self._config
        total = steps(len(rows), config.batch, config.epochs)
        settings = TrainingArguments(
            output_dir=str(scratch),
            per_device_train_batch_size=config.batch,
            per_device_eval_batch_size=PREDICT_BATCH,
            num_train_epochs=config.epochs,
            learning_rate=config.lr,
            lr_scheduler_type=SCHEDULES[config.schedule],
            warmup_steps=math.ceil(config.warmup * total),
            optim="adamw_torch_fused",
            adam_beta1=config.beta1,
            adam_beta2=config.beta2,
            adam_epsilon=config.eps,
            weight_decay=config.weight_decay,
            max_grad_norm=config.clip or 0.0,  # 0: off
            bf16=self._bf16,
            train_sampling_strategy="random" if padding.full else "group_by_length",
            use_cpu=self._device == "cpu",
            dataloader_pin_memory=self._device != "cpu",
            seed=seed,
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
            logging_strategy="no",
            log_level="error",
        )
        settings._n_gpu = min(settings.n_gpu, 1)  # on several it would take that many batches at once
        trainer = Trainer(
            model=model,
            args=settings,
            train_dataset=rows,
            processing_class=self._tokenizer,
            data_collator=default_data_collator if padding.full else DataCollatorWithPadding(self._tokenizer),
        )
        trainer.remove_callback(PrinterCallback)
        return trainer


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Neither progress bars nor words of both libraries meanwhile."""
    import datasets
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    maps = datasets.are_progress_bars_disabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
        if not maps:
            datasets.enable_progress_bars()
