"""A frozen study and what was added while it ran: drawn arms, tuned arms, added blocks.

`study.json` stays as it was frozen. Additions are appended to `grown.jsonl`, a line each, before anything is
started from them, so a coordinator that dies loses none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from ablate.records.paths import StudyPaths
from ablate.records.schema import FrozenStudy, Growth
from ablate.records.store import RecordError, brief, finite, read_json, write_bytes

DONE = "done"  # the last addition: nothing will follow


def read_study(root: Path) -> FrozenStudy:
    """The frozen study of a run folder, with what was added while it ran. Raises RecordError."""
    return grown(frozen_study(root), read_growth(root))


def grown(study: FrozenStudy, additions: Iterable[Growth]) -> FrozenStudy:
    """A study with additions: new arms at the end, an arm of a known name in its place."""
    arms = {arm.name: arm for arm in study.arms}
    trials = dict(study.trials)
    for addition in additions:
        arms |= {arm.name: arm for arm in addition.arms}
        trials |= addition.trials
    return study.model_copy(update={"arms": list(arms.values()), "trials": trials})


def read_growth(root: Path) -> list[Growth]:
    """Every addition, oldest first. A torn last line is one that nothing was started from."""
    path = StudyPaths(root).grown
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for i, line in enumerate(lines[:-1]):
        try:
            found.append(Growth.model_validate_json(line))
        except ValidationError as error:
            raise RecordError(f"{path}:{i + 1} is damaged: {brief(error)}") from error
    return found


def settled(study: FrozenStudy, root: Path) -> bool:
    """Whether nothing will be added any more: at once for a study that lists all its trials."""
    if not (study.searches or study.elastic):
        return True
    return any(addition.why == DONE for addition in read_growth(root)[-1:])


def grow(root: Path, addition: Growth) -> None:
    """Write an addition down before anything is started from it."""
    path = StudyPaths(root).grown
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        if file.read(1) not in (b"", b"\n"):
            _cut_last_line(path)
        file.write(
            json.dumps(finite(addition.model_dump(by_alias=True)), ensure_ascii=False).encode() + b"\n"
        )
        file.flush()
        os.fsync(file.fileno())


def _cut_last_line(path: Path) -> None:
    """Drop a line that a crash tore."""
    content = path.read_bytes()
    os.truncate(path, content.rfind(b"\n") + 1)


def write_growth(root: Path, additions: Sequence[Growth]) -> None:
    """All additions anew, after an edit of the study left some out."""
    lines = [json.dumps(finite(a.model_dump(by_alias=True)), ensure_ascii=False) + "\n" for a in additions]
    write_bytes(StudyPaths(root).grown, "".join(lines).encode())


def frozen_study(root: Path) -> FrozenStudy:
    """The study as it was frozen, without what was added since. Raises RecordError."""
    path = StudyPaths(root).study
    try:
        return FrozenStudy.model_validate(read_json(path))
    except ValidationError as error:
        raise RecordError(f"{path} is damaged: {brief(error)}") from error
