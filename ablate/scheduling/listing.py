"""The listing of every knob: domain, value in the crammed recipe and in BERT, paper reference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ablate.knobs import Config, KnobInfo, kind_of, label
from ablate.knobs import knobs as knobs_of
from ablate.recipe import Recipe, preset

COLUMNS = ("knob", "domain", "crammed", "bert", "meaning", "paper", "cost")
_ABSENT = "–"


def rows() -> list[dict[str, Any]]:
    """One row per knob, depth first; a conditional knob has values only where its variant is chosen."""
    crammed, bert = preset("crammed-bert"), preset("bert-original")
    return [
        {
            "knob": info.name,
            "path": info.path,
            "domain": str(info.domain),
            "crammed": value(crammed, info),
            "bert": value(bert, info),
            "meaning": info.knob.meaning,
            "paper": info.knob.paper,
            "cost": info.knob.cost,
            "speed_only": info.knob.speed_only,
        }
        for info in knobs_of(Recipe)
    ]


def value(recipe: Config, info: KnobInfo) -> str:
    """The knob's level in a recipe, or a dash where another variant is in its place."""
    node: Any = recipe
    for part in info.name.split("."):
        match = re.fullmatch(r"(\w+)(?:\[(.+)\])?", part)
        assert match is not None
        node = getattr(node, match[1])
        if match[2] is not None and kind_of(type(node)) != match[2]:
            return _ABSENT
    return label(node)


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """For a terminal."""
    found = Table(box=None, pad_edge=False, header_style="bold")
    for column, most in (("knob", 44), ("domain", 44), ("crammed", 22), ("BERT", 22), ("paper", 60)):
        found.add_column(column, overflow="fold", max_width=most)
    for row in rows:
        found.add_row(*(Text(row[key]) for key in ("knob", "domain", "crammed", "bert", "paper")))
    return found


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """For documents."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join(str(row[c]).replace("|", "\\|") for c in COLUMNS) + " |" for row in rows]
    return "\n".join(lines)
