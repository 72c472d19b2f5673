from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ablate.budget import Spent
from ablate.training.progress import Progress


def test_progress_survives_json():
    told = Progress("pretrain", 0.4, loss=5.0, spent=Spent(seconds=2.0, steps=7, tokens=90), eta_seconds=3.0)
    assert Progress.from_dict(json.loads(json.dumps(told.to_dict()))) == told


def test_keys_of_a_newer_writer_are_ignored():
    told = {**Progress("evaluate", 1.0).to_dict(), "mood": "good", "spent": {"seconds": 1.0, "joules": 3}}
    assert Progress.from_dict(told).spent == Spent(seconds=1.0)


def test_an_unknown_phase_is_refused():
    with pytest.raises(ValueError, match="phase is one of data, pretrain, evaluate"):
        Progress.from_dict({"phase": "sleep", "progress": 0.0})


def test_progress_and_knobs_of_training_load_without_torch():
    code = (
        "import sys; from ablate.training import Progress, TrainConfig; TrainConfig();"
        " assert not {'torch', 'lightning', 'pandas'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
