"""Where speeds are kept: a file per machine, precision, compiler setting and recipe, in the user's cache."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ablate.records.provenance import cpu_flags, cpu_model, gpus, versions
from ablate.records.schema import SCHEMA
from ablate.records.store import RecordError, brief, read_json, write_json
from ablate.speed.model import SpeedModel


@dataclass(frozen=True)
class Machine:
    """What trials train on."""

    device: str  # a processor with the extensions that decide its speed, or a GPU
    threads: int  # compute threads of one trial; 0: a GPU

    @classmethod
    def cpu(cls, threads: int) -> Machine:
        return cls(" ".join([cpu_model(), *cpu_flags()]), threads)

    @classmethod
    def gpu(cls) -> Machine:
        """The first GPU of this machine, as its driver names it."""
        return cls(next((str(gpu["name"]) for gpu in gpus()), "unknown GPU"), 0)

    def __str__(self) -> str:
        many = "s" if self.threads > 1 else ""
        return f"{self.device}, {self.threads} thread{many}" if self.threads else self.device


def folder() -> Path:
    """`$ABLATE_CACHE/speed`, or that of the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("ABLATE_CACHE") or platformdirs.user_cache_dir("ablate", False)) / "speed"


def save(model: SpeedModel, name: str) -> Path:
    """Keep a model, in place of an older one of the same machine, settings and recipe `name`.

    A file of its own, whole or not at all: two processes cannot spoil each other's.
    """
    key = (model.device, model.threads, model.precision, model.compiled, name)
    path = folder() / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:12]}.json"
    write_json(path, {"schema": SCHEMA, **model.model_dump()})
    return path


def load(machine: Machine) -> tuple[list[SpeedModel], list[str]]:
    """Models of a machine, the newest first; and why files could not be used, or are of another torch."""
    found: list[SpeedModel] = []
    problems: list[str] = []
    for path in sorted(folder().glob("*.json")):
        try:
            model = SpeedModel.model_validate(read_json(path))
        except RecordError as error:
            problems.append(
                f"{error}; nothing is predicted from it: delete it, or `ablate bench scaling` again"
            )
        except ValidationError as error:
            problems.append(
                f"{path} is damaged ({brief(error)}); delete it and run `ablate bench scaling` again"
            )
        else:
            if (model.device, model.threads) == (machine.device, machine.threads):
                found.append(model)
    now = versions(["torch"]).get("torch")
    for then in sorted({model.versions.get("torch", "") for model in found} - {now, ""}):
        problems.append(
            f"speeds were measured with torch {then}, this is {now}: `ablate bench scaling` again"
        )
    return sorted(found, key=lambda model: model.date, reverse=True), problems
