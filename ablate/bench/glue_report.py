"""What `ablate bench glue` found: rows of tasks, the whole suite, and both as Markdown."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any

from ablate.bench.run import Run
from ablate.bench.show import threads

OURS = "ablate"
FLOOR = 2.5  # times our seconds that the padded peer takes for a suite


@dataclass(frozen=True)
class Row:
    """One task; seconds and scores by who fine-tuned, one value per round."""

    task: str
    metric: str
    train_rows: int
    validation_rows: int
    steps: int  # of the optimizer, in one fine-tuning run
    tokens: float  # of a training example, the mean
    computed: float  # the same with the padding of our batches
    seconds: dict[str, list[float]]  # on the report's clock
    scores: dict[str, list[float]]  # in points, the mean over a task's validation sets

    def median(self, who: str) -> float:
        """Seconds, over rounds."""
        return statistics.median(self.seconds[who])

    def times(self, who: str) -> float:
        """How many times our seconds someone takes."""
        return self.median(who) / self.median(OURS)

    def score(self, who: str) -> str:
        """Mean ± standard deviation over rounds."""
        found = self.scores[who]
        spread = f" ± {statistics.stdev(found):.1f}" if len(found) > 1 else ""
        return f"{statistics.mean(found):.1f}{spread}"


@dataclass(frozen=True, kw_only=True)
class Report(Run):
    """One run of the bench; its precision is that of fine-tuning."""

    checkpoint: str
    family: str  # what the peer fine-tunes
    rounds: int
    finetune: dict[str, Any]
    longest: int  # tokens that the padded peer fills every row up to
    notes: list[str]  # what is not equal, or was made so
    rows: list[Row]

    @property
    def peers(self) -> list[str]:
        """Who else fine-tuned."""
        return [who for who in self.rows[0].seconds if who != OURS]

    def total(self, who: str) -> float:
        """Seconds of the whole suite: the tasks' medians together."""
        return sum(row.median(who) for row in self.rows)

    def times(self, who: str) -> float:
        """How many times our seconds someone takes for the whole suite."""
        return self.total(who) / self.total(OURS)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the ratios."""
        rows = [{**asdict(row), "times": {who: row.times(who) for who in self.peers}} for row in self.rows]
        suite = {
            "seconds": {who: self.total(who) for who in (OURS, *self.peers)},
            "times": {who: self.times(who) for who in self.peers},
            "floor": FLOOR,
        }
        return {**super().to_dict(), "rows": rows, "suite": suite}

    def text(self) -> str:
        """A table in Markdown, and what it was measured by."""
        heads = ["task", "training rows", "steps", "tokens an example", f"{OURS}, s"]
        for who in self.peers:
            heads += [f"{who}, s", "times"]
        heads += ["metric", *(f"{who}, score" for who in (OURS, *self.peers))]
        lines = [_line(heads), _line(["---"] * len(heads)), *map(_line, map(self._cells, self.rows))]
        whole = ["suite", "", str(sum(row.steps for row in self.rows)), "", f"{self.total(OURS):.1f}"]
        for who in self.peers:
            whole += [f"{self.total(who):.1f}", f"{self.times(who):.2f}"]
        lines.append(_line([*whole, *[""] * (len(heads) - len(whole))]))
        return "\n".join([*lines, "", *self._facts()])

    def _cells(self, row: Row) -> list[str]:
        tokens = f"{row.tokens:.1f}, computed {row.computed:.1f}"
        cells = [row.task, str(row.train_rows), str(row.steps), tokens, f"{row.median(OURS):.1f}"]
        for who in self.peers:
            cells += [f"{row.median(who):.1f}", f"{row.times(who):.2f}"]
        return [*cells, row.metric, *(row.score(who) for who in (OURS, *self.peers))]

    def _facts(self) -> list[str]:
        clock = "CPU seconds" if self.clock == "cpu" else "wall seconds"
        set_to = self.finetune
        where = f"{self.device}, {threads(self.threads)}" if self.clock == "cpu" else self.device
        told = [
            f"Peers: transformers' Trainer on {self.family}; padded: every text to {self.longest} tokens; "
            "grouped: each batch to its longest, texts of like length together, where shown.",
            f"Batches of {set_to['batch']}, {set_to['epochs']} epochs, rate {set_to['lr']:g} "
            f"({set_to['schedule']}, warm-up {set_to['warmup']:g}), {self.precision}; {where}, "
            f"load {self.load[0]:g}; {clock} from reading a task to its scores, medians of {self.rounds} "
            f"round{'s' if self.rounds > 1 else ''} in turns, a fine-tuning seed each; "
            f"floor {FLOOR:g} times, padded.",
        ]
        return [*told, *(f"Note: {note}." for note in self.notes)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
