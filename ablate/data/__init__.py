"""Data: text to packed rows to masked batches. Importing it loads numpy and pydantic, nothing heavier."""

from ablate.data.batches import Batch, Batches
from ablate.data.cleaning import Cleaning
from ablate.data.config import DataConfig, check
from ablate.data.errors import DataError
from ablate.data.mapping import Mapper, OnRay, Processes
from ablate.data.prepare import Prepared, cleaning_reports, is_prepared, prepare
from ablate.data.rows import Rows
from ablate.data.sources import (
    CorpusSource,
    FilesSource,
    GrammarSource,
    HubSource,
    LocalSource,
    MixtureSource,
    Part,
)
from ablate.data.text import Shards
from ablate.data.tokenizer import BPE, ByteLevel, GivenVocabulary, Unigram, WordPiece

__all__ = [
    "BPE", "Batch", "Batches", "ByteLevel", "Cleaning", "CorpusSource", "DataConfig", "DataError",
    "FilesSource", "GivenVocabulary", "GrammarSource", "HubSource", "LocalSource", "Mapper", "MixtureSource",
    "OnRay", "Part", "Prepared", "Processes", "Rows", "Shards", "Unigram", "WordPiece", "check",
    "cleaning_reports", "is_prepared", "prepare",
]  # fmt: skip
