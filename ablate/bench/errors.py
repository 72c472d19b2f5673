"""What a benchmark refuses."""


class BenchError(ValueError):
    """A benchmark that cannot be run here; the message says why, and the way out."""
