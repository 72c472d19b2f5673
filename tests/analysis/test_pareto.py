"""The front holds what nothing beats, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from ablate.analysis import analyze
from ablate.analysis.pareto import front

from . import synthetic

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


def test_findings_of_two_outcomes_hold_every_arm_and_what_is_on_the_front():
    speed = "throughput/tokens_per_second"
    frozen = synthetic.study(["slow", "fast", "worse"], tradeoff={"metric": speed, "higher_is_better": True})
    points = {"baseline": (70.0, 12e3), "slow": (75.0, 9e3), "fast": (66.0, 20e3), "worse": (69.0, 11e3)}
    records = [
        synthetic.record(arm, block, {synthetic.METRIC: score + block, speed: rate})
        for arm, (score, rate) in points.items()
        for block in range(2)
    ]
    records.append(synthetic.record("worse", 2, state="diverged"))
    found = analyze(frozen, records).front
    assert [(p.arm, p.on_front) for p in found.points] == [
        ("slow", True), ("baseline", True), ("fast", True), ("worse", False),
    ]  # fmt: skip
    assert found.points[0].outcome == 75.5  # the mean of its blocks
    assert {p.blocks for p in found.points} == {2}
    assert analyze(synthetic.study(), records).front is None
