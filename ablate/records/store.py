"""Reading and writing records: temporary name, fsync, rename; damage is reported, never guessed around."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from ablate.records.paths import StudyPaths
from ablate.records.schema import SCHEMA, Record


@dataclass(frozen=True)
class Damage:
    """A file that could not be used, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class RecordError(ValueError):
    """A file of the study that cannot be used; the message names it and the way out."""


class NewerError(RecordError):
    """A file that a newer version wrote: whole, so that nothing may be done again in its place."""


def write_json(path: Path, value: Mapping[str, Any] | BaseModel) -> None:
    """Write atomically and durably: a reader sees the old file or the new one, also after a power cut."""
    plain = value.model_dump(by_alias=True) if isinstance(value, BaseModel) else dict(value)
    write_bytes(path, to_json(finite(plain), indent=1) + b"\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Atomic, durable write of a whole file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Make a file, or a folder's list of names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def finite(value: Any) -> Any:
    """JSON has no NaN; a non-finite number is written as a string that float() reads back."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return value


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises RecordError when it is missing, torn or not an object."""
    try:
        value = from_json(path.read_bytes())
    except FileNotFoundError:
        raise RecordError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path} does not hold a JSON object")
    if isinstance(value.get("schema"), int) and value["schema"] > SCHEMA:
        raise NewerError(
            f"{path} was written by a newer ablate (schema {value['schema']}, this one {SCHEMA}); upgrade"
        )
    return value


def read_record(path: Path) -> Record:
    """One trial's record. Raises RecordError."""
    try:
        return Record.model_validate(read_json(path))
    except ValidationError as error:
        raise RecordError(f"{path} is damaged: {brief(error)}") from error


def load_records(root: Path) -> tuple[list[Record], list[Damage]]:
    """Every record of a run folder, and every one that is there but cannot be used."""
    records: list[Record] = []
    damage: list[Damage] = []
    for path in sorted(StudyPaths(root).trials.glob("*/record.json")):
        try:
            records.append(read_record(path))
        except RecordError as error:
            damage.append(Damage(path, str(error)))
    return records, damage


def brief(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
