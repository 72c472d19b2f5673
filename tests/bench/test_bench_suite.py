"""Parts of a suite: one that fails, hangs or does not fit takes nothing else with it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from ablate.bench import suite
from ablate.bench.errors import BenchError
from ablate.cli import app
from ablate.recipe import preset


def test_parts_end_on_their_own(tmp_path: Path) -> None:
    heard: list[str] = []
    begun = time.monotonic()
    good, wrong = ("knobs", "--help"), ("status", "no-such-study")
    forever = ("bench", "plumbing", "--steps", "1000000")
    found = suite.run(
        [suite.Part("good", good, 1), suite.Part("wrong", wrong, 1)],
        [suite.Part("too long", good, 3600), suite.Part("hangs", forever, 1), suite.Part("late", good, 5)],
        tmp_path / "out", 0.2, heard.append,
    )  # fmt: skip
    assert [one.state for one in found] == ["done", "failed", "left out", "out of time", "left out"]
    assert time.monotonic() - begun < 60
    assert "Usage" in (tmp_path / "out" / "good.json").read_text()
    assert "no-such-study" in (tmp_path / "out" / "wrong.log").read_text()
    kept = json.loads((tmp_path / "out" / "outcomes.json").read_text())
    assert [one["name"] for one in kept] == ["good", "wrong", "too long", "hangs", "late"]
    assert len(heard) == 5


@pytest.mark.parametrize(
    "part", [*suite.to_compile(), *suite.parts("/texts/*.txt")], ids=lambda part: part.name
)
def test_every_part_is_a_command_that_a_gpu_would_run(part: suite.Part) -> None:
    """Without one it ends at that, so its options are known and its recipe is possible."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    ended = CliRunner().invoke(app, [*part.arguments, "--format", "json"])
    assert isinstance(ended.exception, BenchError), ended.output
    assert "--device cuda needs a CUDA device" in str(ended.exception)


def test_parts_have_as_many_tokens_of_either_length() -> None:
    rows, long_rows, length = int(suite.SHORT[1]), int(suite.LONG[1]), int(suite.LONG[3])
    assert rows * preset("crammed-bert").data.length == long_rows * length


def test_without_a_gpu_nothing_begins(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(BenchError, match="needs a CUDA device"):
        suite.measure("*.txt", tmp_path / "out", 1, lambda text: None)
    assert not (tmp_path / "out").exists()
