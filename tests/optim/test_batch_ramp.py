"""The batch ramp against the reference's numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.optim import batch_size
from ablate.optim.batch import stages


@pytest.mark.parametrize(
    ("progress", "size"),
    [(0, 128), (0.1, 1408), (0.3, 4224), (0.5, 6912), (0.6, 8192), (0.8, 8192), (1, 8192)],
)
def test_the_ramp_is_the_references(progress: float, size: int):
    assert batch_size(progress, 8192, 0.6, 128) == size


def test_no_ramp_is_the_full_batch_at_once():
    assert batch_size(0.0, 8192, 0.0, 128) == 8192


@given(
    progress=st.floats(0, 1), later=st.floats(0, 1), ramp=st.floats(0, 1),
    count=st.integers(1, 64), micro=st.sampled_from([1, 32, 96, 128]),
)  # fmt: skip
def test_the_batch_grows_in_whole_micro_batches(progress, later, ramp, count, micro):
    batch = count * micro
    size = batch_size(progress, batch, ramp, micro)
    assert size % micro == 0
    assert micro <= size <= batch
    assert batch_size(max(progress, later), batch, ramp, micro) >= size


@pytest.mark.parametrize("ramp", [0.0, 0.25, 0.6, 1.0])
@pytest.mark.parametrize("count", [1, 5, 32])
def test_stages_are_the_ramps_shares_of_the_budget(ramp: float, count: int):
    found, points = stages(32 * count, ramp, 32), 4000
    sizes = [batch_size((i + 0.5) / points, 32 * count, ramp, 32) // 32 for i in range(points)]
    assert sum(share for share, _ in found) == pytest.approx(1)
    for n in range(1, count + 1):
        assert sizes.count(n) / points == pytest.approx(sum(s for s, m in found if m == n), abs=2 / points)


def test_a_micro_batch_larger_than_the_batch_is_one():
    assert stages(100, 0.6, 128) == [(1.0, 1)]
