"""The cost of every precision, measured in a process of its own."""

from __future__ import annotations

import pytest

from ablate.bench import precision
from ablate.knobs import kind_of, replace
from ablate.model.precision import PRECISIONS
from tests.conformance.levels import tiny


@pytest.mark.filterwarnings("ignore")  # of torchao's extensions, once per process
def test_every_precision_has_its_row_or_its_reason() -> None:
    recipe = replace(tiny(), {"train.micro_batch": 16, "train.batch": 16})
    heard: list[str] = []
    table, without = precision.costs(recipe, rounds=1, steps=1, rows=16, vocabulary=64, tell=heard.append)
    named = [cost.precision for cost in table] + [line.split(":")[0] for line in without]
    assert sorted(named) == sorted(kind_of(cls) for cls in PRECISIONS)
    assert len(heard) == len(table)
    assert all(cost.first_step > 0 and cost.step > 0 and cost.memory_mib > 0 for cost in table)
    emulated = {cost.precision for cost in table if cost.support != "native"}
    assert {"int8-emulated", "int4", "ternary", "binary"} <= emulated
    page = precision.markdown(table, without)
    assert all(f"| {cost.precision} |" in page for cost in table)
    assert all(f"Not here: {line}." in page for line in without)


def test_a_measurement_that_fails_says_so() -> None:
    with pytest.raises(precision.BenchError, match="ended without a result"):
        precision._apart(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
