"""What this machine can do: `ablate doctor`. Imports torch only inside the checks that need it; no network.

Every check is a line: ✓ there and usable, ✗ in the way (with the way out), – absent and not needed.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import psutil
from rich.table import Table
from rich.text import Text

from ablate.records import provenance
from ablate.tracking.login import find_login

DISTRIBUTION = "ablate-bert"
GIB = 2**30
_MARKS = {"yes": ("✓", "green"), "no": ("✗", "red"), "absent": ("–", "dim")}


@dataclass(frozen=True)
class Check:
    """One line: a topic, its state, what was found, and for ✗ (sometimes –) the way out."""

    topic: str
    state: Literal["yes", "no", "absent"]
    found: str
    remedy: str = ""
    facts: dict[str, Any] = field(default_factory=dict)  # the same as numbers, for the JSON rendering

    @property
    def mark(self) -> str:
        return _MARKS[self.state][0]


@dataclass(frozen=True)
class Doctor:
    """All checks of one machine."""

    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        """Whether a study can run here: no ✗."""
        return all(check.state != "no" for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """The JSON rendering."""
        return {"healthy": self.healthy, "checks": [asdict(check) for check in self.checks]}

    def __str__(self) -> str:
        rows = [f"{c.mark} {c.topic:<13} {c.found}{_arrow(c)}" for c in self.checks]
        return "\n".join(rows)

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for check in self.checks:
            mark, style = _MARKS[check.state]
            remedy = Text(_arrow(check), style="yellow" if check.state == "no" else "dim")
            table.add_row(
                Text(mark, style=style), Text(check.topic, style="bold"), Text(check.found) + remedy
            )
        return table


def _arrow(check: Check) -> str:
    return f" → {check.remedy}" if check.remedy else ""


def doctor(runs: Path = Path("runs"), *, environ: Mapping[str, str] = os.environ) -> Doctor:
    """Look at this machine; `runs` is where studies would be written. Takes a few seconds, mostly torch."""
    return Doctor((
        python(), *packages(), cpu(), *devices(), memory(), disk(runs), storage(runs), wandb(environ),
        data(environ), revision(),
    ))  # fmt: skip


# --- software ----------------------------------------------------------------------------------------


def python() -> Check:
    return Check("python", "yes", ".".join(map(str, sys.version_info[:3])))


def packages(distribution: str = DISTRIBUTION) -> list[Check]:
    """One line per package that is absent or outside the required range, or one line that all is well."""
    from packaging.requirements import Requirement

    try:
        needed = [Requirement(line) for line in metadata.requires(distribution) or []]
    except metadata.PackageNotFoundError:
        return [Check("packages", "no", f"{distribution} is not installed", "pip install -e .")]
    needed = [r for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    installed = {r.name: provenance.versions([r.name]).get(r.name) for r in needed}
    wrong = [
        r for r in needed if not (v := installed[r.name]) or not r.specifier.contains(v, prereleases=True)
    ]
    if not wrong:
        some = ", ".join(
            f"{n} {installed[n]}" for n in ("torch", "lightning", "optuna", "wandb") if n in installed
        )
        text = f"{some} and {len(installed) - some.count(',') - 1} more, as required"
        return [Check("packages", "yes", text, facts=dict(installed))]
    return [
        Check("packages", "no", f"{r.name} {installed[r.name] or 'is absent'}", f'pip install "{r}"')
        for r in wrong
    ]


def revision() -> Check:
    found = provenance.git()
    if not found:
        return Check("git", "absent", "not a checkout: records hold the package version alone")
    dirty = ", with changes (their hash goes into every record)" if found["dirty"] else ""
    return Check("git", "yes", f"{found['revision'][:12]}{dirty}", facts=found)


def wandb(environ: Mapping[str, str]) -> Check:
    """Login state from environment and netrc, without network; the key itself is never read out."""
    found = find_login(environ, Path(environ.get("HOME") or os.path.expanduser("~")))
    facts = {"server": found.server, "source": found.source}
    if found.source is None:
        return Check("W&B", "absent", "not logged in: runs stay offline on this disk", "`wandb login`", facts)
    text = f"key for {found.server} in {found.source} (not verified: that takes the network)"
    return Check("W&B", "yes", text, facts=facts)


# --- machine -----------------------------------------------------------------------------------------


def cpu() -> Check:
    flags = provenance.cpu_flags()
    facts = {"model": provenance.cpu_model(), "cores": provenance.usable_cores(), "flags": flags}
    threads = os.environ.get("OMP_NUM_THREADS")
    text = f"{facts['model']}, {facts['cores']} usable cores"
    text += f", OMP_NUM_THREADS={threads}" if threads else ""
    return Check("cpu", "yes", f"{text}, {' '.join(flags) or 'no wide vector units'}", facts=facts)


def memory() -> Check:
    # The small recipe trains under 2 GiB; one trial and the coordinator fit into 3.
    free = psutil.virtual_memory().available
    limit = provenance.memory_limit()
    facts = {"available_bytes": free, "total_bytes": psutil.virtual_memory().total, "limit_bytes": limit}
    room = min(free, limit) if limit else free
    text = f"{room / GIB:.1f} GiB available of {(limit or facts['total_bytes'] or 0) / GIB:.1f}"
    if room < 3 * GIB:
        return Check(
            "memory", "no", text, "a trial of the small recipe takes up to 2 GiB; use --workers 1", facts
        )
    return Check("memory", "yes", text, facts=facts)


def disk(runs: Path) -> Check:
    """Room and permission where the runs folder is or would be made."""
    place = _existing(runs)
    free = shutil.disk_usage(place).free
    facts = {"path": str(runs), "free_bytes": free}
    if not os.access(place, os.W_OK):
        return Check("disk", "no", f"{place} cannot be written", "choose another folder with --runs", facts)
    text, way = f"{free / GIB:.1f} GiB free at {runs}", "free some, or choose another folder with --runs"
    return (
        Check("disk", "no", text, way, facts) if free < 2 * GIB else Check("disk", "yes", text, facts=facts)
    )


def storage(runs: Path) -> Check:
    """The embedded database, and whether the file system under it keeps locks."""
    kind = _file_system(_existing(runs).resolve())
    facts = {"sqlite": sqlite3.sqlite_version, "file_system": kind}
    if kind.startswith(("nfs", "cifs", "smb", "9p", "fuse.sshfs")):
        way = "put the runs folder on a local disk, or use `run: {storage: postgresql://…}`"
        return Check("storage", "no", f"SQLite's locks are not reliable on {kind}", way, facts)
    return Check(
        "storage", "yes", f"SQLite {sqlite3.sqlite_version} on {kind or 'a local disk'}", facts=facts
    )


def _existing(path: Path) -> Path:
    path = path.absolute()
    return path if path.exists() else _existing(path.parent)


def _file_system(place: Path) -> str:
    mounts = [m for m in psutil.disk_partitions(all=True) if place.is_relative_to(m.mountpoint)]
    return max(mounts, key=lambda m: len(m.mountpoint)).fstype if mounts else ""


# --- devices -----------------------------------------------------------------------------------------


def devices() -> Iterator[Check]:
    """Every device that torch sees, how fast fp32 and bf16 are on it, and how it has the other precisions."""
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Check("torch", "no", f"cannot be imported ({error})", 'pip install "torch>=2.11"')
        return
    yield from precisions(torch, "cpu", size=768, label=f"cpu, {torch.get_num_threads()} threads")
    yield from levels("cpu")
    for index in range(torch.cuda.device_count()):
        yield from _cuda(torch, index)
    if not torch.cuda.is_available():
        yield _no_cuda(torch)


def _no_cuda(torch: Any) -> Check:
    found = provenance.gpus()
    if found and torch.version.cuda is None:
        text = f"{found[0]['name']} is here, but torch {torch.__version__} is built without CUDA"
        return Check("cuda", "no", text, "install a CUDA build of torch: https://pytorch.org/get-started")
    if found:
        return Check(
            "cuda", "no", f"{found[0]['name']} is here, but torch cannot use it", "check the driver's version"
        )
    return Check("cuda", "absent", "no GPU: small recipes only")


def _cuda(torch: Any, index: int) -> Iterator[Check]:
    properties = torch.cuda.get_device_properties(index)
    capability = f"{properties.major}.{properties.minor}"
    facts = {"name": properties.name, "memory_bytes": properties.total_memory, "capability": capability}
    text = f"{properties.name}, {properties.total_memory / GIB:.0f} GiB, capability {capability}"
    yield Check(f"cuda:{index}", "yes", text, facts=facts)
    yield from precisions(torch, f"cuda:{index}", size=4096, label=f"cuda:{index}")
    yield from levels(f"cuda:{index}")


def precisions(torch: Any, device: str, *, size: int, label: str) -> Iterator[Check]:
    """fp32 and bf16 by the speed of a square matmul; bf16 that is slower than fp32 says so."""
    rates: dict[str, float] = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        try:
            a, b = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
            rates[name] = 2 * size**3 / _best_seconds(lambda a=a, b=b: (a @ b)[0, 0].item())  # type: ignore[misc]
        except RuntimeError as error:
            yield Check(
                name,
                "no",
                f"{label}: {str(error).splitlines()[0]}",
                f"leave train.precision: {name} out here",
            )
            continue
        ratio = rates[name] / rates.get("fp32", rates[name])
        text = f"{label}: {rates[name] / 1e9:,.0f} GFLOP/s in a {size}³ matmul"
        facts = {"device": device, "flops_per_second": rates[name]}
        if name == "fp32":
            yield Check(name, "yes", text, facts=facts)
        elif ratio >= 1:
            yield Check(name, "yes", f"{text}, {ratio:.1f}× fp32", facts=facts)
        else:
            yield Check(
                name, "absent", f"{text}, {ratio:.2f}× fp32: slower here", "`train.precision: fp32`", facts
            )


def levels(device: str) -> Iterator[Check]:
    """Every level of train.precision that is not measured: native, emulated or unavailable, and why."""
    from ablate.model.precision import PRECISIONS

    for precision in (cls() for cls in PRECISIONS):
        if precision.kind in ("fp32", "bf16"):
            continue
        found = precision.supported(device)
        how = "unavailable" if not found.ok else "emulated" if found.emulated else "native"
        text = f"{device}: {how}{f': {found.reason}' if found.reason else ''}"
        text += "; its speed is no claim" if found.emulated else ""
        facts = {"device": device, "support": how}
        yield Check(precision.kind, "yes" if found.ok else "absent", text, facts=facts)


def _best_seconds(act: Callable[[], object], *, at_least: float = 0.25) -> float:
    """The shortest of several runs, the first (set-up) left out."""
    act()
    best, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < at_least:
        start = time.perf_counter()
        act()
        best = min(best, time.perf_counter() - start)
    return best


# --- data --------------------------------------------------------------------------------------------


def data(environ: Mapping[str, str]) -> Check:
    """What ABLATE_DATA offers: text sources, and tasks with both splits."""
    place = environ.get("ABLATE_DATA")
    if not place:
        text = "ABLATE_DATA is not set: the generated corpus and its tasks only"
        return Check("data", "absent", text, "ABLATE_DATA=/path/to/data")
    root = Path(place)
    if not root.is_dir():
        return Check(
            "data",
            "no",
            f"ABLATE_DATA={place} is not a folder",
            "point it to the folder that holds text/ and glue/",
        )
    facts = {name: _pairs(root / name) for name in ("text", "glue", "extra")}
    if not any(facts.values()):
        way = "expected text/<source>/ and glue/<task>/ with train.parquet and validation.parquet"
        return Check("data", "no", f"ABLATE_DATA={place} holds no source and no task", way, facts)
    text = "; ".join(f"{name}: {', '.join(found)}" for name, found in facts.items() if found)
    return Check("data", "yes", text, facts=facts)


def _pairs(folder: Path) -> list[str]:
    """Names below a folder that have a training and a validation split."""
    splits = ("train.parquet", "validation.parquet")
    return sorted(p.name for p in folder.glob("*") if all((p / split).is_file() for split in splits))
