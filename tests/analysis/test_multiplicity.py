"""Holm's correction against the textbook and statsmodels."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from ablate.analysis.multiplicity import holm

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_a_hand_worked_family():
    # .01×3, then max(.03, .02×2), then max(.04, .04×1).
    assert holm({"a": 0.02, "b": 0.01, "c": 0.04}) == pytest.approx({"a": 0.04, "b": 0.03, "c": 0.04})


@settings(deadline=None, max_examples=30)
@given(p_values)
def test_holm_agrees_with_statsmodels(values):
    found = holm({str(i): p for i, p in enumerate(values)})
    assert list(found.values()) == pytest.approx(list(multipletests(values, method="holm")[1]))


@settings(deadline=None)
@given(p_values)
def test_a_member_without_a_p_value_counts_as_one_that_is_certain_to_be_null(values):
    named = {str(i): p for i, p in enumerate(values)}
    found = holm({**named, "lost": None})
    expected = holm({**named, "lost": 1.0})
    assert found.pop("lost") is None
    assert found == pytest.approx({name: expected[name] for name in named})


def test_an_empty_family_is_empty():
    assert holm({}) == {}
