"""A config type is a search space: found, read, set, compared and drawn from by path."""

from typing import Annotated, Literal

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ablate.knobs import (
    Choice,
    Config,
    Knob,
    Number,
    UnknownKnobError,
    Variants,
    canonical,
    differences,
    get,
    knobs,
    label,
    one_of,
    parameters,
    qualified,
    replace,
    suggest,
)
from ablate.recipe import Recipe, preset


class LayerNorm(Config):
    """Centres and scales."""

    kind: Literal["layernorm"] = "layernorm"
    eps: Annotated[float, Knob("added to the variance", 1e-12, 1e-3, log=True)] = 1e-12


class RMSNorm(Config):
    """Scales without centring."""

    kind: Literal["rmsnorm"] = "rmsnorm"
    eps: Annotated[float, Knob("added to the variance", 1e-12, 1e-3, log=True)] = 1e-12


class NoNorm(Config):
    """Nothing."""

    kind: Literal["none"] = "none"


class Model(Config):
    layers: Annotated[int, Knob("blocks", 1, 64)] = 4
    bias: Annotated[bool, Knob("add a bias")] = False
    clip: Annotated[float | None, Knob("norm", 0.01, 10, log=True)] = 0.5
    norm: Annotated[Annotated[LayerNorm | RMSNorm | NoNorm, one_of], Knob("which")] = LayerNorm()
    note: str = "not a knob"


class Tree(Config):
    model: Model = Model()
    lr: Annotated[float, Knob("peak", 1e-5, 1e-1, log=True)] = 1e-3


def test_every_knob_is_found_with_its_domain_and_conditional_ones_are_qualified():
    found = {k.name: k.domain for k in knobs(Tree)}
    assert found == {
        "model.layers": Number(True, 1, 64, False),
        "model.bias": Choice((False, True)),
        "model.clip": Number(False, 0.01, 10, True, optional=True),
        "model.norm": Variants((LayerNorm, RMSNorm, NoNorm)),
        "model.norm[layernorm].eps": Number(False, 1e-12, 1e-3, True),
        "model.norm[rmsnorm].eps": Number(False, 1e-12, 1e-3, True),
        "lr": Number(False, 1e-5, 1e-1, True),
    }


def test_a_bare_name_is_a_variant_with_its_defaults():
    assert replace(Tree(), {"model.norm": "rmsnorm"}).model.norm == RMSNorm()


def test_a_variants_own_setting_can_be_set_with_its_kind_in_any_order():
    a = replace(Tree(), {"model.norm": "rmsnorm", "model.norm.eps": 1e-6})
    b = replace(Tree(), {"model.norm.eps": 1e-6, "model.norm": "rmsnorm"})
    assert a == b == replace(Tree(), {"model.norm": {"kind": "rmsnorm", "eps": 1e-6}})


def test_settings_without_a_kind_amend_the_variant_that_is_there():
    assert replace(Tree(), {"model.norm": {"eps": 1e-6}}).model.norm == LayerNorm(eps=1e-6)


@pytest.mark.parametrize(
    ("path", "nearest"), [("model.nrom", "model.norm"), ("layers", "model.layers"), ("model.lr", "lr")]
)
def test_an_unknown_knob_names_the_nearest_one(path, nearest):
    with pytest.raises(UnknownKnobError, match=f"did you mean '{nearest}'"):
        replace(Tree(), {path: 1})


@pytest.mark.parametrize(
    "change",
    [{"model.layers": 0}, {"model.norm": "nrom"}, {"lr": 1.0}, {"model.norm": {"kind": "none", "eps": 1}}],
)
def test_a_value_outside_the_domain_is_refused(change):
    with pytest.raises(ValidationError):
        replace(Tree(), change)


def test_differences_name_what_changed_and_nothing_else():
    arm = replace(Tree(), {"model.norm": "rmsnorm", "lr": 1e-2})
    assert differences(Tree(), arm) == {"model.norm": (LayerNorm(), RMSNorm()), "lr": (1e-3, 1e-2)}
    assert differences(arm, arm) == {}


def test_labels_show_only_what_leaves_a_variants_defaults():
    assert label(RMSNorm()) == "rmsnorm"
    assert label(RMSNorm(eps=1e-6)) == "rmsnorm(eps=1e-06)"
    assert [label(v) for v in (True, None, 0.0010, "x")] == ["true", "none", "0.001", "x"]


def test_canonical_tells_variants_apart_even_at_their_defaults():
    assert canonical(LayerNorm(eps=1e-6)) != canonical(RMSNorm(eps=1e-6))
    assert canonical(replace(Tree(), {"model.norm": "rmsnorm"})) == {"model": {"norm": {"kind": "rmsnorm"}}}
    assert canonical(Tree()) == {}


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "model.layers": st.integers(1, 64),
            "model.bias": st.booleans(),
            "model.norm": st.sampled_from(["layernorm", "rmsnorm", "none"]),
            "lr": st.floats(1e-5, 1e-1),
        },
    )
)
def test_what_is_set_is_what_is_got_and_configs_round_trip(changes):
    tree = replace(Tree(), changes)
    for path, value in changes.items():
        got = get(tree, path)
        assert (got.kind if path == "model.norm" else got) == value
    assert Tree.model_validate(tree.model_dump(mode="json")) == tree
    assert (canonical(tree) == canonical(Tree())) == (tree == Tree())


def test_a_sampler_draws_conditional_knobs_only_inside_their_variant():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    seen = set()
    for _ in range(40):
        trial = study.ask()
        tree = suggest(trial, Tree(), ["model.norm", "model.layers", "lr"])
        seen.add(tree.model.norm.kind)
        inner = {name for name in trial.params if "[" in name}
        assert inner == (
            {f"model.norm[{tree.model.norm.kind}].eps"} if tree.model.norm.kind != "none" else set()
        )
        assert trial.params == parameters(tree, ["model.norm", "model.layers", "lr"])
    assert seen == {"layernorm", "rmsnorm", "none"}


def test_fixed_parameters_reproduce_the_config_they_came_from():
    arm = replace(Tree(), {"model.norm": {"kind": "rmsnorm", "eps": 1e-5}, "model.layers": 7})
    trial = optuna.trial.FixedTrial(parameters(arm, ["model.norm", "model.layers"]))
    assert suggest(trial, Tree(), ["model.norm", "model.layers"]) == arm


def test_a_path_is_named_by_the_variants_that_are_there():
    recipe = replace(
        preset("crammed-small"), {"model.position": "rope", "data.source": {"kind": "local", "name": "x"}}
    )
    names = {info.name for info in knobs(Recipe)}
    for path in (
        "model.position.theta",
        "data.source.name",
        "model.position",
        "train.lr",
        "data.tokenizer.vocabulary",
    ):
        assert qualified(recipe, path) in names
    assert qualified(recipe, "model.position.theta") == "model.position[rope].theta"
    assert qualified(recipe, "data.source.name") == "data.source[local].name"
    assert qualified(recipe, "budget") == "budget"
