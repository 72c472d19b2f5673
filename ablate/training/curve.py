"""The curve of a trial: a few hundred rows of what it did, written whole and atomically as parquet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ablate.records.store import write_bytes

COLUMNS = (
    "step", "tokens", "seconds", "flops", "loss", "lr", "batch", "grad_norm", "tokens_per_second",
    "mfu", "memory_gib", "energy_kwh",
)  # fmt: skip
_INTEGERS = ("step", "tokens", "batch")

Row = dict[str, float]


def write(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write `curve.parquet`. Raises OSError when the disk is full."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    fields = [(name, pa.int64() if name in _INTEGERS else pa.float64()) for name in COLUMNS]
    columns = {name: [_number(row.get(name, math.nan)) for row in rows] for name in COLUMNS}
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns, schema=pa.schema(fields)), sink)
    write_bytes(path, sink.getvalue().to_pybytes())


def _number(value: float | str) -> float:
    """A stored number; JSON keeps a non-finite one as text."""
    return float(value) if isinstance(value, str) else value


def tail_mean(losses: Sequence[float], share: float = 0.05) -> float:
    """Mean of the last share of a list, of one value at least; NaN of an empty one."""
    if not losses:
        return math.nan
    count = max(1, math.ceil(len(losses) * share))
    return math.fsum(losses[-count:]) / count
