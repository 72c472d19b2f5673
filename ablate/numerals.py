"""Numbers as books print them."""

from __future__ import annotations


def roman(resolution: int | None) -> str:
    """A resolution as books print it; a full factorial has none."""
    if resolution is None:
        return "full"
    return {1: "I", 2: "II", 3: "III", 4: "IV", 5: "V", 6: "VI", 7: "VII", 8: "VIII"}.get(
        resolution, str(resolution)
    )
