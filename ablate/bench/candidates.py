"""Which levels can change how fast a recipe trains: those of every knob that acts on a training step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ablate.bench.errors import BenchError
from ablate.knobs import (
    Choice,
    KnobInfo,
    Number,
    UnknownKnobError,
    Variants,
    canonical,
    get,
    kind_of,
    knobs,
    label,
    replace,
)
from ablate.recipe import Recipe

# Knobs, with all that is below them, that leave a training step's work as it is, and why.
IDLE = {
    "model.init": "the first weights; later work is the same",
    "train.schedule": "one number per step",
    "train.masking": "drawn by the loader (ablate bench data)",
    "train.mask_rule": "drawn by the loader (ablate bench data)",
    "data.tokenizer": "of a tokenizer a step sees --vocabulary alone",
    "data": "prepared before training starts",
    "finetune": "after pretraining",
}
# What is below the above and acts on a step nevertheless.
ACTING = ("data.attention", "data.length")
FORMULA = "a number in a formula: as much work at every value"
COUNTED = {
    "train.batch": "how many micro-batches share an update",
    "train.ramp": "how many micro-batches share an update",
    "train.micro_batch": "--micro-batch",
    "train.averaging[lawa].every": "measured as if every step took a snapshot",
    **{f"train.length_curriculum[{kind}].{key}": "how long rows stay short"
       for kind in ("truncate", "unfold") for key in ("stages", "until")},
    **{f"train.optimizer[{kind}].every": "how many updates share a computation: its cost is divided by it"
       for kind in ("shampoo", "soap", "sophia", "adahessian")},
}  # fmt: skip

# Of a number that does change the work, one value besides the recipe's own.
AMOUNTS: dict[str, Callable[[Recipe], Any]] = {
    "model.layers": lambda recipe: 2 * recipe.model.layers,
    "model.width": lambda recipe: 2 * recipe.model.width,
    "model.heads": lambda recipe: 2 * recipe.model.heads,
    "model.intermediate": lambda recipe: 2 * recipe.model.intermediate,
    "model.feedforward_every": lambda recipe: 2,
    "model.attention[tuformer].rank": lambda recipe: 32,
    "model.attention[fourier-hybrid].softmax_layers": lambda recipe: 1,
    "model.attention[flash].shared": lambda recipe: 64,
    "model.attention[flash].expansion": lambda recipe: 1,
    "model.stack[shared].groups": lambda recipe: 2,
    "model.stack[recurrent].rounds": lambda recipe: 2,
    "model.stack[funnel].pool": lambda recipe: 4,
    "model.layer_drop": lambda recipe: 0.5,
    "model.embedding_width": lambda recipe: recipe.model.width // 2,
    "model.position[rope].fraction": lambda recipe: 0.5,
    "train.optimizer[shampoo].largest": lambda recipe: recipe.model.width,
    "train.optimizer[soap].largest": lambda recipe: recipe.model.width,
    "train.clip": lambda recipe: 0.5 if recipe.train.clip is None else None,
    "train.averaging[lawa].snapshots": lambda recipe: 2,
    "train.mask_rate": lambda recipe: min(0.9, 2 * recipe.train.mask_rate),
    "train.loss[cross-entropy].label_smoothing": lambda recipe: 0.1,
    "train.loss[cross-entropy].z_loss": lambda recipe: 1e-4,
    "train.token_drop": lambda recipe: 0.25,
    "train.dropout": lambda recipe: 0.1,
    "train.embedding_dropout": lambda recipe: 0.1,
    "train.attention_dropout": lambda recipe: 0.1,
    "train.precision[int4].gradients[luq].samples": lambda recipe: 4,
    "data.length": lambda recipe: 2 * recipe.data.length,
}

# What else is set for levels that would change nothing, or could not be had, without it.
BESIDE: dict[str, dict[str, Any]] = {
    "model.deepnorm": {"model.norm_placement": "post"},
    "model.embedding_fp32": {"train.precision": "bf16-pure"},
    "train.decay_norms": {"train.weight_decay": 0.01},
    "train.decay_biases": {"train.weight_decay": 0.01},
    "train.decay_embeddings": {"train.weight_decay": 0.01},
}


@dataclass(frozen=True)
class Candidate:
    """A level, and the recipe that has it."""

    name: str  # model.position[rope].fraction=0.5
    recipe: Recipe
    beside: str = ""  # what else differs from the default, because the level means nothing without it


@dataclass
class Found:
    """What there is to measure, and what is not measured: name → why."""

    candidates: list[Candidate] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)  # levels
    left_out: dict[str, str] = field(default_factory=dict)  # knobs


def candidates(recipe: Recipe, only: Sequence[str] = ()) -> Found:
    """Every level of the knobs `only` (all: none named), with what is below them, besides the recipe's own.

    Raises UnknownKnobError for a name that is no knob; BenchError where nothing named acts on a step.
    """
    found = Found()
    for knob in _named(only):
        idle = _idle(knob)
        if idle:
            found.left_out[knob.name] = idle
            continue
        base = _around(recipe, knob)
        for level in _levels(knob, base):
            name = f"{knob.name}={label(level)}"
            arm, beside = replace(base, {knob.path: level}), ""
            why = _refusal(knob, base, arm)
            if why and knob.path in BESIDE:
                needed = BESIDE[knob.path]
                arm, beside = replace(arm, needed), ", ".join(f"{k} {label(v)}" for k, v in needed.items())
                why = _refusal(knob, replace(base, needed), arm)
            if why:
                found.refused[name] = why
            else:
                found.candidates.append(Candidate(name, arm, beside))
    if not (found.candidates or found.refused):
        name, why = next(iter(found.left_out.items()))
        raise BenchError(
            f"{name} leaves a training step as it is ({why}), as does all that was named; name another knob, "
            "such as model.position"
        )
    return found


def _named(only: Sequence[str]) -> list[KnobInfo]:
    every = knobs(Recipe)
    chosen = []
    for wanted in only:
        below = [knob for knob in every if _below(knob.path, wanted) or _below(knob.name, wanted)]
        if not below:
            groups = {knob.path.split(".")[0] for knob in every}
            raise UnknownKnobError(wanted, {knob.path for knob in every} | groups)
        chosen += below
    return [knob for knob in every if knob in chosen] if only else list(every)


def _below(path: str, parent: str) -> bool:
    return path == parent or path.startswith((f"{parent}.", f"{parent}["))


def _idle(knob: KnobInfo) -> str:
    """Why no level of the knob changes a step's work; empty: one may."""
    if knob.path in ACTING:
        return ""
    above = next((why for path, why in IDLE.items() if _below(knob.path, path)), "")
    if above or not isinstance(knob.domain, Number) or knob.name in AMOUNTS:
        return above
    return COUNTED.get(knob.name, FORMULA)


def _around(recipe: Recipe, knob: KnobInfo) -> Recipe:
    """The recipe with the variants that the knob lives in."""
    path: list[str] = []
    for part in knob.name.split(".")[:-1]:
        key, _, kind = part.rstrip("]").partition("[")
        path.append(key)
        here = ".".join(path)
        if kind and _kind_at(recipe, here) != kind:
            recipe = replace(recipe, {here: kind})
    return recipe


def _kind_at(recipe: Recipe, path: str) -> str | None:
    value = get(recipe, path)
    return None if value is None else kind_of(type(value))


def _levels(knob: KnobInfo, base: Recipe) -> list[Any]:
    present = get(base, knob.path)
    if isinstance(knob.domain, Choice):
        return [level for level in knob.domain.levels if level != present]
    if isinstance(knob.domain, Variants):
        here = _kind_at(base, knob.path)
        return [level for level in knob.domain.levels if level != here]
    if knob.name not in AMOUNTS:
        return []  # a path or a name
    amount = AMOUNTS[knob.name](base)
    return [amount] if amount != present else []


def _refusal(knob: KnobInfo, base: Recipe, arm: Recipe) -> str:
    """Why a level cannot be measured on any device; empty: it can."""
    problems = arm.problems()
    if problems:
        return "; ".join(problems)
    same = canonical(arm.effective()) == canonical(base.effective())
    return "changes nothing in this recipe" if same and not knob.knob.speed_only else ""
