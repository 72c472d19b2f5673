"""`ablate export`: weights, config, tokenizer, sources and a card, in one new folder."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ablate.export import native
from ablate.export.bundle import bundle
from ablate.knobs import differences, show
from ablate.model import Bert
from ablate.recipe import Recipe, preset, recipe_from
from ablate.training import checkpoint as checkpoints
from ablate.training.checkpoint import Checkpoint, CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


class ExportError(ValueError):
    """Nothing was written; the message says which rule was broken, how, and the way out."""


@dataclass(frozen=True)
class Pretrained:
    """A checkpoint with what it was trained by: the model is in fp32, on the CPU, in evaluation mode."""

    checkpoint: Checkpoint
    recipe: Recipe
    model: Bert
    tokenizer: Path  # its file

    @property
    def family(self) -> native.Family | None:
        """The class of `transformers` that the model is, if it is one of theirs."""
        few_bit = self.recipe.train.precision.few_bit(self.model) is not None
        return None if few_bit else native.family(self.recipe)


def read_checkpoint(given: Path) -> Pretrained:
    """The newest whole checkpoint below a path: a checkpoint itself, the folder of several, a trial.

    Raises ExportError.
    """
    found, tokenizer = _read(given)
    recipe = recipe_from(found.state["recipe"])
    return Pretrained(found, recipe, _model(found, recipe), tokenizer)


def export(given: Path, folder: Path) -> Path:
    """Write the newest checkpoint of a trial so that `AutoModel.from_pretrained(folder)` loads it.

    `given` is a checkpoint, the folder of a trial's checkpoints, or a trial. Raises ExportError.
    """
    _require_transformers()
    _require_new(folder)
    return write(read_checkpoint(given), folder)


def _require_transformers() -> None:
    if importlib.util.find_spec("transformers") is None:
        raise ExportError(
            "export needs transformers, which is not installed: pip install 'ablate-bert[export]'"
        )


def _require_new(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"export writes a new folder, and {folder} is there already; choose another name")


def write(pretrained: Pretrained, folder: Path) -> Path:
    """Write a model as a new folder, whole or not at all.

    The architectures of BERT and of ModernBERT become plain ones of theirs, every other brings its own
    sources and is loaded with `trust_remote_code=True`. Raises ExportError.
    """
    _require_transformers()
    _require_new(folder)
    recipe, model, theirs = pretrained.recipe, pretrained.model, pretrained.family
    whole = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir(parents=True)
    if theirs is not None:
        theirs.convert(model, recipe).save_pretrained(whole)
    else:
        _own(model, recipe).save_pretrained(whole)
        for name, text in bundle("ablate.export.modeling_ablate").items():
            (whole / name).write_text(text, encoding="utf-8")
    _tokenizer(pretrained.tokenizer, recipe.data.length).save_pretrained(whole)
    (whole / "README.md").write_text(_card(pretrained.checkpoint, recipe, theirs), encoding="utf-8")
    if folder.is_dir():
        folder.rmdir()
    whole.rename(folder)
    return folder


def _read(given: Path) -> tuple[Checkpoint, Path]:
    """The checkpoint that a path means, and its tokenizer's file."""
    try:
        if (given / "state.json").is_file():
            found, folder = checkpoints.read(given), given.parent
        else:
            folder = given / "checkpoint" if (given / "checkpoint").is_dir() else given
            newest, _ = checkpoints.newest(folder)
            if newest is None:
                raise ExportError(
                    f"export needs a checkpoint, and {given} holds none; give a trial's folder, such as "
                    "runs/<study>/trials/<id>, or what `ablate pretrain` printed"
                )
            found = newest
    except CheckpointError as error:
        raise ExportError(str(error)) from error
    tokenizer = folder / checkpoints.TOKENIZER
    if not tokenizer.is_file():
        raise ExportError(f"export needs the trial's tokenizer, and {tokenizer} is missing; copy it there")
    return found, tokenizer


def _model(found: Checkpoint, recipe: Recipe) -> Bert:
    model = Bert(recipe.model, vocabulary=found.state["vocabulary"], length=recipe.data.length)
    with torch.no_grad():
        # What an objective added for itself (ELECTRA's second head) stays behind.
        own = model.state_dict().keys()
        checkpoints.load_weights(model, {n: t.float() for n, t in found.model.items() if n in own})
    return model.eval()


def _own(model: Bert, recipe: Recipe) -> PreTrainedModel:
    from ablate.export.modeling_ablate import AUTO_MAP, AblateConfig, AblateForMaskedLM

    config = AblateConfig(
        model=recipe.model.model_dump(mode="json"),
        vocab_size=model.encoder.vocabulary,
        length=recipe.data.length,
        few_bit=recipe.train.precision.few_bit(model),
        pooler=recipe.finetune.pooler,
        head_width=recipe.finetune.head_width,
        dropouts=recipe.finetune.dropouts,
        classifier_dropout=recipe.finetune.head_dropout,
        auto_map=AUTO_MAP,
    )
    theirs = AblateForMaskedLM(config)
    theirs.bert.load_state_dict(model.state_dict())
    return theirs


def _tokenizer(file: Path, length: int) -> PreTrainedTokenizerFast:
    """`[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`, as fine-tuning here has it."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer.from_file(str(file))
    special = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=special
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_max_length=length,
        model_input_names=["input_ids", "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def _card(found: Checkpoint, recipe: Recipe, theirs: native.Family | None) -> str:
    state: dict[str, Any] = found.state
    trust = "" if theirs else ", trust_remote_code=True"
    how = f"Saved as a plain {theirs.name}." if theirs else "Loaded with the sources beside this file."
    changes = differences(preset("crammed-bert"), recipe)
    told = [
        f"- `{path}`: {show(there)} (crammed-bert: {show(here)})" for path, (here, there) in changes.items()
    ]
    loss = state["metrics"].get("pretrain/loss")
    return "\n".join(
        [
            "---",
            "library_name: transformers",
            "pipeline_tag: fill-mask",
            "---",
            "",
            "# A pretrained encoder",
            "",
            f"Pretrained with `ablate`, seed {state['seed']}, {found.state['step']:,} steps"
            + ("." if found.finished else "; the budget was not spent yet.")
            + (f" Last training loss {loss:.3f}." if loss is not None else ""),
            "",
            "```python",
            "from transformers import AutoModelForMaskedLM, AutoTokenizer",
            "",
            f'tokenizer = AutoTokenizer.from_pretrained("FOLDER"{trust})',
            f'model = AutoModelForMaskedLM.from_pretrained("FOLDER"{trust})',
            "```",
            "",
            f"{how} Rows are at most {recipe.data.length} tokens long. Not fine-tuned.",
            "",
            "## Recipe",
            "",
            "The crammed BERT's (arXiv:2212.14034) but for:" if told else "The crammed BERT's.",
            "",
            *told,
            "",
        ]
    )
