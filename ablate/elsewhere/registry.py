"""Names and levels of the platform's knobs, from the schema of study files: the types would import torch."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from typing import Any

from ablate.elsewhere.levels import Level, Named, read


@functools.cache
def _factors() -> Mapping[str, Any]:
    """Knob → its JSON Schema; what `ablate schema study` prints, as the package carries it."""
    schema = json.loads(files("ablate").joinpath("study.schema.json").read_text(encoding="utf-8"))
    factors: Mapping[str, Any] = schema["$defs"]["Design"]["properties"]["factors"]["properties"]
    return factors


def paths() -> Iterable[str]:
    """Every knob."""
    return _factors().keys()


def default(path: str, kind: str, setting: str) -> Any:
    """What a variant's setting is where it is left out. Raises KeyError for what is no setting of it."""
    if f"{path}.{setting}" not in _factors():
        raise KeyError(setting)
    return _defaults()[f"{path}[{kind}].{setting}"]


@functools.cache
def _defaults() -> Mapping[str, Any]:
    from ablate.knobs import knobs  # seconds, for the few questions that name a variant's settings
    from ablate.recipe import Recipe

    return {info.name: info.default for info in knobs(Recipe)}


def wrong_level(knob: str, names: Callable[[str], bool], level: Level) -> str:
    """Why none of the knobs that are meant can have this level; empty where one can."""
    allowed: list[str] = []
    for path, schema in _factors().items():
        if not names(path):
            continue
        kinds = schema["items"].get("anyOf", [schema["items"]])
        levels = [_name(read(one)) for kind in kinds for one in kind.get("enum", ())]
        number = any(kind.get("type") in ("number", "integer") for kind in kinds)
        if number:
            levels += ["a number", "none"]
        if not levels or _name(level) in levels or (number and isinstance(level, float)):  # none: free text
            return ""
        allowed += levels
    given = _name(level)
    near = difflib.get_close_matches(given, allowed, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    return f"{knob} has no level '{given}'{hint} It has {', '.join(dict.fromkeys(allowed))}"


def _name(level: Level) -> str:
    """A list and settings without a variant have no name: they are shown as they came."""
    if isinstance(level, Named):
        inside = (_name(v) if k.isdigit() else f"{k}={_name(v)}" for k, v in level.settings.items())
        return level.name or ", ".join(inside)
    return f"{level:g}"


def nearest(given: str, known: Iterable[str]) -> list[str]:
    """A right last word under a wrong parent is the commonest slip; else the likest name or end of one."""
    known = sorted(known)
    last = [name for name in known if "." in given and name.rpartition(".")[2] == given.rpartition(".")[2]]
    if last:
        return difflib.get_close_matches(given, last, n=3, cutoff=0)
    ends = {".".join(name.split(".")[i:]): None for name in known for i in range(name.count(".") + 1)}
    return difflib.get_close_matches(given, ends, n=1, cutoff=0.6)
