"""Who waits for the device: no step does, and a trial does only for what it logs.

On the meta device there are no numbers, so that reading one is an error: what runs there never makes a host
wait. It takes neither autocast nor fused updates, which read nothing either.
"""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from ablate.bench.candidates import candidates
from ablate.bench.subjects import tokens_to_learn
from ablate.data import Prepared
from ablate.knobs import replace
from ablate.recipe import Recipe, preset
from ablate.training.initial import build
from ablate.training.step import Forward, Step
from tests.training.tiny import run, tiny

META, ROWS, VOCABULARY = torch.device("meta"), 4, 128
SMALL = replace(
    preset("crammed-small"),
    {
        "model.layers": 3, "model.width": 32, "model.intermediate": 64, "model.heads": 2, "data.length": 64,
        "train.micro_batch": ROWS, "train.batch": 2 * ROWS, "train.precision": "fp32",
    },
)  # fmt: skip
LEVELS = {"the default": SMALL, **{level.name: level.recipe for level in candidates(SMALL).candidates}}
# Levels whose step reads a number from the device, and what for.
READING = {
    "train.optimizer=adafactor": "the norms of weights and updates: torch's own step reads two a tensor",
    "train.batch_rule=noise-scale": "the norms of a first and of the mean gradient",
    "train.batch_rule=norm-test": "the norms of a first and of the mean gradient",
    "train.length_curriculum=truncate": "how many predicted positions the shorter rows hold",
    "train.precision=fp16": "whether a gradient overflowed, as every loss scaler does",
    "train.precision=fp16-scaled": "whether a gradient overflowed, as every loss scaler does",
}
NOT_ON_META = {
    "train.optimizer=adamw-8bit": "reads torchao's levels once, before the first step",
    "train.optimizer=adamw-4bit": "reads torchao's levels once, before the first step",
    "train.precision=tf32": "fp32 but for a switch of the GPU",
}


@pytest.fixture
def meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast has no meta device; it casts, and reads nothing."""
    cast = torch.autocast
    monkeypatch.setattr(
        torch, "autocast", lambda device, *rest, **more: cast(device.replace("meta", "cpu"), *rest, **more)
    )


def two_steps(recipe: Recipe) -> None:
    """The first of two micro-batches, on the meta device, where a pass is a tenth of a second of Python."""
    model = build(recipe, seed=0, vocabulary=VOCABULARY).to(META)
    recipe.train.precision.prepare(model, torch.device("cpu"))
    step = Step(Forward(recipe.train, model))
    for group in step.optimizer.param_groups:
        if group.get("fused"):
            group["fused"] = False
    batch = tokens_to_learn(recipe, ROWS, VOCABULARY, META)
    if recipe.train.length_curriculum is not None:
        batch = recipe.train.length_curriculum.cut(batch, recipe.data.length // 2)
    for micro_batches in (2, 1):
        step.begin(micro_batches, ROWS)
        for _ in range(micro_batches):
            step.backward(step.loss(batch))
        step.update()
        if step.average is not None:
            step.average.update(step.parameters, 0.5)


@pytest.mark.usefixtures("meta")
@pytest.mark.parametrize(
    "level", [name for name in LEVELS if name not in READING and name not in NOT_ON_META]
)
def test_no_step_waits_for_the_device(level: str) -> None:
    two_steps(LEVELS[level])


@pytest.mark.usefixtures("meta")
@pytest.mark.parametrize("level", READING)
def test_what_reads_is_known(level: str) -> None:
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        two_steps(LEVELS[level])


class Reading(TorchFunctionMode):
    """Counts the calls that hand a tensor's numbers to the host."""

    CALLS = ("item", "tolist", "cpu", "numpy", "nonzero", "__float__", "__int__", "__bool__", "__index__")

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in self.CALLS:
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


def reads_of(data: Prepared, folder: Path, steps: int) -> Counter[str]:
    with Reading() as reading:
        found = run(folder, data, f"{steps} steps", recipe=tiny({"train.ramp": 0.0}))
    assert found.spent.steps == steps
    return reading.seen


def test_a_trial_reads_for_its_rows_and_not_for_its_steps(data: Prepared, tmp_path: Path) -> None:
    # Both log a row per hundredth of the budget, so twice the steps are as many rows.
    few, many = (reads_of(data, tmp_path / str(steps), steps) for steps in (100, 200))
    assert few.total() > 100, "rows are read"
    # On a CPU, where it costs nothing, the judge of divergence looks at every step; on a GPU once a second.
    assert many - few == {"tolist": 100}


@pytest.mark.gpu
def test_cuda_sees_no_wait_in_steps_that_log_nothing(data: Prepared, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    counts = []
    for steps in (200, 1200):
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                recipe = tiny({"train.ramp": 0.0, "train.precision": "bf16"})
                run(tmp_path / str(steps), data, f"{steps} steps", recipe=recipe, device="cuda")
        finally:
            torch.cuda.set_sync_debug_mode("default")
        counts.append(sum("synchronizing CUDA operation" in str(w.message) for w in told))
    assert counts[1] - counts[0] < 100, "a look a second at the loss, and the heartbeat's"
