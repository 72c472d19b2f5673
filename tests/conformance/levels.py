"""Every level of every knob, found through the types: a new variant or setting is covered unasked.

What cannot be found is written here: what else must be chosen for a level to mean anything, values for knobs
whose middle means nothing at this size, and the few levels that another test covers.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ablate.knobs import Choice, Free, KnobInfo, Number, Variants, get, kind_of, knobs, label, replace
from ablate.recipe import Recipe, preset
from tests.conformance.observe import corpora

# A model of two tiny layers; the batch grows from one micro-batch to two within six steps.
TINY = {
    "model.layers": 2,
    "model.width": 16,
    "model.intermediate": 32,
    "model.heads": 2,
    "data.source": {"kind": "grammar", "megabytes": 0.1},
    "data.tokenizer.vocabulary": 512,
    "data.length": 16,
    "train.micro_batch": 4,
    "train.batch": 8,
    "train.precision": "fp32",
    "finetune": {"epochs": 1, "batch": 8, "head_width": 16, "lr": 1e-3},
}


def kinds(path: str) -> tuple[str, ...]:
    """The variants of a union."""
    (domain,) = {knob.domain for knob in knobs(Recipe) if knob.path == path}
    assert isinstance(domain, Variants)
    return domain.levels


# What a variant cannot do without.
SETTINGS: dict[str, dict[str, Any]] = {
    "data.source=files": {"train": str(corpora() / "text/books/train.parquet")},
    "data.source=hub": {"name": str(corpora() / "hub/wikipedia"), "limit": None},
    "data.source=mixture": {
        "parts": [
            {"source": {"kind": "local", "name": "wikipedia"}},
            {"source": {"kind": "grammar", "megabytes": 0.1}, "weight": 0.5},
        ]
    },
    "data.tokenizer=bpe": {"vocabulary": 300},
    "data.tokenizer=given": {"path": str(corpora() / "vocab.txt")},
}

# What a knob or a level needs around it.
CONTEXT: dict[str, dict[str, Any]] = {
    # Only a batch that does not grow is the same batch for every size of micro-batch.
    "train.micro_batch": {"train.ramp": 0.0},
    "model.deepnorm": {"model.norm_placement": "post"},
    "model.init=deepnorm": {"model.norm_placement": "post", "model.deepnorm": True},
    "model.attention[softmax].fp32": {"train.precision": "bf16"},
    "model.attention=fourier-hybrid": {"model.layers": 3},
    "model.stack[shared].groups": {"model.layers": 4},
    "model.stack=funnel": {"model.layers": 3},
    "model.feedforward_every": {"model.layers": 2},
    "model.layer_drop": {"model.layers": 3},
    "train.schedule[dive].cooldown": {"train.schedule.falloff": 0.2},
    "train.optimizer[shampoo].eps": {"train.optimizer.every": 2},
    "train.optimizer[shampoo].largest": {"train.optimizer.every": 2},
    "train.batch_rule": {"train.batch": 16},
    "train.batch_rule=noise-scale": {"train.batch": 16},
    "train.batch_rule=norm-test": {"train.batch": 64},
    "train.modifier=larc": {"train.lr": 0.1},
    "train.modifier[lars].trust": {"train.lr": 0.1},
    # The two forms of GELU differ where its input is not small, ReLU from its capped kin where it is large.
    "model.activation": {"model.width": 128, "model.init": {"kind": "normal", "std": 0.2}},
    # A model of six steps is hardly ever right, unless they are large ones.
    "train.loss=incorrect": {"train.lr": 0.05},
    # Merges and longest matches differ where words are cut.
    "data.tokenizer=bpe": {"data.tokenizer.vocabulary": 300},
    "data.reverse": {"data.order": "sentence-length"},
    # Few enough rows that the budget reads them twice.
    "data.sorted_passes": {
        "data.order": "sentence-length",
        "data.source": {
            "kind": "hub",
            "name": str(corpora() / "hub/wikipedia"),
            "limit": 3,
            "validation": "validation",
        },
        "train.batch": 64,
        "train.ramp": 0.0,
    },
    "train.length_curriculum": {"data.length": 64},
    "train.length_curriculum=truncate": {"data.length": 64},
    "train.length_curriculum=unfold": {"data.length": 64},
    "train.masking=whole-word": {"data.tokenizer.vocabulary": 300},
    "train.token_drop": {"train.mask_rate": 0.4},
    "train.decay_norms": {"train.weight_decay": 0.5},
    # Every matrix is square at half the width.
    "model.init[orthogonal].scaled": {"model.intermediate": 64},
    "model.embedding_fp32": {"train.precision": "bf16-pure"},
}

# Values to try besides the default, where the middle of the domain does not fit a tiny model or text.
VALUES: dict[str, list[Any]] = {
    "model.width": [32],
    "model.heads": [4],
    "model.intermediate": [64],
    "model.position[t5].max_distance": [64],
    "model.attention[flash].shared": [16],
    "model.attention[fourier-hybrid].softmax_layers": [1],
    "model.layer_drop": [0.5],
    "model.norm.eps": [1e-3],
    "model.embedding_width": [8],
    "data.source[grammar].megabytes": [0.2],
    "data.source[local].name": ["books"],
    "data.source[files].train": [str(corpora() / "text/wikipedia/train.parquet")],
    "data.source[files].validation": [str(corpora() / "text/books/validation.parquet")],
    "data.source[files].column": ["title"],
    "data.source[hub].name": [str(corpora() / "hub/books")],
    "data.source[hub].split": ["validation"],
    "data.source[hub].validation": ["validation"],
    "data.source[hub].column": ["title"],
    "data.source[hub].limit": [800],
    "data.source[hub].where": ["half=a"],
    "data.source[mixture].parts": [
        [
            {"source": {"kind": "local", "name": "wikipedia"}},
            {"source": {"kind": "grammar", "megabytes": 0.1}},
        ]
    ],
    "data.sorted_passes": [2, None],
    "data.tokenizer[bpe].vocabulary": [270],
    "data.tokenizer[unigram].vocabulary": [256],
    "data.tokenizer[byte-level].vocabulary": [512],
    "data.tokenizer[wordpiece].vocabulary": [300],
    "data.tokenizer[given].path": [str(corpora() / "smaller.txt")],
    "data.token_ratio": [0.22],
    "data.tokens": [10_000],
    "train.batch": [16],
    "train.clip": [0.02, None],
    "train.optimizer[adafactor].threshold": [2.0],
    "train.optimizer[muon].ratio": [2.0],
    "train.optimizer[soap].largest": [8],
    "train.length_curriculum[truncate].stages": [3],
    "train.length_curriculum[unfold].stages": [3],
    "train.averaging[lawa].every": [0.2],
    "train.batch_rule[norm-test].smoothing": [0.0],
    "train.batch_rule[norm-test].theta": [10.0],
    "train.averaging[lawa].snapshots": [2],
    "train.optimizer[shampoo].eps": [1e-3],
    "train.optimizer[shampoo].largest": [8],
    **{f"train.optimizer[{kind}].every": [2] for kind in ("shampoo", "soap", "sophia", "adahessian")},
    "train.micro_batch": [2, None],
    "train.ramp": [0.0],
    # A cool-down of a quarter is the very end that a triangle has.
    **{f"train.schedule[{kind}].cooldown": [0.4] for kind in kinds("train.schedule")},
    "finetune.clip": [0.01],
    "finetune.max_length": [8],
}

# Levels that need what a test machine lacks, and the test that covers them instead.
ELSEWHERE: dict[str, str] = {
    "data.source[hub].config": "needs the hub",
    "data.source[hub].revision": "needs the hub",
    "data.source=corpus": "needs the hub",
    "data.source[corpus].name": "needs the hub",
    "data.source[corpus].limit": "needs the hub",
    "train.precision=tf32": "needs tensor cores; tests/model/test_precision.py",
    "train.compile=true": "takes half a minute a time; tests/model/test_conformance.py",
}
# Knobs that are tried on documents, where a level shows without training: tests/data/cleaning/test_knobs.py
ON_DOCUMENTS = "data.cleaning."


# Levels that could not be tried, and why.
UNTRIED: dict[str, str] = {}


@dataclass(frozen=True)
class Pair:
    """A level, and the recipe that differs from it in nothing else."""

    knob: KnobInfo
    sibling: Recipe
    arm: Recipe


def tiny() -> Recipe:
    """The recipe around which every level is tried."""
    return replace(preset("crammed-small"), TINY)


@functools.cache
def every_level() -> dict[str, Pair]:
    """Name of the level → the level beside its sibling, for every knob of a recipe."""
    found: dict[str, Pair] = {}
    for knob in knobs(Recipe):
        if knob.name in ELSEWHERE or knob.name.startswith(ON_DOCUMENTS):
            continue
        base = replace(tiny(), {**_conditions(knob), **_context(knob)})
        present = get(base, knob.path)
        for level in other_levels(knob, present):
            # The folder has another name in every process, and a test the same.
            name = f"{knob.name}={label(level)}".replace(str(corpora()), "corpora")
            if name in ELSEWHERE:
                continue
            sibling = replace(base, CONTEXT.get(name, {}))
            chosen = {"kind": level, **SETTINGS[name]} if name in SETTINGS else level
            try:
                found[name] = Pair(knob, sibling, replace(sibling, {knob.path: chosen}))
            except ValidationError as error:  # told by a test of its own: one level must not hide the others
                UNTRIED[name] = str(error)
    return found


def other_levels(knob: KnobInfo, present: Any) -> list[Any]:
    """Levels besides the one that is present; for a number, one other value."""
    if knob.path in VALUES or knob.name in VALUES:
        return VALUES.get(knob.name, VALUES.get(knob.path, []))
    domain = knob.domain
    if isinstance(domain, Choice):
        return [level for level in domain.levels if level != present]
    if isinstance(domain, Variants):
        here = None if present is None else kind_of(type(present))
        return [level for level in domain.levels if level != here]
    if isinstance(domain, Free):
        return []  # a path or a name, which has no levels
    none = [None] if domain.optional and present is not None else []
    return [*none, _middle(domain, present)]


def _middle(domain: Number, present: Any) -> Any:
    if domain.integer and present is not None:
        return present + 1 if domain.high is None or present < domain.high else present - 1
    if domain.low is None or domain.high is None:
        return 2 * present if present else 1
    middle = math.sqrt(domain.low * domain.high) if domain.log else (domain.low + domain.high) / 2
    return middle if middle != present else domain.low


def _context(knob: KnobInfo) -> dict[str, Any]:
    """What else must be chosen: for the variants that the knob lives in, and for itself."""
    found: dict[str, Any] = {}
    path: list[str] = []
    for part in knob.name.split(".")[:-1]:
        key, _, kind = part.partition("[")
        path.append(key)
        if kind:
            found |= CONTEXT.get(f"{'.'.join(path)}={kind.rstrip(']')}", {})
    return {**found, **CONTEXT.get(knob.path, {}), **CONTEXT.get(knob.name, {})}


def _conditions(knob: KnobInfo) -> dict[str, Any]:
    """What must be chosen for a knob to exist: `position[rope].theta` needs position: rope."""
    found: dict[str, Any] = {}
    path: list[str] = []
    for part in knob.name.split(".")[:-1]:
        key, _, kind = part.partition("[")
        path.append(key)
        if kind:
            found[".".join(path)] = kind.rstrip("]")
    here: dict[str, Any] = {}
    for where, kind in found.items():  # keep a variant's own settings where it is present already
        now = tiny()
        try:
            present = get(replace(now, here), where)
        except ValueError:
            present = None
        if present is None or kind_of(type(present)) != kind:
            here[where] = {"kind": kind, **SETTINGS.get(f"{where}={kind}", {})}
    return here
