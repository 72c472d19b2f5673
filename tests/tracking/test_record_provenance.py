import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.records.provenance import git, hardware, provenance, redact, versions


def checkout(folder: Path) -> Path:
    """A git repository with one committed file in `package/`."""
    package = folder / "package"
    package.mkdir(parents=True)
    (package / "code.py").write_text("a = 1\n")
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(folder), *command], check=True, capture_output=True)
    return package


def test_provenance_is_plain_json_and_names_what_decides_a_result() -> None:
    found = json.loads(json.dumps(provenance()))
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["memory_bytes"] > 0
    assert found["hardware"]["cpu"]
    assert {"python", "torch", "lightning", "optuna"} <= set(found["versions"])


def test_no_variable_of_the_environment_reaches_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "do-not-write-this")
    assert "do-not-write-this" not in json.dumps([hardware(), versions(), git()])


def test_provenance_imports_neither_torch_nor_lightning() -> None:
    code = (
        "import sys; from ablate.records.provenance import provenance; provenance();"
        "print([m for m in ('torch', 'lightning', 'wandb', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_absent_packages_are_left_out_of_the_versions() -> None:
    assert set(versions(["torch", "no-such-package-here"])) == {"python", "torch"}


def test_a_clean_checkout_has_a_revision_and_no_diff(tmp_path: Path) -> None:
    found = git(checkout(tmp_path))
    assert len(found["revision"]) == 40
    assert found == {"revision": found["revision"], "dirty": False}


def test_two_different_changes_have_two_hashes_and_the_same_change_one(tmp_path: Path) -> None:
    package = checkout(tmp_path)
    hashes = []
    for text in ("a = 2\n", "a = 3\n", "a = 2\n"):
        (package / "code.py").write_text(text)
        hashes.append(git(package)["diff"])
    assert hashes[0] == hashes[2] != hashes[1]


def test_a_new_file_counts_and_a_file_beside_the_package_does_not(tmp_path: Path) -> None:
    package = checkout(tmp_path)
    (tmp_path / "notes.txt").write_text("beside")
    assert not git(package)["dirty"]
    (package / "new.py").write_text("b = 1\n")
    first = git(package)
    (package / "new.py").write_text("b = 2\n")
    assert first["dirty"]
    assert first["diff"] != git(package)["diff"]


def test_a_package_inside_someone_elses_checkout_is_not_part_of_it(tmp_path: Path) -> None:
    checkout(tmp_path)
    installed = tmp_path / ".venv" / "package"
    installed.mkdir(parents=True)
    (installed / "code.py").write_text("a = 1\n")
    assert git(installed) == {}


def test_without_git_there_is_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = checkout(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git(package) == {}


def test_gpus_are_read_from_the_drivers_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771, 570.1'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert hardware()["gpus"] == [{"name": "NVIDIA H200", "memory_bytes": 143771 * 2**20, "driver": "570.1"}]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@host:5432/db", "postgresql://ann:***@host:5432/db"),
        ("postgresql+psycopg://ann:p@ss@host/db?password=x", "postgresql+psycopg://ann:***@host/db?password=***"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("sqlite:////runs/study/optuna.db", "sqlite:////runs/study/optuna.db"),
        ("runs/optuna.db", "runs/optuna.db"),
    ],
)  # fmt: skip
def test_a_password_is_redacted(url: str, shown: str) -> None:
    assert redact(url) == shown


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="/?#[]"), min_size=4))
def test_no_password_survives_redaction(password: str) -> None:
    shown = redact(f"postgresql://u:{password}@host/db")
    assert shown in ("postgresql://u:***@host/db", "***")
