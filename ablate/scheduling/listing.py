"""The listing of every knob: its domain, its value in two recipes, the paper's finding and ours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from ablate.knobs import Choice, Config, KnobInfo, Number, Variants, kind_of, label, show
from ablate.knobs import knobs as knobs_of
from ablate.recipe import Recipe, preset
from ablate.scheduling import RefusedError

COLUMNS = ("knob", "domain", "crammed", "bert", "meaning", "paper", "cost")
_ABSENT = "–"
_SECTIONS = {
    "model": "Architecture",
    "data": "Data",
    "train": "Pretraining",
    "finetune": "Fine-tuning",
}


def rows() -> list[dict[str, Any]]:
    """One row per knob, depth first; a conditional knob has values only where its variant is chosen."""
    crammed, bert = preset("crammed-bert"), preset("bert-original")
    return [
        {
            "knob": info.name,
            "path": info.path,
            "domain": str(info.domain),
            "crammed": value(crammed, info),
            "bert": value(bert, info),
            "meaning": info.knob.meaning,
            "paper": info.knob.paper,
            "cost": info.knob.cost,
            "speed_only": info.knob.speed_only,
        }
        for info in knobs_of(Recipe)
    ]


def value(recipe: Config, info: KnobInfo) -> str:
    """The knob's level in a recipe, or a dash where another variant is in its place."""
    node: Any = recipe
    for part in info.name.split("."):
        match = re.fullmatch(r"(\w+)(?:\[(.+)\])?", part)
        assert match is not None
        node = getattr(node, match[1])
        if match[2] is not None and (node is None or kind_of(type(node)) != match[2]):
            return _ABSENT
    return label(node)


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """For a terminal."""
    found = Table(box=None, pad_edge=False, header_style="bold")
    for column, most in (("knob", 44), ("domain", 44), ("crammed", 22), ("BERT", 22), ("paper", 60)):
        found.add_column(column, overflow="fold", max_width=most)
    for row in rows:
        found.add_row(*(Text(row[key]) for key in ("knob", "domain", "crammed", "bert", "paper")))
    return found


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """For documents."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join(str(row[c]).replace("|", "\\|") for c in COLUMNS) + " |" for row in rows]
    return "\n".join(lines)


# --- docs/knobs.md -------------------------------------------------------------------------------------

_INTRODUCTION = """\
# Every knob

Written by `{command}`; a test keeps it current.

{knobs} knobs; {levels} levels named by their types, besides the numbers, which have ranges. A knob with
a variant in its name, as `model.position[rope].theta`, exists only where that variant is chosen; in a
study file it is written without it, `model.position.theta`. Columns *crammed* and *BERT* are the presets
`crammed-bert` and `bert-original`, a dash where the knob does not exist there. *The paper* is Geiping &
Goldstein 2023 (arXiv:2212.14034) and its reference code. *Here* is what this project measured, with the
study it comes from; empty where nothing has been measured yet.
"""


_LEFT_OUT = {
    "attention `pytorch`, `pytorch-seqfirst`, `huggingface`, `flash-attention-impl`, `seqfirst_tuformer`, "
    "`seqfirst2_tuformer`; norm `ApexLayerNorm`; `layer_fusion`":
        "other kernels or layouts for the same mathematics; the device chooses here",
    "attention `fourier-experimental`":
        "one product over the real and the imaginary part of the transform; the paper has no result of its "
        "own. `model.attention.output` gives `fourier` one over the real part",
    "norm: any other name in `torch.nn`":
        "the rest normalise over the batch or over channels of images; `layernorm`, `rmsnorm`, `scalenorm`, "
        "`dyt` and `none` are levels",
    "nonlin `CELU`, `Hardshrink`, `Softshrink`, `PReLU`, `RReLU`, `Threshold`, `Softmax` and its like":
        "`CELU` is `elu` at its default; the shrinking ones are 0 where an initialised model's values lie; a "
        "learned or a random slope is no function of the input, `leaky-relu` stands for them; the last mix "
        "channels",
    "`layer_macro_type`, `hf-bert-*`, `crammed-bert-simple`, `crammed-large-izsak`, `v1/crammed-bamboo`":
        "compositions, not switches: sizes, `model.stack` and the other knobs of a recipe say them",
    "rotary `sanity`, `v2`, `llama`":
        "other code for the same rotation, which `model.position: rope` is tested against",
    "`max_seq_length`": "position tables are as long as `data.length`",
    "loss `MSEf`": "the same number as `MSE`, without a matrix of labels; so is `mse` computed",
    "loss `szegedy`":
        "regression onto input embeddings, without logits or an MLM loss to compare; the paper has no result",
    "batch rules `inner-product`, `cov`, `cosine`":
        "the paper found all rules alike; `norm-test` and `noise-scale` stand for them",
    "schedules by step, and those by the names of `transformers`":
        "every schedule is a function of progress, and `budget: 4000 steps` makes progress a count of steps; "
        "the shapes are levels, `cosine_with_restarts` is `cosine-annealing`",
    "`sequence_curriculum` by lists of lengths and triggers":
        "a list cannot be searched: lengths double, `stages` says how many there are, `until` when they end",
    "`steps` as a cap": "the budget is the cap, in whatever unit it is given",
    "`gradinit`": "crashes in the reference; the paper's Appendix A leaves it unstudied",
    "`bptt-deepthinking`": "recurrence is `model.stack: recurrent`, trained through all of its rounds",
    "ZeRO, DDP, DeepSpeed, offloading": "a trial is one GPU",
    "inductor's `max_autotune_gemm`, `cudagraphs`, `permute_fusion`, `shape_padding`; `foreach`, `fused`":
        "speed alone, and set for all arms alike: fused updates where the optimizer has them, no CUDA "
        "graphs, which fail with accumulated gradients (pytorch#169545)",
    "`seed`": "blocks are seeds, and every arm of a block shares its",
}  # fmt: skip


def count(infos: Sequence[KnobInfo]) -> tuple[int, int]:
    """How many knobs there are, and how many levels their types name."""
    named = [info.domain.levels for info in infos if isinstance(info.domain, Choice | Variants)]
    none = sum(isinstance(info.domain, Number) and info.domain.optional for info in infos)
    return len(infos), sum(map(len, named)) + none


def page(rows: Sequence[dict[str, Any]], findings: Sequence[Mapping[str, Any]], command: str) -> str:
    """Every knob as a document, by section, with what was found of it."""
    knobs, levels = count(knobs_of(Recipe))
    parts = [_INTRODUCTION.format(command=command, knobs=knobs, levels=levels)]
    ours = _ours(findings)
    for section, title in _SECTIONS.items():
        parts += [
            f"## {title}\n",
            "| knob | levels | crammed | BERT | the paper | here |",
            "|" + " --- |" * 6,
        ]
        for row in rows:
            if row["path"].split(".")[0] == section:
                parts.append(_line(row, ours.get(row["knob"], [])))
        parts.append("")
    parts += ["## What the reference has and this has not\n", "| its key | why |", "| --- | --- |"]
    return "\n".join([*parts, *(f"| {key} | {why} |" for key, why in _LEFT_OUT.items())])


def _line(row: Mapping[str, Any], ours: Sequence[str]) -> str:
    about = row["meaning"] + (f"; cost: {row['cost']}" if row["cost"] else "")
    if row["speed_only"]:
        about += "; changes speed only"
    cells = [
        f"`{row['knob']}`<br>{about}", row["domain"], row["crammed"], row["bert"], row["paper"],
        "<br>".join(ours),
    ]  # fmt: skip
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _ours(findings: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What was found of each knob: its name → one line per arm that changed nothing else."""
    found: dict[str, list[str]] = {}
    for study in findings:
        for arm in study["arms"]:
            if arm["contrast"] is None or len(arm["changes"]) != 1:
                continue
            ((path, (_, level)),) = arm["changes"].items()
            effect, unit = arm["contrast"]["effect"], study["outcome"]["label"]
            line = f"{show(level)}: **{arm['contrast']['verdict']}**"
            if effect["estimate"] is not None:
                line += f", {effect['estimate']:+.3g} {unit}"
            if effect["low"] is not None:
                line += f" [{effect['low']:+.3g}, {effect['high']:+.3g}]"
            name = study["claims"].get(path, {}).get("knob", path)
            found.setdefault(name, []).append(
                f"{line} (study {study['name']}, {study['budget']}, {effect['n']} blocks)"
            )
    return found


def read_findings(folder: Path) -> list[dict[str, Any]]:
    """The findings files of a folder, by name. Raises RefusedError for what is none."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise RefusedError(
            f"--findings takes a folder with findings.json files of studies; {folder} has none"
        )
    return [_findings(path) for path in files]


def _findings(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RefusedError(f"{path} is no JSON: {error}; write it again with `ablate report`") from None
    if not (isinstance(found, dict) and isinstance(found.get("arms"), list)):
        raise RefusedError(
            f"{path} is no findings.json of a study: it has no arms; take it out of the folder"
        )
    return found
