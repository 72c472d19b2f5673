"""The front holds what nothing beats, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from ablate.analysis.pareto import front

points = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1
)


@given(points, st.booleans(), st.booleans())
def test_every_point_off_the_front_is_beaten_by_one_on_it_and_none_on_it_is(drawn, up, right):
    found = front(drawn, [up, right])

    def beats(a, b):
        sides = [x - y if higher else y - x for x, y, higher in zip(a, b, (up, right), strict=True)]
        return min(sides) >= 0 and max(sides) > 0

    assert found
    for name, point in drawn.items():
        beaten = any(beats(drawn[other], point) for other in found)
        assert beaten == (name not in found)


def test_the_front_is_told_best_first():
    drawn = {
        "slow and good": (3.0, 1.0),
        "fast and bad": (1.0, 9.0),
        "beaten": (0.5, 8.0),
        "middle": (2.0, 5.0),
    }
    assert front(drawn, [True, True]) == ["slow and good", "middle", "fast and bad"]
    assert front(drawn, [False, True]) == ["beaten", "fast and bad"]
