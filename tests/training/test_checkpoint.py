from __future__ import annotations

import json
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ablate.training import checkpoint
from ablate.training.checkpoint import CheckpointError

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
nested = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers() | st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


@contextmanager
def largest_file(size: int):
    """No file may grow beyond `size` bytes: to the writer it looks like a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def trained(seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Linear(6, 6)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), fused=True)
    model(torch.randn(4, 6)).square().sum().backward()
    optimizer.step()
    return model, optimizer


def save(folder: Path, step: int, seed: int = 0, **how) -> Path:
    model, optimizer = trained(seed)
    tensors = {"losses": torch.tensor([float(step)])}
    return checkpoint.save(
        folder, step=step, model=model, optimizer=optimizer, state={"note": step}, tensors=tensors, **how
    )


@given(nested)
def test_plain_values_come_back_as_they_were(value):
    stored = json.loads(json.dumps(checkpoint.split(value, {})))
    assert checkpoint.join(stored, {}) == value


def test_an_optimizer_comes_back_bit_for_bit(tmp_path: Path):
    path = save(tmp_path, 7)
    _, optimizer = trained()
    found = checkpoint.read(path).optimizer
    assert found is not None
    assert found["param_groups"] == optimizer.state_dict()["param_groups"]
    for index, state in optimizer.state_dict()["state"].items():
        for name, tensor in state.items():
            assert torch.equal(found["state"][index][name], tensor)


def test_weights_come_back_into_a_fresh_model(tmp_path: Path):
    path = save(tmp_path, 7)
    fresh, _ = trained(seed=1)
    checkpoint.load_weights(fresh, checkpoint.read(path).model)
    assert torch.equal(fresh.weight, trained()[0].weight)


def test_shared_weights_are_stored_once(tmp_path: Path):
    model = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    model[1].weight = model[0].weight
    assert set(checkpoint.weights(model)) == {"0.weight", "0.bias", "1.bias"}


def test_weights_of_another_model_are_refused(tmp_path: Path):
    found = checkpoint.read(save(tmp_path, 7)).model
    with pytest.raises(CheckpointError, match=r"weight is \(6, 6\), not \(6, 5\)"):
        checkpoint.load_weights(nn.Linear(5, 6), found)
    with pytest.raises(CheckpointError, match="bias"):
        checkpoint.load_weights(nn.Linear(6, 6, bias=False), found)


def test_nothing_in_a_checkpoint_is_a_pickle(tmp_path: Path):
    files = {file.suffix for file in save(tmp_path, 7).iterdir()}
    assert files == {".safetensors", ".json"}


def test_the_last_two_are_kept(tmp_path: Path):
    for step in (5, 50, 500, 5000):
        save(tmp_path, step)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000500", "step-000005000"]


def test_a_finished_one_is_newer_than_one_of_the_same_step(tmp_path: Path):
    save(tmp_path, 9)
    save(tmp_path, 9, finished=True)
    found, _ = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.finished


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "empty"])
def test_a_torn_checkpoint_falls_back_to_the_one_before(tmp_path: Path, file: str, damage: str):
    save(tmp_path, 1)
    torn = save(tmp_path, 2) / file
    content = torn.read_bytes()
    middle = len(content) // 2
    changed = {
        "cut": content[:-9],
        "flipped": content[:middle] + b"\x00\xff" + content[middle + 2 :],
        "empty": b"",
    }
    if damage == "gone":
        torn.unlink()
    else:
        torn.write_bytes(changed[damage])
    found, damages = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.state["note"] == 1
    assert [d.path.name for d in damages] == ["step-000000002"]
    checkpoint.set_aside(damages)
    save(tmp_path, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000001", "step-000000003"]


def test_what_a_killed_writer_left_is_not_read_and_then_removed(tmp_path: Path):
    half = tmp_path / ".writing-1234"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    assert checkpoint.newest(tmp_path) == (None, [])
    save(tmp_path, 1)
    assert not half.exists()


def test_a_full_disk_is_told_and_leaves_the_older_ones(tmp_path: Path):
    save(tmp_path, 1)
    with largest_file(100), pytest.raises(CheckpointError, match="step 2 could not be written"):
        save(tmp_path, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000001"]
    assert checkpoint.newest(tmp_path)[1] == []


def test_a_folder_that_does_not_exist_holds_no_checkpoint(tmp_path: Path):
    assert checkpoint.newest(tmp_path / "none") == (None, [])
