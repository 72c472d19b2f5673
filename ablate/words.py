"""Numbers and lists as books print them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def roman(resolution: int | None) -> str:
    """A resolution as books print it; a full factorial has none."""
    if resolution is None:
        return "full"
    return {1: "I", 2: "II", 3: "III", 4: "IV", 5: "V", 6: "VI", 7: "VII", 8: "VIII"}.get(
        resolution, str(resolution)
    )


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few of them and how many more: `a; b; c and 4 more`. Names of arms hold commas themselves."""
    return "; ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def each_once(told: Iterable[tuple[str, str]]) -> list[str]:
    """Every message once, behind the arms it is true of; takes pairs (arm, message)."""
    arms: dict[str, list[str]] = {}
    for arm, message in told:
        arms.setdefault(message, []).append(arm)
    return [f"{some(names)}: {message}" for message, names in arms.items()]
