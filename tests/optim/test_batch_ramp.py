"""The batch ramp against the reference's numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.optim import batch_size


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
