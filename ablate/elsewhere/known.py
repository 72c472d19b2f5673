"""Negative results that are already known: `negative-results.json` files of a folder or a git repository."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.elsewhere.study import RunsError

FILE = "negative-results.json"


@dataclass(frozen=True)
class Known:
    """One earlier negative result that matches."""

    path: str
    study: str
    created: str
    arm: str
    verdict: str
    headline: str
    difference: tuple[str, ...]  # knob: before → after
    budget: str
    baseline: str
    outcome: str
    hardware: tuple[str, ...]
    estimate: float | None
    low: float | None
    high: float | None
    n: int | None


@dataclass(frozen=True)
class Search:
    """What was found, how many files were read, and those that could not be."""

    query: str
    files: int
    results: int
    found: tuple[Known, ...]
    problems: tuple[str, ...] = ()


def known(query: str, place: str) -> Search:
    """Results whose arm changed KNOB (to LEVEL, where one is given), from a folder or a git repository.

    The last part of a knob's path is enough (`position=none`). Raises RunsError.
    """
    knob, _, level = query.partition("=")
    if not knob.strip():
        raise RunsError(f"say what to look for: KNOB=LEVEL or KNOB; got '{query}'")
    if _is_remote(place):
        with tempfile.TemporaryDirectory(prefix="ablate-known-") as folder:
            _clone(place, folder)
            return _search(query, knob.strip(), level.strip(), Path(folder), place)
    if not Path(place).exists():
        raise RunsError(f"{place} is neither a folder nor the address of a git repository")
    return _search(query, knob.strip(), level.strip(), Path(place), place)


def _is_remote(place: str) -> bool:
    local = Path(place)
    bare = (local / "HEAD").is_file() and (local / "objects").is_dir()
    return (
        bare or "://" in place or place.startswith("git@") or (place.endswith(".git") and not local.is_dir())
    )


def _clone(place: str, folder: str) -> None:
    """The newest state alone, without asking for a password."""
    command = ["git", "clone", "--quiet", "--depth", "1", "--", place, folder]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
            env={**_environment(), "GIT_TERMINAL_PROMPT": "0"},
        )  # fmt: skip
    except FileNotFoundError:
        raise RunsError(
            "git is not installed; clone the repository by other means and give its folder"
        ) from None
    except subprocess.TimeoutExpired:
        raise RunsError(f"{place} could not be cloned within 5 minutes") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RunsError(f"{place} cannot be cloned: {said[-1] if said else 'git failed'}")


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)


def _search(query: str, knob: str, level: str, folder: Path, shown: str) -> Search:
    files = [folder] if folder.is_file() else sorted(folder.rglob(FILE))
    found: list[Known] = []
    problems: list[str] = []
    results = 0
    for path in files:
        name = str(path.relative_to(folder)) if path != folder else path.name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            entries = content["results"]
            results += len(entries)
            found += [
                _known(name, content, e)
                for e in entries
                if any(_matches(d, knob, level) for d in _changed(e))
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(
                f"{shown}/{name} is not a file of negative results: {type(error).__name__}: {error}"
            )
    return Search(query, len(files), results, tuple(found), tuple(problems))


def _changed(entry: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for knob, before, after in entry["difference"]:
        yield str(knob), str(before), str(after)


def _matches(difference: tuple[str, str, str], knob: str, level: str) -> bool:
    """The knob, or the end of its path; the level, or a variant of that name with settings of its own."""
    path, _, after = difference
    if path != knob and not path.endswith(f".{knob}"):
        return False
    return not level or after.lower() == level.lower() or after.lower().startswith(f"{level.lower()}(")


def _known(path: str, content: Mapping[str, Any], e: Mapping[str, Any]) -> Known:
    return Known(
        path=path, study=str(content.get("study", "not recorded")), created=str(content.get("created", "")),
        arm=str(e["arm"]), verdict=str(e["verdict"]), headline=str(e.get("headline", "")),
        difference=tuple(f"{k}: {a} → {b}" for k, a, b in _changed(e)),
        budget=str(content.get("budget", "not recorded")), baseline=str(content.get("baseline", "")),
        outcome=str(content.get("outcome", "")), hardware=tuple(map(str, content.get("hardware", ()))),
        estimate=e.get("estimate"), low=e.get("low"), high=e.get("high"), n=e.get("n"),
    )  # fmt: skip


def text(search: Search) -> str:
    """What was found, for people."""
    looked = f"{search.results} negative results in {search.files} file{'' if search.files == 1 else 's'}"
    if not search.found:
        return f"Nothing known of {search.query} ({looked}). Inconclusive results are not negative results."
    parts = []
    for k in search.found:
        parts.append(
            f"{k.headline}\n  {'; '.join(k.difference)}\n"
            f"  study {k.study} of {k.created[:10] or 'unknown date'}, {k.outcome}, budget {k.budget}, "
            f"{', '.join(k.hardware) or 'hardware not recorded'}\n  {k.path}"
        )
    return "\n\n".join([*parts, f"{len(search.found)} of {looked}. Another budget or baseline may differ."])
