"""`python -m tests.report.large FOLDER`: a made-up study as large as a year's work, to time reports with.

200 arms on 5 blocks, with curves of 300 steps and the predictions of two fine-tuning seeds on eight tasks of the
sizes of GLUE's validation sets: 1,000 trials in 11,001 files.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ablate.evaluation.predictions import add, frame
from ablate.records import StudyPaths
from ablate.records.gathered import gather
from tests.analysis import synthetic

# Examples, classes (1: a regression) and the score that counts.
TASKS = {
    "cola": (1043, 2, "mcc"), "sst2": (872, 2, "accuracy"), "mrpc": (408, 2, "f1"), "stsb": (1500, 1, "spearman"),
    "rte": (277, 2, "accuracy"), "qnli": (5463, 2, "accuracy"), "mnli": (9815, 3, "accuracy"),
    "qqp": (40430, 2, "f1"),
}  # fmt: skip
SEEDS = (0, 1)


def labels(task: str) -> np.ndarray:
    items, classes, _ = TASKS[task]
    rng = np.random.default_rng(items)
    return rng.uniform(0, 5, items).astype(np.float32) if classes == 1 else rng.integers(0, classes, items)


def outputs(task: str, truth: np.ndarray, skill: float, rng: np.random.Generator) -> np.ndarray:
    """[item, class] logits, or [item, 1] values, that are right as often as `skill` says."""
    _, classes, _ = TASKS[task]
    if classes == 1:
        return (truth + rng.normal(0, 3 - 2 * skill, len(truth)))[:, None].astype(np.float32)
    noise = rng.normal(0, 1, (len(truth), classes))
    noise[np.arange(len(truth)), truth] += 2 * skill
    return noise.astype(np.float32)


def write(root: Path, arms: int = 200, blocks: int = 5) -> Path:
    """The study below `root`; returns `root`."""
    rng = np.random.default_rng(0)
    names = [f"group-{n // 10}=level-{n % 10}" for n in range(arms - 1)]
    frozen = synthetic.study(names, blocks=blocks, metric="glue/average")
    truth = {task: labels(task) for task in TASKS}
    found = []
    for block in range(blocks):
        for place, arm in enumerate(frozen.arms):
            skill = 0.5 + 0.1 * rng.normal() + 0.3 * (place % 7 == 0)
            folder = StudyPaths(root).trial(synthetic.trial_id(arm.name, block)).predictions
            scores = {}
            for task, (_, _, score) in TASKS.items():
                for seed in SEEDS:
                    shown = outputs(task, truth[task], skill, rng)
                    add(folder / f"{task}.parquet", "made up", frame(seed, truth[task], shown))
                scores[task] = {score: [60 + 20 * skill + rng.normal(0, 0.5) for _ in SEEDS]}
            gather(folder)
            metrics = {f"glue/{task}": float(np.mean(next(iter(s.values())))) for task, s in scores.items()}
            metrics |= {
                "glue/average": float(np.mean(list(metrics.values()))),
                "eval/mlm_loss": 3 - skill / 5,
            }
            metrics["throughput/tokens_per_second"] = 12_000 + rng.normal(0, 100)
            found.append(synthetic.record(arm.name, block, metrics, scores=scores))
    return synthetic.write(root, frozen, found)


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
