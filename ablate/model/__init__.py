"""The model: one concept per file, all its variants inside."""

from ablate.model.bert import Bert, Block, Encoder, set_dropout
from ablate.model.classification import ClassificationHead, Pooler
from ablate.model.config import ModelConfig
from ablate.model.size import flops_per_token, parameters

__all__ = [
    "Bert",
    "Block",
    "ClassificationHead",
    "Encoder",
    "ModelConfig",
    "Pooler",
    "flops_per_token",
    "parameters",
    "set_dropout",
]
