"""What `report` and `table` may not load: they answer in about a second because they do not."""

import subprocess
import sys

import pytest

from ..analysis import synthetic

PROGRAM = """
import sys
from pathlib import Path
from ablate import report
{call}
print(*sorted(set({names}) & set(sys.modules)))
"""


def loaded(call, names):
    program = PROGRAM.format(call=call, names=names)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split("\n")[-2]


@pytest.fixture
def root(tmp_path):
    frozen = synthetic.study()
    return synthetic.write(tmp_path, frozen, synthetic.records(frozen))


def test_a_table_needs_none_of_the_heavy_packages(root):
    names = (
        "torch",
        "lightning",
        "wandb",
        "optuna",
        "pandas",
        "scipy.stats",
        "statsmodels",
        "plotly",
        "jinja2",
    )
    assert loaded(f"report.render_table(Path({str(root)!r}), 'latex')", names) == ""


def test_a_report_needs_neither_torch_nor_lightning(root):
    names = ("torch", "lightning", "wandb", "optuna", "scipy.stats", "statsmodels")
    assert loaded(f"report.write_report(Path({str(root)!r}))", names) == ""
