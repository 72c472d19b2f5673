"""Cleaning: from documents to fewer or better ones, stage by stage, each with a report of what it removed."""

from ablate.data.cleaning.config import Cleaning
from ablate.data.cleaning.interface import Document, Example, Report, Stage, rank, run

__all__ = ["Cleaning", "Document", "Example", "Report", "Stage", "rank", "run"]
