"""Reference scores for scale: the majority answer, and TF-IDF with a linear model. No network is trained."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.evaluation.config import EvaluateSpec
from ablate.evaluation.metrics import score
from ablate.evaluation.sources import FileSplit
from ablate.evaluation.tasks import Examples, Loaded, Task, averaged, load, resolve
from ablate.records import read_json, write_json

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

_VERSION = 1  # part of the cache's key: raise it when a number may change


def majority(task: Task, data: Loaded | None = None) -> dict[str, float]:
    """Metric name → points of the most frequent validation label (a regression: their mean)."""
    data = data or load(task)
    return {
        f"{task.family}/{name}": score(
            task.metric, found.labels, np.full(len(found), _commonest(task, found.labels))
        )
        for name, found in data.validation.items()
    }


def _commonest(task: Task, labels: np.ndarray) -> float:
    return float(labels.mean()) if task.regression else int(np.bincount(labels).argmax())


def tfidf(task: Task, data: Loaded | None = None) -> dict[str, float]:
    """Metric name → points of TF-IDF (1- and 2-grams) with logistic, for regressions ridge, regression.

    A pair is both texts, their product and absolute difference, and their cosine, so that overlap is seen.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge

    data = data or load(task)
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, min_df=2 if len(data.train) > 1000 else 1
    )
    vectorizer.fit([*data.train.first, *(data.train.second or [])])
    model = Ridge() if task.regression else LogisticRegression(max_iter=2000)
    model.fit(_features(vectorizer, data.train), data.train.labels)
    return {
        f"{task.family}/{name}": score(task.metric, found.labels, model.predict(_features(vectorizer, found)))
        for name, found in data.validation.items()
    }


def _features(vectorizer: TfidfVectorizer, examples: Examples) -> Any:
    import scipy.sparse as sparse

    first = vectorizer.transform(examples.first)
    if examples.second is None:
        return first
    second = vectorizer.transform(examples.second)
    product = first.multiply(second)
    return sparse.hstack([first, second, product, abs(first - second), product.sum(axis=1)]).tocsr()


def scale(spec: EvaluateSpec, cache: Path | None = None) -> dict[str, dict[str, float]]:
    """`{"majority": {metric: points}, "tf-idf": …}` of a study's tasks, averages included.

    Computed once and kept as JSON in `cache`; a changed task, file or `max_train` computes anew.
    Raises TaskError when a task's data cannot be used.
    """
    tasks = resolve(spec)
    if not tasks:
        return {}
    kept = cache / f"scale-{_key(tasks)}.json" if cache else None
    if kept and kept.is_file():
        known: dict[str, dict[str, float]] = read_json(kept)["scale"]
        return known
    found: dict[str, dict[str, float]] = {"majority": {}, "tf-idf": {}}
    for task in tasks:
        data = load(task)
        found["majority"] |= majority(task, data)
        found["tf-idf"] |= tfidf(task, data)
    for scores in found.values():
        scores |= averages(tasks, scores)
    if kept:
        write_json(kept, {"scale": found})
    return found


def averages(tasks: list[Task], scores: dict[str, float]) -> dict[str, float]:
    """`family/average` → plain mean over the family's results (as the paper: both MNLI, no WNLI)."""
    return {
        f"{family}/average": float(np.mean([scores[f"{family}/{result}"] for result in over]))
        for family, over in averaged(tasks).items()
    }


def _key(tasks: list[Task]) -> str:
    """Tasks with their settings, and the files as they are now."""
    files = [
        (str(split.path), split.path.stat().st_size, split.path.stat().st_mtime_ns)
        for task in tasks
        for split in (task.train, *task.validation.values())
        if isinstance(split, FileSplit) and split.path.is_file()
    ]
    return hashlib.sha256(repr((_VERSION, tasks, files)).encode()).hexdigest()[:16]
