import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from ablate import doctor as room
from ablate.doctor import Check, Doctor, data, disk, doctor, levels, memory, packages, storage, wandb
from ablate.model import precision
from ablate.model.precision import PRECISIONS

KEY = "0123456789abcdef" * 3


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Doctor:
    return doctor(tmp_path_factory.mktemp("runs"), environ={"WANDB_API_KEY": KEY, "HOME": "/nonexistent"})


def test_importing_the_doctor_leaves_torch_alone() -> None:
    code = (
        "import sys, ablate.doctor; print([m for m in ('torch', 'lightning', 'wandb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_topic_is_covered(found: Doctor) -> None:
    topics = {check.topic.split(":")[0] for check in found.checks}
    assert {
        "python",
        "packages",
        "cpu",
        "fp32",
        "bf16",
        "cuda",
        "memory",
        "disk",
        "storage",
        "W&B",
        "data",
    } <= topics


def test_every_obstacle_says_the_way_out(found: Doctor) -> None:
    assert all(check.remedy for check in found.checks if check.state == "no")


def test_both_precisions_are_measured_here(found: Doctor) -> None:
    speeds = {
        c.topic: c.facts["flops_per_second"] for c in found.checks if c.topic in ("fp32", "bf16") and c.facts
    }
    assert all(speed > 0 for speed in speeds.values())
    assert "fp32" in speeds


def test_every_level_of_precision_is_native_emulated_or_unavailable_with_a_reason(found: Doctor) -> None:
    support = {c.topic: c for c in found.checks if c.facts.get("support") and c.facts["device"] == "cpu"}
    assert {*support, "fp32", "bf16"} == {cls().kind for cls in PRECISIONS}
    assert {kind for kind, c in support.items() if c.facts["support"] == "unavailable"} == {"tf32"}
    assert {"fp8", "int8-emulated", "int4", "ternary", "binary"} <= {
        kind for kind, c in support.items() if c.facts["support"] == "emulated"
    }
    assert all(": " in c.found.removeprefix("cpu: ") for c in support.values() if "native" not in c.found)
    assert all("no claim" in c.found for c in support.values() if c.facts["support"] == "emulated")


def test_without_torchao_its_levels_are_unavailable_and_say_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision.importlib.util, "find_spec", lambda name: None)
    lines = {c.topic: c for c in levels("cpu")}
    for kind in ("fp8", "int8"):
        assert lines[kind].facts["support"] == "unavailable"
        assert "pip install 'ablate-bert[quantization]'" in lines[kind].found
    assert lines["int8-emulated"].facts["support"] == "emulated"


def test_the_json_rendering_is_json_and_holds_no_key(found: Doctor) -> None:
    text = json.dumps(found.to_dict())
    assert json.loads(text)["healthy"] == found.healthy
    assert KEY not in text + str(found)


def test_text_and_rich_renderings_show_the_same_lines(found: Doctor) -> None:
    console = Console(width=400, file=None, record=True, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(found)
    squeezed = [" ".join(line.split()) for line in capture.get().splitlines()]
    assert squeezed == [" ".join(line.split()) for line in str(found).splitlines()]


def test_one_obstacle_makes_the_machine_unhealthy_and_an_absence_does_not() -> None:
    good, absent, bad = Check("a", "yes", ""), Check("b", "absent", ""), Check("c", "no", "", "do this")
    assert Doctor((good, absent)).healthy
    assert not Doctor((good, bad)).healthy
    assert str(Doctor((bad,))).startswith("✗ c")
    assert str(Doctor((bad,))).endswith("→ do this")


def test_a_distribution_that_is_not_installed_is_an_obstacle() -> None:
    (check,) = packages("no-such-distribution-here")
    assert (check.state, check.remedy) == ("no", "pip install -e .")


def test_a_package_outside_the_required_range_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        room.metadata,
        "requires",
        lambda name: ["numpy>=99", "rich>=1", "absent-thing>=1", "x; extra == 'dev'"],
    )
    lines = {check.found.split()[0]: check.remedy for check in packages()}
    assert lines == {"numpy": 'pip install "numpy>=99"', "absent-thing": 'pip install "absent-thing>=1"'}


def test_login_is_reported_by_its_place_alone(tmp_path: Path) -> None:
    check = wandb({"WANDB_API_KEY": KEY, "HOME": str(tmp_path)})
    assert check.state == "yes"
    assert "WANDB_API_KEY" in check.found
    assert wandb({"HOME": str(tmp_path)}).remedy == "`wandb login`"


def test_a_runs_folder_that_does_not_exist_yet_is_judged_by_its_parent(tmp_path: Path) -> None:
    assert disk(tmp_path / "not" / "yet").facts["free_bytes"] > 0
    assert storage(tmp_path / "not" / "yet").facts["sqlite"]
    assert not (tmp_path / "not").exists()


def test_memory_is_reported_in_bytes() -> None:
    facts = memory().facts
    assert 0 < facts["available_bytes"] <= facts["total_bytes"]


def make_task(folder: Path, *splits: str) -> None:
    folder.mkdir(parents=True)
    for split in splits:
        (folder / f"{split}.parquet").touch()


def test_only_sources_and_tasks_with_both_splits_count(tmp_path: Path) -> None:
    make_task(tmp_path / "text" / "wikipedia", "train", "validation")
    make_task(tmp_path / "glue" / "cola", "train", "validation")
    make_task(tmp_path / "glue" / "qnli", "validation")
    check = data({"ABLATE_DATA": str(tmp_path)})
    assert (check.state, check.found) == ("yes", "text: wikipedia; glue: cola")


def test_data_that_is_not_there_says_what_was_expected(tmp_path: Path) -> None:
    assert data({}).state == "absent"
    assert data({"ABLATE_DATA": str(tmp_path / "gone")}).state == "no"
    check = data({"ABLATE_DATA": str(tmp_path)})
    assert check.state == "no"
    assert "train.parquet" in check.remedy
