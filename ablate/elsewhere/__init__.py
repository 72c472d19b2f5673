"""Results from elsewhere: other people's runs as a study directory, and negative results already known."""

from ablate.elsewhere.study import ImportedRun, RunsError, write_study

__all__ = ["ImportedRun", "RunsError", "write_study"]
