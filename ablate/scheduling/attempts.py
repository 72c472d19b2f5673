"""The attempts of a trial and what they mean: is it done, failed for good, or to be started (again)?

The coordinator alone writes `attempts.json`; the record is the trial's own. Failures are data: each kind
has a rule for how often it is tried again, from the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from ablate.records import Record, TrialPaths, read_json, write_json
from ablate.records.store import NewerError, RecordError, read_record

# A diverged run diverges again under the same seed; a hang needs a person. A GPU that ran out of memory
# is tried once more with half the micro-batch; where that cannot help, the record says so (`retry`).
RETRIES = {
    "lost": 2,
    "failed": 2,
    "evaluation-error": 1,
    "diverged": 0,
    "out-of-memory": 1,
    "timeout": 0,
}
ENDED_WELL = ("complete", "pruned")  # pruned: a search ended it because others did better

INTERRUPTED = "interrupted"  # stopped on request, or its coordinator died with it: not the trial's fault


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Standing:
    """Where a trial stands according to its folder."""

    verdict: Literal["complete", "failed", "open"]
    record: Record | None = None
    failures: int = 0

    @property
    def final(self) -> bool:
        return self.verdict != "open"


def attempts(paths: TrialPaths) -> list[dict[str, Any]]:
    """Every attempt so far, oldest first; a torn file counts as none."""
    try:
        return list(read_json(paths.attempts).get("attempts", []))
    except RecordError:
        return []


def begin(paths: TrialPaths) -> None:
    """Write down a start. An earlier attempt's record moves aside, so a record is always the last word."""
    so_far = attempts(paths)
    if paths.record.exists():
        paths.record.rename(paths.record.with_name(f"record.attempt-{len(so_far)}.json"))
    _write(paths, [*so_far, {"started": now(), "ended": None, "state": None, "reason": ""}])


def end(paths: TrialPaths, state: str, reason: str) -> None:
    """Write down how the open attempt ended; harmless when none is open."""
    so_far = attempts(paths)
    if so_far and so_far[-1]["ended"] is None:
        _write(paths, [*so_far[:-1], {**so_far[-1], "ended": now(), "state": state, "reason": reason}])


def _write(paths: TrialPaths, value: list[dict[str, Any]]) -> None:
    write_json(paths.attempts, {"attempts": value})


def valid_record(paths: TrialPaths) -> Record | None:
    """The trial's record, or None when there is none that can be used. Raises NewerError."""
    try:
        return read_record(paths.record)
    except NewerError:
        raise
    except RecordError:
        return None


def standing(paths: TrialPaths, *, again: bool = False) -> Standing:
    """Done, failed for good, or open. `again` reopens failures whose retries are used up (not divergence).

    Raises NewerError: a trial whose record this version cannot read is not run a second time.
    """
    record = valid_record(paths)
    if record is None:
        return Standing("open")
    if record.state in ENDED_WELL:
        return Standing("complete", record)
    failures = max(1, failed(paths, record.state))
    if failures <= allowed(record) or (again and record.state != "diverged"):
        return Standing("open", record, failures)
    return Standing("failed", record, failures)


def allowed(record: Record) -> int:
    """How often a trial that failed like this is tried again."""
    return RETRIES.get(record.state, 0) if record.retry else 0


def failed(paths: TrialPaths, state: str) -> int:
    """How many attempts ended in this state."""
    return sum(1 for attempt in attempts(paths) if attempt["state"] == state)
