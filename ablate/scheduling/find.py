"""STUDY_OR_DIR: a study file or a run folder, and the nearest names where there is neither. No torch."""

from __future__ import annotations

import difflib
import hashlib
import shlex
from pathlib import Path

from ablate import yamltext
from ablate.records import FrozenStudy, StudyPaths, read_study
from ablate.records.store import RecordError
from ablate.scheduling import RefusedError


def study_name(file: Path) -> str:
    """The name a study file gives itself: `name:`, else the file's."""
    try:
        raw = yamltext.parse(file.read_text(encoding="utf-8"), fast=True)
    except (OSError, UnicodeDecodeError, yamltext.YamlTextError):
        raw = None
    return str(raw["name"]) if isinstance(raw, dict) and raw.get("name") else file.stem


def unchanged(study_file: Path, runs: Path) -> FrozenStudy | None:
    """The study as frozen from this very file; None when there is none, or the file was edited since."""
    try:
        content = study_file.read_bytes()
        found = read_study(runs / study_name(study_file))
    except (OSError, RecordError):
        return None
    return found if found.source_sha256 == hashlib.sha256(content).hexdigest() else None


def run_folder(given: Path, runs: Path) -> Path:
    """The run folder that a study file, a run folder or a study's bare name means. Raises RefusedError."""
    if given.is_dir():
        if StudyPaths(given).study.exists():
            return given
        inside = sorted(p.parent.name for p in given.glob("*/study.json"))
        hint = f"; it contains those of {', '.join(inside)}" if inside else ""
        raise RefusedError(f"{given} is no run folder: it has no study.json{hint}")
    if given.is_file():
        root = runs / study_name(given)
        if StudyPaths(root).study.exists():
            return root
        raise RefusedError(
            f"{given} has not been run yet: there is no {root}; "
            f"start it with `ablate run {shlex.quote(str(given))}`"
        )
    named = runs / given.name
    if given == Path(given.name) and StudyPaths(named).study.exists():
        return named
    raise RefusedError(f"{given} is neither a study file nor a run folder{_nearest(given, runs)}")


def _nearest(given: Path, runs: Path) -> str:
    folders = {str(p.parent): p.parent.name for p in runs.glob("*/study.json")}
    places = {given.parent, Path("studies")}
    files = {str(p): p.name for place in places for p in place.glob("*.yaml")}
    names = {**files, **folders}
    near = difflib.get_close_matches(given.name, names.values(), n=3, cutoff=0.4)
    found = [path for path, name in names.items() if name in near]
    if found:
        return f"; did you mean {' or '.join(sorted(found))}?"
    return f"; there are {', '.join(sorted(names))}" if names else f"; nothing has been run below {runs}"
