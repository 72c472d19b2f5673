"""What can be said in several ways is one experiment, and a plan refuses to run it twice."""

from __future__ import annotations

from typing import Any

import pytest

from ablate.design import freeze
from ablate.knobs import replace
from ablate.recipe import Recipe, preset
from ablate.study import Study, StudyError

SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no head has a fraction of a pair": (
        {"model.position": {"kind": "rope", "fraction": 1.0}},
        {"model.position": {"kind": "rope", "fraction": 0.999}},
    ),
    "a row has no fraction of a token": ({"train.mask_rate": 0.25}, {"train.mask_rate": 0.251}),
    "nor does it drop one": ({"train.token_drop": 0.25}, {"train.token_drop": 0.249}),
    "texts are no longer than pretrained rows": ({"finetune.max_length": 128}, {"finetune.max_length": 512}),
    "a dive from the start is a line": (
        {"train.schedule": "linear"},
        {"train.schedule": {"kind": "dive", "falloff": 1.0}},
    ),
    "so is the first power": (
        {"train.schedule": {"kind": "linear", "warmup": 0.1}},
        {"train.schedule": {"kind": "polynomial", "power": 1.0, "warmup": 0.1}},
    ),
    "a dive is a plateau that cools down": (
        {"train.schedule": {"kind": "constant", "warmup": 0.2, "cooldown": 0.4}},
        {"train.schedule": {"kind": "dive", "warmup": 0.2, "falloff": 0.5}},
    ),
    "without decay there is nothing to decouple": (
        {"train.weight_decay": 0.0, "train.optimizer": {"kind": "adam", "beta2": 0.98, "eps": 1e-12}},
        {"train.weight_decay": 0.0, "train.optimizer": "adamw"},
    ),
    "a post-norm stands behind the first attention": (
        {"model.norm_placement": "post", "train.lr": 1e-4, "model.first_norm": True},
        {"model.norm_placement": "post", "train.lr": 1e-4, "model.first_norm": False},
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_two_ways_of_saying_the_same_are_one_experiment(name: str) -> None:
    one, other = (replace(Recipe(), changes) for changes in SAME[name])
    assert one != other
    assert one.effective() == other.effective()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"model.position": {"kind": "rope", "fraction": 0.5}}, {"model.position": "rope"}),
        ({"train.mask_rate": 0.25}, {"train.mask_rate": 0.26}),
        ({"finetune.max_length": 128}, {"finetune.max_length": 64}),
        ({"train.schedule": "linear"}, {"train.schedule": {"kind": "dive", "falloff": 0.9}}),
        ({"train.optimizer": "adam"}, {"train.optimizer": {"kind": "adamw", "beta2": 0.999, "eps": 1e-8}}),
    ],
)
def test_what_differs_stays_two(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert replace(Recipe(), one).effective() != replace(Recipe(), other).effective()


@pytest.mark.parametrize("name", ["crammed-bert", "bert-original", "crammed-small"])
def test_an_effective_recipe_is_its_own(name: str) -> None:
    once = preset(name).effective()
    assert once.effective() == once


def test_a_plan_names_both_arms(tmp_path: Any) -> None:
    study = tmp_path / "same.yaml"
    study.write_text(
        "name: same\nquestion: Twice?\nbaseline: crammed-small\nbudget: 3 steps\n"
        "design: {factors: {train.mask_rate: [0.3, 0.299]}, blocks: 2}\n"
        "outcome: {metric: eval/mlm_loss, margin: 0.1}\n"
    )
    with pytest.raises(
        StudyError, match=r"this arm is the same model as arm .*0\.3.*train\.mask_rate changes"
    ):
        freeze(Study.load(study), created="2026-01-01T00:00:00Z")
