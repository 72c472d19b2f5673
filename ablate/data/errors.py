"""The one error of the data room."""

from __future__ import annotations


class DataError(ValueError):
    """Text that cannot be used as asked; the message states the rule, the fact and the way out."""


class ReadingError(DataError):
    """A source that broke off; what was read of it before is worth keeping."""
