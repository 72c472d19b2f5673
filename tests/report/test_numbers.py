"""How numbers are written."""

import pytest

from ablate.report import numbers


@pytest.mark.parametrize(("se", "places"), [(0.13, 2), (0.4, 1), (1.5, 1), (4.0, 0), (13.0, 0), (0.0021, 4), (0.029, 3)])  # fmt: skip
def test_digits_follow_the_standard_error(se, places):
    assert numbers.decimals([se]) == places


def test_digits_without_any_error_are_the_default():
    assert numbers.decimals([None, 0.0], default=3) == 3


def test_numbers_carry_a_true_minus_and_never_a_negative_zero():
    assert numbers.number(-1.234, 2) == "−1.23"
    assert numbers.number(-0.0001, 2, sign=True) == "0.00"
    assert numbers.number(12345.6, 0) == "12\u202f346"
    assert numbers.number(None, 2) == "–"


def test_p_values():
    shown = [numbers.p_value(p) for p in (None, 0.0, 0.0004, 0.0123, 0.5, 1.0)]
    assert shown == ["–", "<.001", "<.001", ".012", ".500", "1"]


def test_quantities_and_durations():
    assert [numbers.quantity(x) for x in (0, 950, 12_345, 2.5e9)] == ["0", "950", "12.3 k", "2.5 B"]
    assert [numbers.quantity(x, measured=True) for x in (0, 241.3, 18_000)] == ["0.00", "241", "18.0 k"]
    assert [numbers.duration(x) for x in (12.34, 600, 86400)] == ["12.3 s", "10 min", "24 h"]
