"""A micro-batch that the device chooses: it fits, it divides the batch, it is remembered."""

import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ablate.training.filling import CPU_TOKENS, largest, sizes
from tests.training.tiny import run, tiny, tiny_data


@given(batch=st.integers(1, 65536))
def test_sizes_halve_the_batch_and_divide_it(batch: int):
    found = sizes(batch)
    assert found[-1] == batch
    assert all(2 * a == b for a, b in zip(found, found[1:], strict=False))
    assert found[0] % 2 == 1


@given(
    batch=st.integers(1, 8192), constant=st.floats(0, 1e3), share=st.floats(0.01, 10), room=st.floats(1, 1e5)
)
@example(batch=8192, constant=1000.0, share=0.01, room=1500.0)
def test_the_largest_that_fits_is_found_and_nothing_larger_is_tried(
    batch: int, constant: float, share: float, room: float
):
    tried = []

    def need(size: int) -> float:
        tried.append(size)
        return constant + share * size

    assume(all(abs(constant + share * size - room) > 1e-6 * room for size in sizes(batch)))
    fitting = [size for size in sizes(batch) if constant + share * size < room]
    assert largest(sizes(batch), need, room) == max(fitting, default=sizes(batch)[0])
    assert len([size for size in tried[2:] if size not in fitting]) == 0


def test_a_trial_remembers_what_it_chose_when_it_goes_on(tmp_path):
    data = tiny_data(tmp_path / "cache")
    recipe = tiny({"train.micro_batch": None, "train.batch": 1024, "train.ramp": 0.0})
    whole = run(tmp_path / "whole", data, "2 steps", recipe=recipe)
    assert whole.chosen == {"train.micro_batch": CPU_TOKENS // recipe.data.length}
    again = run(tmp_path / "whole", data, "2 steps", recipe=recipe)
    assert again.chosen == whole.chosen
    assert again.losses == whole.losses


def test_what_is_chosen_gives_the_result_of_writing_it_down(tmp_path):
    data = tiny_data(tmp_path / "cache")
    left = tiny({"train.micro_batch": None})
    written = tiny({"train.micro_batch": left.train.batch})
    assert written.train.batch * written.data.length <= CPU_TOKENS
    one = run(tmp_path / "one", data, "4 steps", recipe=left)
    two = run(tmp_path / "two", data, "4 steps", recipe=written)
    assert one.losses == two.losses
    assert two.chosen == {}


@pytest.mark.gpu
def test_a_gpu_is_filled_and_not_overfilled(tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    data = tiny_data(tmp_path / "cache")
    recipe = tiny({"train.micro_batch": None, "train.batch": 65536, "train.ramp": 0.0})
    found = run(tmp_path / "trial", data, "1 steps", recipe=recipe, device="cuda")
    total = torch.cuda.get_device_properties(0).total_memory
    assert found.metrics["cost/peak_memory_gib"] * 2**30 < 0.95 * total
