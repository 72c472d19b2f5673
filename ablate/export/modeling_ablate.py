"""A pretrained encoder for `transformers`: config, encoder, masked language model, sequence classifier.

This file is copied beside the weights with the parts of the package that it needs, so that a model loads
wherever `transformers` and `pydantic` are installed (`trust_remote_code=True`).

Shapes: B batch, T position, D width, V vocabulary, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput, SequenceClassifierOutput

from ablate.model.bert import Bert, Encoder
from ablate.model.classification import ClassificationHead, Pooler
from ablate.model.config import ModelConfig
from ablate.model.dropout import set_dropout
from ablate.model.quantization import FewBitWeights, binary, ternary

WEIGHTS = {"ternary": ternary, "binary": binary}


class AblateConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    """`model` holds the architecture's knobs, `length` the longest row, `few_bit` which layers round their
    weights to one bit or three levels in every product, `dropouts` the rates in sublayers, on the embedding
    and on attention weights (None: as in sublayers); the rest is the classification head's.
    """

    model_type = "ablate-bert"

    def __init__(
        self,
        model: dict[str, Any] | None = None,
        vocab_size: int = 32768,
        length: int = 128,
        few_bit: dict[str, Any] | None = None,
        pooler: Pooler = "cls",
        head_width: int = 1024,
        classifier_dropout: float = 0.1,
        dropouts: tuple[float, float | None, float | None] = (0.0, None, None),
        **more: Any,
    ) -> None:
        self.model = ModelConfig.model_validate(model or {}).model_dump(mode="json")
        self.vocab_size, self.length, self.few_bit = vocab_size, length, few_bit
        self.pooler, self.head_width = pooler, head_width
        self.classifier_dropout, self.dropouts = classifier_dropout, dropouts
        # What libraries around transformers look for.
        self.hidden_size, self.num_hidden_layers = self.model["width"], self.model["layers"]
        self.num_attention_heads, self.max_position_embeddings = self.model["heads"], length
        super().__init__(**more)


class AblatePreTrainedModel(PreTrainedModel):
    """What all three have in common."""

    config_class = AblateConfig
    base_model_prefix = "bert"

    def _bert(self, config: AblateConfig) -> Bert:
        bert = Bert(
            ModelConfig.model_validate(config.model),
            vocabulary=config.vocab_size,
            length=config.length,
        )
        set_dropout(bert, *config.dropouts)
        if config.few_bit is not None:
            product = FewBitWeights(WEIGHTS[config.few_bit["weights"]], config.few_bit["norm"])
            for name in config.few_bit["layers"]:
                bert.get_submodule(name).product = product  # type: ignore[assignment]
        return bert

    def _ready(self) -> None:
        """Built on a real device, the parts are initialised; on the meta device a checkpoint fills them."""
        if all(tensor.device.type != "meta" for tensor in (*self.parameters(), *self.buffers())):
            for part in self.modules():
                part._is_hf_initialized = True  # type: ignore[assignment]
        self.post_init()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Fill what no checkpoint holds: tables of positions, a new head. As the constructor does."""
        if "_fresh" not in self.__dict__:
            with torch.device("cpu"):
                # Not as an attribute of a module, whose part it would become.
                self.__dict__["_fresh"] = type(self)(self.config)
        name = next(name for name, part in self.named_modules() if part is module)
        own = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
        fresh = self.__dict__["_fresh"].get_submodule(name)
        for key, tensor in own.items():
            if not getattr(tensor, "_is_hf_initialized", False):
                tensor.copy_(getattr(fresh, key))


def _real(attention_mask: Tensor | None) -> Tensor | None:
    return None if attention_mask is None or bool(attention_mask.all()) else attention_mask.bool()


class AblateModel(AblatePreTrainedModel):  # type: ignore[no-untyped-call]
    """Token ids to hidden vectors."""

    def __init__(self, config: AblateConfig) -> None:
        super().__init__(config)
        self.encoder: Encoder = self._bert(config).encoder
        self._ready()

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.embedding.word

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        return_dict: bool | None = None,
        **more: Any,
    ) -> BaseModelOutput | tuple[Tensor, ...]:
        """`last_hidden_state` [B, T, D]. There are no segment embeddings: `token_type_ids` are not used."""
        out = BaseModelOutput(last_hidden_state=self.encoder(input_ids, _real(attention_mask)))
        return out.to_tuple() if return_dict is False else out


class AblateForMaskedLM(AblatePreTrainedModel):  # type: ignore[no-untyped-call]
    """Token ids to logits at every position."""

    def __init__(self, config: AblateConfig) -> None:
        super().__init__(config)
        self.bert = self._bert(config)
        self._ready()

    def get_input_embeddings(self) -> nn.Module:
        return self.bert.encoder.embedding.word

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **more: Any,
    ) -> MaskedLMOutput | tuple[Tensor, ...]:
        """`logits` [B, T, V]; with `labels` [B, T], where -100 is no target, also `loss`, their mean."""
        everywhere = torch.arange(input_ids.numel(), device=input_ids.device)
        logits_NV = self.bert.logits(input_ids, everywhere, _real(attention_mask))
        loss = None if labels is None else F.cross_entropy(logits_NV.float(), labels.flatten())
        out = MaskedLMOutput(loss=loss, logits=logits_NV.view(*input_ids.shape, -1))
        return out.to_tuple() if return_dict is False else out


class AblateForSequenceClassification(AblatePreTrainedModel):  # type: ignore[no-untyped-call]
    """Token ids to one row of numbers per text; the head is new and has to be fine-tuned."""

    def __init__(self, config: AblateConfig) -> None:
        super().__init__(config)
        self.num_labels: int = config.num_labels or 2
        self.bert = AblateModel(config)
        self.head = ClassificationHead(
            config.hidden_size,
            self.num_labels,
            pooler=config.pooler,
            dropout=config.classifier_dropout,
            head_width=config.head_width,
        )
        self._ready()

    def get_input_embeddings(self) -> nn.Module:
        return self.bert.get_input_embeddings()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **more: Any,
    ) -> SequenceClassifierOutput | tuple[Tensor, ...]:
        """`logits` [B, O]; with `labels` also `loss`: squared error for one output, else cross-entropy."""
        mask_BT = _real(attention_mask)
        logits_BO = self.head(self.bert.encoder(input_ids, mask_BT), mask_BT).float()
        loss = None
        if labels is not None and self.num_labels == 1:
            loss = F.mse_loss(logits_BO[:, 0], labels.float())
        elif labels is not None:
            loss = F.cross_entropy(logits_BO, labels)
        out = SequenceClassifierOutput(loss=loss, logits=logits_BO)
        return out.to_tuple() if return_dict is False else out


AUTO_MAP = {
    "AutoConfig": "modeling_ablate.AblateConfig",
    "AutoModel": "modeling_ablate.AblateModel",
    "AutoModelForMaskedLM": "modeling_ablate.AblateForMaskedLM",
    "AutoModelForSequenceClassification": "modeling_ablate.AblateForSequenceClassification",
}
