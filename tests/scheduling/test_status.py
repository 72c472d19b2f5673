"""Status from files alone."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from ablate.records import StudyPaths, write_json
from ablate.records.store import RecordError
from ablate.scheduling.show import render
from ablate.scheduling.status import status
from tests.scheduling.conftest import study

FIELDS = {"study": "faults", "arm": "baseline", "block": 0, "seed": 0, "recipe": {}, "budget": {}}


def test_a_fresh_study_waits_and_its_end_is_estimated_from_the_budget(root: Path) -> None:
    study(root, {"baseline": {}}, blocks=3, run={"workers": 3})
    found = status(root)
    assert found.counts == {"waiting": 3}
    assert found.eta_seconds == 10.0


def test_the_end_is_estimated_from_what_finished_trials_took(root: Path) -> None:
    study(root, {"baseline": {}}, blocks=3)
    record = {"schema": 1, **FIELDS, "trial": "baseline-0", "state": "complete", "spent": {"occupied": 40.0}}
    write_json(StudyPaths(root).trial("baseline-0").record, {**record, "metrics": {"test/score": 3.5}})
    found = status(root)
    assert found.eta_seconds == 80.0
    assert found.trials[0].outcome == 3.5
    assert found.spent("occupied") == 40.0


def test_how_to_bring_an_offline_run_online_is_shown(root: Path) -> None:
    study(root, {"baseline": {}}, blocks=1)
    record = {
        "schema": 1,
        **FIELDS,
        "trial": "baseline-0",
        "state": "complete",
        "tracking": {"sync": "wandb sync x"},
    }
    write_json(StudyPaths(root).trial("baseline-0").record, record)
    found = status(root)
    assert found.trials[0].sync == "wandb sync x"
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(render(found))
    assert f"1 trials were tracked offline; to bring them online: ablate sync {root}" in console.export_text()


def test_a_folder_without_a_study_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"study\.json does not exist"):
        status(tmp_path)


def test_status_writes_nothing_and_imports_neither_torch_nor_optuna(root: Path) -> None:
    study(root, {"baseline": {}}, blocks=1)
    before = sorted(p.name for p in root.rglob("*"))
    code = (
        "import sys; from pathlib import Path; from ablate.scheduling.status import status; "
        "status(Path(sys.argv[1])); assert not {'torch', 'optuna', 'lightning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(root)], check=True)
    assert sorted(p.name for p in root.rglob("*")) == before
