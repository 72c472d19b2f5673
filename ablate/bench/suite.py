"""`ablate bench gpu`: what a GPU is to be measured in, the most important first, sized for ten minutes.

Every part is a command of its own whose JSON stays in a folder, so that one that fails or runs out of time
takes nothing else with it. Compiling takes a minute a model and processor cores alone, so at first everything
is compiled side by side; the measured parts, one at a time, find it in the compiler's cache.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ablate.bench.run import place

RECIPE = ("--recipe", "crammed-bert", "--device", "cuda")
COMPILED = (*RECIPE, "--compiled")
# As many tokens of either length: 32,768, with activations of some 15 GiB.
SHORT, LONG = ("--micro-batch", "256"), ("--micro-batch", "64", "--length", "512")
PEERS = ("bench", *COMPILED, *SHORT, "--peers", "--vocabulary", "32768")


@dataclass(frozen=True)
class Part:
    """A command of `ablate`, and seconds below which it is not begun."""

    name: str
    arguments: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What became of a part."""

    name: str
    state: Literal["done", "failed", "out of time", "left out"]
    seconds: float
    command: str


def to_compile() -> list[Part]:
    """One short run of every model that is compiled later."""
    profile = ("bench", "profile", *COMPILED)
    return [
        Part("compile-128", (*profile, *SHORT, "--steps", "1"), 30),
        Part("compile-512", (*profile, *LONG, "--steps", "1"), 30),
        Part("compile-fp8", (*profile, *SHORT, "--steps", "1", "--precision", "fp8"), 30),
        Part("compile-peers", (*PEERS, "--rounds", "1", "--steps", "1"), 30),
    ]


def parts(source: str) -> list[Part]:
    """The most important first. Seconds are reckoned for an H200: 1,000 micro-batches at 700,000 tokens/s are
    47 s.
    """
    trial = ("bench", "trial", *COMPILED, "--source", source, "--accumulated", "8", "--rounds", "1")
    long, short = (
        ("--micro-batches", "1000", "--by-hand", "250"),
        ("--micro-batches", "150", "--by-hand", "50"),
    )
    profile = ("bench", "profile", *COMPILED)
    levels = ("model.position", "model.norm", "train.precision")
    return [
        Part("profile-128", (*profile, *SHORT), 30),
        Part("trial-128", (*trial, *SHORT, *long), 90),
        Part("trial-512", (*trial, *LONG, *long), 90),
        Part("peers", (*PEERS, "--rounds", "3", "--steps", "10"), 60),
        Part(
            "attention",
            ("bench", "attention", *RECIPE, "--micro-batch", "256", "--length", "128", "--length", "512"),
            20,
        ),
        Part("trial-fp8", (*trial, *SHORT, *short, "--precision", "fp8"), 60),
        Part("profile-512", (*profile, *LONG), 30),
        Part(
            "levels",
            (
                "bench", "levels", *levels, *RECIPE, "--no-compiled", "--micro-batch", "64", "--rounds", "2",
            ),
            60,
        ),
    ]  # fmt: skip


def measure(source: str, folder: Path, minutes: float, tell: Callable[[str], None]) -> list[Outcome]:
    """All parts that fit. Raises BenchError where there is no GPU."""
    place("cuda", None)
    return run(to_compile(), parts(source), folder, minutes, tell)


def run(
    together: Sequence[Part],
    in_turn: Sequence[Part],
    folder: Path,
    minutes: float,
    tell: Callable[[str], None],
) -> list[Outcome]:
    """First some side by side, then others one after the other, until the minutes are over.

    Leaves NAME.json and NAME.log of each in `folder`, and outcomes.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * minutes
    begun = [(part, _Process(part, folder)) for part in together]
    found = [_ended(part, process, end, tell) for part, process in begun]
    for part in in_turn:
        if end - time.monotonic() < part.seconds:
            found.append(_told(Outcome(part.name, "left out", 0.0, _command(part)), tell))
        else:
            found.append(_ended(part, _Process(part, folder), end, tell))
    (folder / "outcomes.json").write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
    return found


class _Process:
    """A part that runs."""

    def __init__(self, part: Part, folder: Path) -> None:
        self.begun = time.monotonic()
        with (folder / f"{part.name}.json").open("w") as out, (folder / f"{part.name}.log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ablate", *part.arguments, "--format", "json"], stdout=out, stderr=log
            )


def _ended(part: Part, running: _Process, end: float, tell: Callable[[str], None]) -> Outcome:
    """Waits for it, and ends it when the time is over."""
    state: Literal["done", "failed", "out of time"]
    try:
        code = running.process.wait(max(0.0, end - time.monotonic()))
        state = "done" if code == 0 else "failed"
    except subprocess.TimeoutExpired:
        running.process.kill()
        running.process.wait()
        state = "out of time"
    return _told(Outcome(part.name, state, time.monotonic() - running.begun, _command(part)), tell)


def _told(outcome: Outcome, tell: Callable[[str], None]) -> Outcome:
    tell(f"{outcome.name}: {outcome.state}, {outcome.seconds:.0f} s")
    return outcome


def _command(part: Part) -> str:
    return "ablate " + " ".join(part.arguments)
