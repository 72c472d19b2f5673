"""A step by itself, without a trial around it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ablate.bench.subjects import tokens_to_learn
from ablate.training.initial import build
from ablate.training.step import Forward, Step
from tests.training.tiny import tiny

CPU = torch.device("cpu")
READS = {"aten._local_scalar_dense.default", "aten.nonzero.default", "aten.equal.default"}


class Reads(TorchDispatchMode):
    """Notes the operations that wait for a device, because the host needs their result."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func) in READS:
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("changes", "waits"),
    [({}, False), ({"train.modifier": "sam"}, False), ({"train.modifier": "lars"}, False),
     ({"train.averaging": "ema"}, False), ({"train.precision": "bf16"}, False), ({"train.clip": None}, False),
     ({"train.batch_rule": "noise-scale"}, True), ({"train.precision": "fp16"}, True)],
)  # fmt: skip
def test_a_step_reads_nothing_from_the_device_but_for_a_rule_or_a_scale(changes: dict, waits: bool):
    recipe = tiny(changes)
    step = Step(Forward(recipe.train, build(recipe, seed=0, vocabulary=64)))
    batch = tokens_to_learn(recipe, 4, 64, CPU)
    with Reads() as reads:
        for planned, taken in ((1, 1), (2, 2), (3, 2)):  # the last is cut short
            step.begin(planned, 4)
            for _ in range(taken):
                step.backward(step.loss(batch))
            step.update()
    assert bool(reads.seen) == waits
    assert (step.cut, step.sequences) == (1, 8)
