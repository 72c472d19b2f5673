"""Levels compared by what they mean, not as they are written: `4e-3` is 0.004, settings have no order."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Named:
    """A level that is no number: a name, and the settings that a variant has of its own.

    A list has its places as settings; `none`, `true` and `false` are names.
    """

    name: str
    settings: Mapping[str, Level] = field(default_factory=dict)


Level = float | Named
Default = Callable[[str], Any]  # the value of a setting that a variant leaves out; raises KeyError


def read(value: Any) -> Level:
    """A level as JSON holds it, or as people write it."""
    if value is None or isinstance(value, bool):
        return Named({None: "none", True: "true", False: "false"}[value])
    if isinstance(value, int | float) and abs(value) <= 1e308:
        return float(value)
    if isinstance(value, Mapping):
        own = {str(k): read(v) for k, v in value.items() if k != "kind"}
        return Named(str(value.get("kind", "")).lower(), own)
    if isinstance(value, list | tuple):
        return Named("", {str(i): read(v) for i, v in enumerate(value)})
    return _read_text(str(value))


def _read_text(text: str) -> Level:
    text = " ".join(text.split())
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return number
    variant = re.fullmatch(r"([^()=,]+)\((.*)\)", text)
    name, inside = (variant[1].strip(), variant[2]) if variant else ("", text)
    pieces = parts(inside)
    pairs = [part.partition("=") for part in pieces]
    if all(sign for _, sign, _ in pairs):
        return Named(name.lower(), {k.strip(): read(v) for k, _, v in pairs})
    if not variant and len(pieces) > 1:
        return Named("", {str(i): read(part) for i, part in enumerate(pieces)})
    return Named(text.lower())


def parts(text: str) -> list[str]:
    """A text split at commas outside parentheses."""
    found, depth = [""], 0
    for c in text:
        depth += (c == "(") - (c == ")")
        if c == "," and depth == 0:
            found.append("")
        else:
            found[-1] += c
    return [part.strip() for part in found if part.strip()]


def matches(wanted: Level, there: Level, default: Default) -> bool:
    """The same number in six digits, as tables write it; or the same name and every setting that is wanted.

    `default` tells what a setting is that the recorded variant leaves out.
    """
    if isinstance(wanted, float) or isinstance(there, float):
        if not (isinstance(wanted, float) and isinstance(there, float)):
            return False
        return wanted == there or f"{wanted:.6g}" == f"{there:.6g}"
    if wanted.name != there.name:
        return False
    return all(_setting(k, v, there, default) for k, v in wanted.settings.items())


def _setting(key: str, wanted: Level, there: Named, default: Default) -> bool:
    if key in there.settings:
        return matches(wanted, there.settings[key], no_default)
    try:
        return matches(wanted, read(default(key)), no_default)
    except KeyError:
        return False


def no_default(key: str) -> Any:
    """The `Default` of what has none."""
    raise KeyError(key)


def inner(path: str, level: Level) -> Iterator[tuple[str, Level]]:
    """The level under its knob, and a variant's settings under theirs: `model.position.theta`."""
    yield path, level
    if isinstance(level, Named) and level.name:
        for key, value in level.settings.items():
            yield from inner(f"{path}.{key}", value)
