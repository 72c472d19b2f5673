"""Every level compiles whole: Dynamo captures the loss of a micro-batch as one graph, whatever torch it is.

Captured and not compiled, which takes the compiler's time and is done by tests of some levels (tests/model). A
graph that breaks costs speed, and what Dynamo cannot trace at all leaves a trial uncompiled.
"""

from __future__ import annotations

import pytest
import torch

from ablate.bench.candidates import candidates
from ablate.bench.subjects import tokens_to_learn
from ablate.knobs import replace
from ablate.training.initial import build
from ablate.training.step import Forward
from tests.training.test_waiting import ROWS, SMALL, VOCABULARY

CPU = torch.device("cpu")
ROUNDED = replace(SMALL, {"train.precision": "bf16"})
LEVELS = {"the default": ROUNDED, **{level.name: level.recipe for level in candidates(ROUNDED).candidates}}
# A layer is left out or not by a number drawn outside of the graph, so that both ways are compiled once.
IN_SEVERAL = {"model.layer_drop=0.5"}
# The parts that take autocast into their own hands, or bring a gradient of their own.
REPRESENTATIVE = {
    "the default", "model.embedding_fp32=true", "model.attention=linear", "model.attention=fourier",
    *(name for name in LEVELS if name.startswith("train.precision=")),
}  # fmt: skip


def marked(name: str) -> object:
    marks = [pytest.mark.slow, *([pytest.mark.representative] if name in REPRESENTATIVE else [])]
    return pytest.param(name, marks=marks)


def test_what_is_named_exists() -> None:
    assert set(LEVELS) >= IN_SEVERAL | REPRESENTATIVE


@pytest.mark.parametrize("level", [marked(name) for name in LEVELS if name not in IN_SEVERAL])
def test_a_level_is_one_graph(level: str) -> None:
    recipe = LEVELS[level]
    precision = recipe.train.precision
    if not precision.supported(CPU).ok:
        pytest.skip(precision.supported(CPU).reason)
    model = build(recipe, seed=0, vocabulary=VOCABULARY)
    precision.prepare(model, CPU)
    forward = Forward(recipe.train, model)
    batch = tokens_to_learn(recipe, ROWS, VOCABULARY, CPU)
    torch.compiler.reset()
    objective = recipe.train.objective.build(model, recipe.train)
    captured = torch.compile(precision.compiles(objective), fullgraph=True, dynamic=False, backend="eager")
    with torch.random.fork_rng():
        expected = forward(batch)
    with precision.arithmetic("cpu"):
        loss = captured(*batch)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
