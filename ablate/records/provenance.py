"""Where a record comes from: machine, package versions, code revision. Imports nothing heavy.

Nothing here reads the environment's variables, so no secret can reach a record.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil

PACKAGES = (
    "ablate-bert", "torch", "lightning", "optuna", "wandb", "datasets", "tokenizers", "numpy", "pandas",
    "pydantic", "scipy", "scikit-learn", "statsmodels", "safetensors", "pyarrow",
)  # fmt: skip
_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


@cache
def provenance() -> dict[str, dict[str, Any]]:
    """The `hardware`, `versions` and `git` parts of a record; gathered once per process."""
    return {"hardware": hardware(), "versions": versions(), "git": git()}


# --- machine -----------------------------------------------------------------------------------------


def hardware() -> dict[str, Any]:
    """Host, CPU, cores this process may use, memory in bytes, GPUs by name (empty without a driver)."""
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cpu_flags": cpu_flags(),
        "cores": usable_cores(),
        "cores_present": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "memory_limit_bytes": memory_limit(),
        "gpus": gpus(),
    }


def cpu_model() -> str:
    """The processor's name, as the system tells it."""
    named = _cpuinfo("model name") or platform.processor()
    return named or platform.machine()


def cpu_flags() -> list[str]:
    """Which of the vector extensions that decide training speed the processor has."""
    present = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return [flag for flag in _CPU_FLAGS if flag in present]


def _cpuinfo(key: str) -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith(key)), "")
    except OSError:
        return ""


def usable_cores() -> int:
    """Cores this process may run on: a container or a pinned process has fewer than the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_limit() -> int | None:
    """The memory limit in bytes of the container this runs in, or None."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        # Version 1 writes a number near 2^63 for "no limit".
        if text.isdigit() and int(text) < psutil.virtual_memory().total:
            return int(text)
    return None


def gpus() -> list[dict[str, Any]]:
    """Name, memory in bytes and driver of every NVIDIA GPU; empty when there is no driver."""
    fields = "name,memory.total,driver_version"
    answer = _output(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"])
    found = []
    for line in (answer or "").splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 3:
            memory = int(cells[1]) * 2**20 if cells[1].isdigit() else None
            found.append({"name": cells[0], "memory_bytes": memory, "driver": cells[2]})
    return found


# --- software ----------------------------------------------------------------------------------------


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Installed versions, from the packages' metadata: nothing is imported. Absent ones are left out."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git(folder: Path | None = None) -> dict[str, Any]:
    """Revision of the checkout that holds a folder (this package's by default), and its changes as a hash.

    Empty when the folder is tracked by no checkout or git is absent. Only changes below the folder count as
    dirty: notes and runs beside the package change no result. `diff` is the SHA-256 of the tracked changes
    and of the names and contents of untracked files, so that two dirty trees can be told apart.
    """
    folder = folder or Path(__file__).resolve().parents[1]
    # An installed package may lie inside a checkout of something else (a .venv in a project): not ours.
    if not _git(folder, "ls-files", "--", "."):
        return {}
    revision = (_git(folder, "rev-parse", "HEAD") or "").strip()
    status = _git(folder, "status", "--porcelain", "--untracked-files=all", "--", ".") or ""
    return {"revision": revision, "dirty": bool(status)} | ({"diff": _diff_hash(folder)} if status else {})


def _diff_hash(folder: Path) -> str:
    changes = _git(folder, "diff", "HEAD", "--no-ext-diff", "--no-color", "--binary", "--", ".") or ""
    digest = hashlib.sha256(changes.encode())
    untracked = _git(folder, "ls-files", "--others", "--exclude-standard", "-z", "--", ".") or ""
    for name in sorted(filter(None, untracked.split("\0"))):
        digest.update(name.encode())
        try:
            digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
        except OSError:  # a dangling link, or a file that went away meanwhile
            continue
    return digest.hexdigest()


def _git(folder: Path, *arguments: str) -> str | None:
    # Optional locks off: reading the status must not disturb a commit that is under way.
    return _output(["git", "--no-optional-locks", "-C", str(folder), *arguments])


def _output(command: list[str]) -> str | None:
    """What a command prints, or None when it is absent, fails or takes more than ten seconds."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, timeout=10, check=True, stdin=subprocess.DEVNULL)
    except (subprocess.SubprocessError, OSError):
        return None
    return done.stdout.decode(errors="replace")


# --- secrets -----------------------------------------------------------------------------------------


def redact(url: str) -> str:
    """A storage URL without its password and without query values: `postgresql://user:***@host/db`.

    Text that is no URL comes back as it is.
    """
    try:
        parts = urlsplit(url)
        secret = parts.password is not None
    except ValueError:
        return "***"  # cannot be taken apart, so cannot be shown
    if not parts.scheme or not parts.netloc:
        return url
    netloc = parts.netloc
    if secret:
        credentials, _, host = netloc.rpartition("@")
        netloc = f"{credentials.split(':', 1)[0]}:***@{host}"
    query = "&".join(f"{pair.split('=', 1)[0]}=***" for pair in parts.query.split("&")) if parts.query else ""
    return urlunsplit((parts.scheme, netloc, parts.path, query, ""))
