"""Tests of one level run one after another: they share what that level was trained to."""

from __future__ import annotations

import pytest

from tests.conformance.levels import Pair


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Level by level instead of test by test, in the places that these tests have: others stay where they are."""
    places = [n for n, item in enumerate(items) if isinstance(_pair(item), Pair)]
    levels: dict[int, list[pytest.Item]] = {}
    for place in places:
        levels.setdefault(id(_pair(items[place])), []).append(items[place])
    grouped = (item for group in levels.values() for item in group)
    for place, item in zip(places, grouped, strict=True):
        items[place] = item


def _pair(item: pytest.Item) -> object:
    called = getattr(item, "callspec", None)
    return called.params.get("pair") if called else None
