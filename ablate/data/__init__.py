"""Data: text to packed rows to masked batches. Importing it loads numpy and pydantic, nothing heavier."""

from ablate.data.batches import Batch, Batches
from ablate.data.config import DataConfig, check
from ablate.data.errors import DataError
from ablate.data.prepare import Prepared, prepare
from ablate.data.sources import FilesSource, GrammarSource, HubSource, LocalSource
from ablate.data.tokenizer import GivenVocabulary, WordPiece

__all__ = [
    "Batch", "Batches", "DataConfig", "DataError", "FilesSource", "GivenVocabulary", "GrammarSource",
    "HubSource", "LocalSource", "Prepared", "WordPiece", "check", "prepare",
]  # fmt: skip
