"""What the records say of their origin and cost, and where trials of one study differ in it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ablate.analysis.findings import NOT_RECORDED, Cost, Provenance
from ablate.records import Record

_DEVICE = ("gpu", "gpu_name", "gpus", "device_name", "device", "cpu", "cpu_model", "machine")


def device(hardware: Mapping[str, Any]) -> str:
    """The machine in a few words, from whatever the writer noted."""
    accelerators = [hardware[k] for k in _DEVICE[:5] if hardware.get(k) and hardware[k] != "cpu"]
    known = accelerators or [hardware[k] for k in _DEVICE[5:] if hardware.get(k)]
    if not known:
        return NOT_RECORDED
    text = _words(known[0])
    cores = hardware.get("cores") or hardware.get("threads") or hardware.get("cpu_count")
    if accelerators or not cores:
        return text
    present = hardware.get("cores_present") or cores
    if present > cores:  # trials were bound to cores of their own
        return f"{text}, {cores} of {present} cores a trial"
    return f"{text}, {cores} core{'' if cores == 1 else 's'}"


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return _words(value.get("name") or value.get("model") or json.dumps(dict(value), sort_keys=True))
    if isinstance(value, (list, tuple)):
        counts = Counter(_words(v) for v in value)
        return ", ".join(f"{n} × {name}" if n > 1 else name for name, n in counts.items())
    return str(value)


def provenance(records: Sequence[Record]) -> Provenance:
    """Distinct origins with their counts."""
    versions: dict[str, Counter[str]] = {}
    for record in records:
        for package, version in record.versions.items():
            versions.setdefault(package, Counter())[str(version)] += 1
    return Provenance(
        hardware=Counter(device(r.hardware) for r in records),
        versions={package: dict(found) for package, found in sorted(versions.items())},
        git=Counter(_git(r.git) for r in records),
        data=Counter(_data(r.data) for r in records),
        started=min((r.started for r in records if r.started), default=""),
        finished=max((r.finished for r in records if r.finished), default=""),
    )


def _git(git: Mapping[str, Any]) -> str:
    revision = str(git.get("revision") or git.get("commit") or "")
    if not revision:
        return NOT_RECORDED
    difference = git.get("diff") or git.get("diff_hash")
    return revision[:12] + (f" + local changes {str(difference)[:12]}" if difference else "")


def _data(data: Mapping[str, Any]) -> str:
    fingerprint = str(data.get("fingerprint") or "")
    source = data.get("source")
    name = source.get("name") or source.get("kind") if isinstance(source, Mapping) else source
    return " ".join(str(part) for part in (name, fingerprint[:16]) if part) or NOT_RECORDED


def cost(records: Iterable[Record], rate_per_hour: float | None = None) -> Cost:
    """Sums over every record, failed trials included."""
    records = list(records)

    def total(metric: str) -> float | None:
        known = [r.metrics[metric] for r in records if metric in r.metrics]
        return sum(known) if known else None

    occupied = sum(r.spent.get("occupied", 0.0) for r in records)
    return Cost(
        trials=len(records),
        charged_seconds=sum(r.spent.get("seconds", 0.0) for r in records),
        occupied_seconds=occupied,
        tokens=sum(r.spent.get("tokens", 0.0) for r in records),
        gpu_hours=total("cost/gpu_hours"),
        energy_kwh=total("cost/energy_kwh"),
        money=None if rate_per_hour is None else occupied / 3600 * rate_per_hour,
    )


def mixtures(records: Sequence[Record]) -> list[str]:
    """Warnings where trials that are compared did not run under the same conditions."""
    found = []
    for what, values in (
        ("machines", {device(r.hardware) for r in records if r.hardware}),
        ("revisions of the code", {_git(r.git) for r in records if r.git}),
        ("torch versions", {r.versions["torch"] for r in records if "torch" in r.versions}),
    ):
        if len(values) > 1:
            found.append(f"the trials ran on {len(values)} different {what}: {'; '.join(sorted(values))}")
    return found
