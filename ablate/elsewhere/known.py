"""Negative results that are already known: `negative-results.json` files of a folder or a git repository."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.budget import Budget
from ablate.elsewhere import registry
from ablate.elsewhere.levels import Level, Named, inner, matches, no_default, read
from ablate.elsewhere.study import RunsError

FILE = "negative-results.json"
SCHEMA = 1
Seen = list[tuple[str, Level]]  # what arms of the files changed, and to what


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
    imported: bool  # outcome and margin were declared after the runs


@dataclass(frozen=True)
class Search:
    """What was found, how many files were read, and those that could not be."""

    query: str
    files: int
    results: int
    found: tuple[Known, ...]
    problems: tuple[str, ...] = ()


def known(query: str, place: str) -> Search:
    """Results whose arm changed KNOB (to LEVEL, where one is given) or has that name, from a folder or git.

    The last part of a knob's path is enough (`position=none`); an arm is its name or `arm=NAME`. Levels are
    compared by value. Raises RunsError, also for what is neither a knob of ablate nor in any of the files.
    """
    if not query.partition("=")[0].strip():
        raise RunsError(f"say what to look for: KNOB=LEVEL, KNOB or the name of an arm; got '{query}'")
    asked = Query.read(query)
    if _is_remote(place):
        with tempfile.TemporaryDirectory(prefix="ablate-known-") as folder:
            _clone(place, folder)
            return _search(asked, Path(folder), place)
    if not Path(place).exists():
        raise RunsError(
            f"{place} is neither a folder nor the address of a git repository, such as "
            "https://HOST/REPOSITORY or user@HOST:REPOSITORY"
        )
    return _search(asked, Path(place), place)


@dataclass(frozen=True)
class Query:
    """What is looked for; `level` None stands for every level."""

    text: str
    knob: str
    level: Level | None

    @classmethod
    def read(cls, text: str) -> Query:
        """`KNOB` or `KNOB=LEVEL`; the knob also as `ablate knobs` writes it: `model.position[rope].theta`."""
        knob, _, level = text.partition("=")
        knob = re.sub(r"\[[^]]*\]", "", knob).strip()
        return cls(text, knob, read(level) if level.strip() else None)

    def finds(self, entry: Mapping[str, Any]) -> bool:
        """Whether the arm has this name or changed this knob, to this level."""
        names = (self.text, self.text.partition("=")[2]) if self.knob == "arm" else (self.text,)
        if _plain(str(entry["arm"])) in map(_plain, names):
            return True
        levels = list(_levels(entry))
        return any(self.names(path) and self._is(path, level) for path, level in levels) or any(
            self._left_out(path, level) for path, level in levels
        )

    def names(self, path: str) -> bool:
        """The knob, or the end of its path."""
        return path == self.knob or path.endswith(f".{self.knob}")

    def _left_out(self, path: str, there: Level) -> bool:
        """Whether the knob is a setting that this variant leaves out, at the level that is its default."""
        parent, _, setting = self.knob.rpartition(".")
        if self.level is None or not isinstance(there, Named) or setting in there.settings:
            return False
        if parent and path != parent and not path.endswith(f".{parent}"):
            return False
        try:
            usual = read(registry.default(path, there.name, setting))
        except KeyError:
            return False
        return matches(self.level, usual, no_default)

    def _is(self, path: str, there: Level) -> bool:
        if self.level is None:
            return True
        if path == "budget" and _budget(self.text.partition("=")[2]) == _budget(there) is not None:
            return True
        kind = there.name if isinstance(there, Named) else ""
        return matches(self.level, there, lambda setting: registry.default(path, kind, setting))


def _plain(name: str) -> str:
    return " ".join(name.split()).lower()


def _budget(level: Any) -> Budget | None:
    try:
        return Budget.parse(level.name if isinstance(level, Named) else level)
    except ValueError:
        return None


def _is_remote(place: str) -> bool:
    local = Path(place)
    if local.exists():
        return (local / "HEAD").is_file() and (local / "objects").is_dir()  # a bare repository
    return "://" in place or place.endswith(".git") or re.match(r"[\w.-]+@[\w.-]+:", place) is not None


def _clone(place: str, folder: str) -> None:
    """The files looked for in the newest state, and nothing else that the repository holds."""
    clone = ("clone", "--quiet", "--depth", "1", "--filter=blob:none", "--no-checkout", "--", place, folder)
    done = _git(place, *clone)
    if done.returncode == 0:
        done = _git(place, "-C", folder, "checkout", "--quiet", "HEAD", "--", f":(glob)**/{FILE}")
        if "did not match any file" in done.stderr or "invalid reference: HEAD" in done.stderr:
            return  # none there, or nothing was ever committed
    if done.returncode:
        raise RunsError(
            f"{place} cannot be cloned: {_first(done.stderr)}; check the address and your access to it, or "
            "clone it by other means and give its folder"
        )


def _git(place: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Without asking for a password, and without following links that a repository brings."""
    settings = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_LFS_SKIP_SMUDGE": "1"}
    ssh = {"GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")}
    try:
        return subprocess.run(
            ["git", "-c", "core.symlinks=false", *command], capture_output=True, text=True, timeout=300,
            stdin=subprocess.DEVNULL, env={**os.environ, **settings, **ssh},
        )  # fmt: skip
    except FileNotFoundError:
        raise RunsError(
            "git is not installed; clone the repository by other means and give its folder"
        ) from None
    except subprocess.TimeoutExpired:
        raise RunsError(f"{place} could not be cloned within 5 minutes") from None


def _first(said: str) -> str:
    """The first line of git's complaint names the cause; what follows is advice for every cause."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("warning: ")]
    return re.sub(r"^(fatal|error|remote|ssh): ", "", lines[0]).rstrip(".") if lines else "git failed"


def _search(query: Query, folder: Path, shown: str) -> Search:
    files = [folder] if folder.is_file() else sorted(folder.rglob(FILE))
    if not files:
        raise RunsError(f"there is no {FILE} in {shown}; `ablate report STUDY` writes one")
    found: list[Known] = []
    problems: list[str] = []
    seen: Seen = []
    arms: set[str] = set()
    results = 0
    for path in files:
        name = str(path.relative_to(folder)) if path != folder else path.name
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
            entries = _entries(content)
            hits = [_known(name, content, e) for e in entries if query.finds(e)]
            there = [pair for e in entries for pair in _levels(e)]
            named = {str(e["arm"]) for e in entries}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            where = shown if path == folder else f"{shown}/{name}"
            problems.append(f"{where} is not a file of negative results: {type(error).__name__}: {error}")
            continue
        results, seen, arms, found = results + len(entries), seen + there, arms | named, found + hits
    search = Search(query.text, len(files), results, tuple(found), tuple(problems))
    if len(problems) == len(files):
        raise RunsError("\n".join(["nothing could be read", *problems]))
    if not found:
        _refuse_unknown(query, search, seen, arms)
    return search


def _entries(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Raises ValueError for a format that is newer than this program."""
    if content.get("schema", SCHEMA) != SCHEMA:
        raise ValueError(f"schema {content['schema']}, this ablate reads {SCHEMA}; upgrade it")
    entries: list[Mapping[str, Any]] = content["results"]
    return entries


def _refuse_unknown(query: Query, search: Search, seen: Seen, arms: set[str]) -> None:
    """Nothing is known of a name that does not exist: that is no answer, but a slip. Raises RunsError."""
    there = [(path, level) for path, level in seen if query.names(path)]
    if any(map(query.names, registry.paths())):
        _refuse_level(query, there)
        return
    if there:  # another program's knob
        return
    if query.knob == "arm":
        wanted, names = query.text.partition("=")[2].strip(), arms
        if not wanted:
            raise RunsError("say which arm: arm=NAME")
        rule = f"no arm '{wanted}' is among {_looked(search)}"
    else:
        wanted, names = query.knob, {*arms, *registry.paths(), *(path for path, _ in seen)}
        rule = (
            f"there is no knob '{wanted}' in ablate, and no knob or arm of that name among {_looked(search)}"
        )
    near = registry.nearest(wanted, names)
    meant = " or ".join(f"'{name}'" for name in near)
    hint = f"; did you mean {meant}?" if near else "; `ablate knobs` lists the knobs."
    raise RunsError(f"{rule}{hint} Arms that help or are inconclusive are in no such file")


def _refuse_level(query: Query, there: Seen) -> None:
    """A level that the knob cannot have; where other programs use the knob's name, they may have more."""
    levels = [level for _, level in there]
    if query.level is not None and not any(registry.wrong_level(query.knob, query.names, x) for x in levels):
        told = registry.wrong_level(query.knob, query.names, query.level)
        if told:
            raise RunsError(told)


def _levels(entry: Mapping[str, Any]) -> Iterator[tuple[str, Level]]:
    """Every knob that the arm changed and what it became, a variant's settings included."""
    for knob, _, after in _changed(entry):
        yield from inner(knob, read(after))
    for knob, pair in (entry.get("levels") or {}).items():  # the same in full digits
        yield from inner(str(knob), read(pair[1]))


def _changed(entry: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for knob, before, after in entry["difference"]:
        yield str(knob), str(before), str(after)


def _known(path: str, content: Mapping[str, Any], e: Mapping[str, Any]) -> Known:
    return Known(
        path=path, study=str(content.get("study", "not recorded")), created=str(content.get("created", "")),
        arm=str(e["arm"]), verdict=str(e["verdict"]), headline=str(e.get("headline", "")),
        difference=tuple(f"{k}: {a} → {b}" for k, a, b in _changed(e)),
        budget=str(content.get("budget", "not recorded")), baseline=str(content.get("baseline", "")),
        outcome=str(content.get("outcome", "")), hardware=tuple(map(str, content.get("hardware", ()))),
        estimate=e.get("estimate"), low=e.get("low"), high=e.get("high"), n=e.get("n"),
        imported=content.get("imported") is True,
    )  # fmt: skip


def text(search: Search) -> str:
    """What was found, for people."""
    if not search.found:
        return (
            f"Nothing known of {search.query} ({_looked(search)}). "
            "Inconclusive results are not negative results."
        )
    parts = []
    for k in search.found:
        declared = ", declared after the runs" if k.imported else ""
        parts.append(
            f"{k.headline}\n  {'; '.join(k.difference) or 'what the arm changes was not recorded'}\n"
            f"  study {k.study} of {k.created[:10] or 'unknown date'}, {k.outcome}{declared}, "
            f"budget {k.budget}, hardware {', '.join(k.hardware) or 'not recorded'}\n  {k.path}"
        )
    last = f"{len(search.found)} of {_looked(search)}. Another budget or baseline may differ."
    return "\n\n".join([*parts, last])


def _looked(search: Search) -> str:
    results, files = (f"{n} {what}{'' if n == 1 else 's'}" for n, what in (
        (search.results, "negative result"), (search.files, "file")))  # fmt: skip
    unread = f", {len(search.problems)} of them unreadable" if search.problems else ""
    return f"{results} in {files}{unread}"
