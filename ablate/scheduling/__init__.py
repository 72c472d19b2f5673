"""Scheduling: one coordinator, executors that place trials, and the process that is a trial.

Optuna lives in `storage` alone. `status` reads files alone, so it works while a study runs and after it died.
"""


class RefusedError(ValueError):
    """What was asked cannot be done; the message gives the rule, the fact and the way out."""


class StorageLostError(RuntimeError):
    """The storage does not answer for now. Records are the truth, so nothing is lost by it."""
