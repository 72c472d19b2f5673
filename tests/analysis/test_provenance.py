"""The machine in a few words."""

from typing import Any

import pytest

from ablate.analysis.provenance import device


@pytest.mark.parametrize(
    ("hardware", "words"),
    [
        ({"cpu": "EPYC", "cores": 1, "cores_present": 2}, "EPYC, 1 of 2 cores a trial"),
        ({"cpu": "EPYC", "cores": 2, "cores_present": 2}, "EPYC, 2 cores"),
        ({"cpu": "EPYC", "cores": 1, "cores_present": 1}, "EPYC, 1 core"),
        ({"cpu": "EPYC", "cores": 4}, "EPYC, 4 cores"),
        ({"cpu": "EPYC"}, "EPYC"),
        ({"cpu": "EPYC", "cores": 8, "gpus": [{"name": "H100"}, {"name": "H100"}]}, "2 × H100"),
        ({}, "not recorded"),
    ],
)
def test_cores_are_those_a_trial_had(hardware: dict[str, Any], words: str) -> None:
    assert device(hardware) == words
