"""Which knobs of a search its outcome followed: PED-ANOVA (Watanabe et al. 2023) through Optuna."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

METHOD = "PED-ANOVA"
LEAST = 10  # trials below which a share is noise


def importance(
    params: Sequence[Mapping[str, Any]],
    distributions: Sequence[Mapping[str, str]],
    values: Sequence[float],
    *,
    higher_is_better: bool = True,
) -> dict[str, float]:
    """Shares that sum to 1, of the knobs that every trial drew; empty below ten trials or without spread."""
    if len(values) < LEAST or max(values) == min(values):
        return {}
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # a new study announces itself
    storage = optuna.storages.InMemoryStorage()
    direction = (
        optuna.study.StudyDirection.MAXIMIZE if higher_is_better else optuna.study.StudyDirection.MINIMIZE
    )
    storage.create_new_study([direction], "importance")
    study = optuna.load_study(study_name="importance", storage=storage)
    for drawn, domains, value in zip(params, distributions, values, strict=True):
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(drawn), value=value,
                distributions={k: optuna.distributions.json_to_distribution(v) for k, v in domains.items()},
            )
        )  # fmt: skip
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {name: float(share) for name, share in found.items()}
