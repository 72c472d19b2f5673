"""What cannot be built or run is refused in a plan: one line, every knob in it named, and the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ablate.design import cautions
from ablate.study import Study, StudyError

# What the baseline has, the level that does not go with it, and the knobs that the refusal has to name.
REFUSED: dict[str, tuple[dict[str, Any], tuple[str, Any], tuple[str, ...]]] = {
    "heads that do not divide": ({}, ("model.heads", 7), ("model.width", "model.heads")),
    "an odd gate": ({}, ("model.intermediate", 1023), ("model.activation", "model.intermediate")),
    "ALiBi without scores": (
        {"model.position": "alibi"}, ("model.attention", "fourier"), ("model.position", "model.attention"),
    ),
    "T5 without scores": (
        {"model.position": "t5"}, ("model.attention", "linear"), ("model.position", "model.attention"),
    ),
    "rotation of nothing": (
        {"model.position": "rope"}, ("model.attention", "none"), ("model.position", "model.attention"),
    ),
    "rotation of odd heads": (
        {"model.width": 252}, ("model.position", "rope"), ("model.position", "model.width", "model.heads"),
    ),
    "rotation of an odd shared width": (
        {"model.position": "rope"}, ("model.attention", {"kind": "flash", "shared": 33}),
        ("model.position", "model.attention.shared"),
    ),
    "a hybrid of shared blocks": (
        {"model.attention": "fourier-hybrid"}, ("model.stack", "shared"), ("model.attention", "model.stack"),
    ),
    "a hybrid of softmax alone": (
        {}, ("model.attention", {"kind": "fourier-hybrid", "softmax_layers": 4}),
        ("model.attention.softmax_layers", "model.layers"),
    ),
    "as many shared blocks as layers": (
        {}, ("model.stack", {"kind": "shared", "groups": 4}), ("model.stack.groups", "model.layers"),
    ),
    "a funnel of one layer": (
        {"model.layers": 1}, ("model.stack", "funnel"), ("model.stack", "model.layers"),
    ),
    "rounds that count layers": (
        {"model.feedforward_every": 2}, ("model.stack", "recurrent"),
        ("model.feedforward_every", "model.stack"),
    ),
    "shared blocks left out by depth": (
        {"model.layer_drop": 0.2}, ("model.stack", "shared"), ("model.layer_drop", "model.stack"),
    ),
    "a shared first block": (
        {"model.first_norm": False}, ("model.stack", "shared"), ("model.first_norm", "model.stack"),
    ),
    "no feed-forward at all": (
        {}, ("model.feedforward_every", 9), ("model.feedforward_every", "model.layers"),
    ),
    "DeepNorm before a sublayer": (
        {}, ("model.deepnorm", True), ("model.deepnorm", "model.norm_placement"),
    ),
    "dropped tokens at distances": (
        {"model.position": "rope"}, ("train.token_drop", 0.25), ("train.token_drop", "model.position"),
    ),
    "dropped tokens in a funnel": (
        {"model.stack": "funnel"}, ("train.token_drop", 0.25), ("train.token_drop", "model.stack"),
    ),
    "a batch of parts": ({}, ("train.batch", 100), ("train.batch", "train.micro_batch")),
    "noise of one micro-batch": (
        {"train.micro_batch": 128}, ("train.batch_rule", "noise-scale"),
        ("train.batch_rule", "train.batch", "train.micro_batch"),
    ),
    "small moves in few bits": (
        {"train.precision": "fp16"}, ("train.modifier", "sam"), ("train.modifier", "train.precision"),
    ),
    "two second passes": (
        {"train.optimizer": "sophia"}, ("train.modifier", "sam"), ("train.modifier", "train.optimizer"),
    ),
    "curvature in scaled fp16": (
        {"train.precision": "fp16"}, ("train.optimizer", "sophia"), ("train.precision", "train.optimizer"),
    ),
    "rounding in another optimizer": (
        {"train.optimizer": "lion"},
        ("train.precision", {"kind": "bf16-pure", "stochastic_rounding": True}),
        ("train.precision", "train.optimizer"),
    ),
    "half weights computed again": (
        {"model.checkpointing": True}, ("train.precision", "fp16-scaled"),
        ("train.precision", "model.checkpointing"),
    ),
    "fp8 of odd sizes": (
        {"model.width": 248, "model.heads": 4}, ("train.precision", "fp8"),
        ("train.precision", "model.width"),
    ),
    "few bits of no layer": (
        {"model.layers": 1}, ("train.precision", {"kind": "int4", "skip_first": True}),
        ("train.precision", "model.layers"),
    ),
    "compiled in many lengths": (
        {"train.compile": True}, ("train.length_curriculum", "truncate"),
        ("train.length_curriculum", "train.compile"),
    ),
    "too short a start": (
        {}, ("train.length_curriculum", {"kind": "unfold", "stages": 8}),
        ("train.length_curriculum", "data.length"),
    ),
    "more heads than width": (
        {"model.width": 32, "model.position": "none"},
        ("model.heads", 64),
        ("model.width", "model.heads"),
    ),
    "rotation of channels": (
        {"model.position": "rope"},
        ("model.attention", "tuformer"),
        ("model.position", "model.attention"),
    ),
    "a funnel of a hybrid": (
        {"model.attention": "fourier-hybrid"},
        ("model.stack", "funnel"),
        ("model.attention", "model.stack"),
    ),
    "replaced tokens that are dropped": (
        {"train.token_drop": 0.25},
        ("train.objective", "electra"),
        ("train.objective", "train.token_drop"),
    ),
    "replaced tokens at every position": (
        {"train.sparse_prediction": False},
        ("train.objective", "electra"),
        ("train.objective", "train.sparse_prediction"),
    ),
    "fp8 of as many rows as fit": (
        {"train.micro_batch": None},
        ("train.precision", "fp8"),
        ("train.precision", "train.micro_batch"),
    ),
    "curvature in four bits": (
        {"train.precision": "int4"},
        ("train.optimizer", "sophia"),
        ("train.precision", "train.optimizer"),
    ),
    "a mask of nothing": (
        {"data.length": 16}, ("train.mask_rate", 0.01), ("train.mask_rate", "data.length"),
    ),
}  # fmt: skip

# Arms that are another one under a new name: the level whose knob is repeated, and its baseline.
IDENTICAL: dict[str, tuple[dict[str, Any], tuple[str, list[Any]]]] = {
    "a default spelled out": ({}, ("model.norm", [{"kind": "layernorm", "eps": 1e-12}])),
    "two of one": ({}, ("model.norm", ["rmsnorm", {"kind": "rmsnorm", "eps": 1e-6}])),
    "a width without a gate": ({"model.activation": "gelu"}, ("model.glu_width", ["matched"])),
    "heads of a unit without": ({"model.attention": "flash"}, ("model.heads", [8])),
    "a dive that is a line": ({"train.schedule": "linear"}, ("train.schedule", [{"kind": "dive", "falloff": 1.0}])),
    "a random order reversed": ({}, ("data.reverse", [True])),
    "L2 of nothing": (
        {"train.weight_decay": 0.0, "train.optimizer": {"kind": "adamw", "beta2": 0.99}},
        ("train.optimizer", [{"kind": "adam", "beta2": 0.99, "eps": 1e-12}]),
    ),
    "a pair and a bit": (
        {"model.position": {"kind": "rope", "fraction": 0.5}},
        ("model.position", [{"kind": "rope", "fraction": 0.505}]),
    ),
}  # fmt: skip


def load(folder: Path, base: dict[str, Any], factors: dict[str, list[Any]]) -> Study:
    study = {
        "name": "refused",
        "question": "Can it be built?",
        "baseline": {"preset": "crammed-small", "set": {"train.precision": "fp32", **base}},
        "budget": "20 steps",
        "design": {"kind": "one-factor", "factors": factors, "blocks": 3},
        "outcome": {"metric": "eval/mlm_loss", "margin": 0.1},
    }
    (folder / "study.yaml").write_text(json.dumps(study))  # which is YAML, too
    return Study.load(folder / "study.yaml")


@pytest.mark.parametrize(("base", "level", "named"), REFUSED.values(), ids=list(REFUSED))
def test_a_plan_refuses_it_in_one_line_with_every_knob_and_the_way_out(
    base: dict[str, Any], level: tuple[str, Any], named: tuple[str, ...], tmp_path: Path
) -> None:
    path, value = level
    with pytest.raises(StudyError) as caught:
        load(tmp_path, base, {path: [value]})
    (problem,) = caught.value.problems
    assert problem.key == f"design.factors.{path}.0"
    assert "\n" not in problem.message
    assert [knob for knob in named if knob not in problem.message] == []
    _, _, way_out = (
        problem.message.rpartition(";") if ";" in problem.message else problem.message.rpartition(":")
    )
    assert any(
        word in way_out for word in ("take", "set", "leave", "make", "change", "lower", "raise", "add")
    ), way_out


@pytest.mark.parametrize(("base", "arms"), IDENTICAL.values(), ids=list(IDENTICAL))
def test_two_arms_that_are_the_same_model_are_refused(
    base: dict[str, Any], arms: tuple[str, list[Any]], tmp_path: Path
) -> None:
    path, levels = arms
    with pytest.raises(StudyError) as caught:
        load(tmp_path, base, {path: levels})
    (problem,) = caught.value.problems
    assert problem.key == f"design.factors.{path}.{len(levels) - 1}"
    assert "this arm is the same model as" in problem.message
    assert problem.message.endswith("leave it out")


# Couplings that can be run: the level, what must be said, and what makes it unsaid.
COUPLED: dict[str, tuple[dict[str, Any], tuple[str, Any], str, dict[str, Any]]] = {
    "post-norm at a high rate": (
        {}, ("model.norm_placement", "post"), "pre-norm is what allows high rates without warm-up (Cramming",
        {"train.schedule": {"kind": "triangle2", "warmup": 0.1}},
    ),
    "DeepNorm without its weights": (
        {"model.norm_placement": "post", "train.lr": 1e-4}, ("model.deepnorm", True), "Wang et al. 2022",
        {"model.init": "deepnorm"},
    ),
    "no norm before the first attention": (
        {"model.embedding_norm": False}, ("model.first_norm", False), "keep one of the two norms",
        {"model.embedding_norm": True},
    ),
    "LARS on Adam": (
        {}, ("train.modifier", "lars"), "made for sgd (You et al. 2017)", {"train.optimizer": "sgd"},
    ),
    "AGD from other matrices": (
        {}, ("train.optimizer", "agd"), "Bernstein et al. 2023",
        {"model.init": {"kind": "orthogonal", "scaled": True}},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("base", "level", "reason", "cure"), COUPLED.values(), ids=list(COUPLED))
def test_a_coupling_is_a_warning_with_its_reason_until_it_is_minded(
    base: dict[str, Any], level: tuple[str, Any], reason: str, cure: dict[str, Any], tmp_path: Path
) -> None:
    path, value = level
    (warning,) = cautions(load(tmp_path, base, {path: [value]}))
    assert path in warning
    assert reason in warning
    minded = cautions(load(tmp_path, {**base, **cure}, {path: [value]}))
    assert [warning for warning in minded if warning.startswith(f"{path}=")] == []


@pytest.mark.parametrize("kind", ["int8-emulated", "int4", "ternary", "binary"])
def test_a_speed_that_is_emulated_everywhere_is_announced(kind: str, tmp_path: Path) -> None:
    (warning,) = cautions(load(tmp_path, {}, {"train.precision": [kind]}))
    assert f"train.precision {kind} is emulated on every device" in warning
