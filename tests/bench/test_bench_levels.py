"""Every level has its speed or its reason, and a slower machine slows both sides of a ratio."""

from __future__ import annotations

import json
from dataclasses import replace as replace_fields

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from ablate.bench import candidates as finding
from ablate.bench import levels, relative
from ablate.bench.errors import BenchError
from ablate.bench.subjects import ours, tokens_to_learn
from ablate.cli import app
from ablate.knobs import Choice, Number, UnknownKnobError, Variants, differences, knobs, replace
from ablate.recipe import Recipe, preset
from ablate.training.callbacks import quiet_lightning
from ablate.training.initial import build
from ablate.training.module import MaskedLanguageModel
from tests.conformance.levels import every_level
from tests.conformance.levels import tiny as tiny_recipe

CPU = torch.device("cpu")
SMALL = preset("crammed-small")


def tiny() -> Recipe:
    return replace(
        tiny_recipe(),
        {"train.precision": "bf16", "model.layers": 4, "train.batch": 64, "train.micro_batch": 16},
    )


def test_every_level_of_every_knob_is_measured_or_has_a_reason() -> None:
    found = finding.candidates(SMALL)
    measured = {candidate.name for candidate in found.candidates}
    named = {knob.name for knob in knobs(Recipe)}
    assert measured.isdisjoint(found.refused)
    for knob in knobs(Recipe):
        has_level = any(name.startswith(f"{knob.name}=") for name in measured | set(found.refused))
        assert has_level != (knob.name in found.left_out), knob.name
    assert set(found.left_out) <= named
    # The conformance tests find the levels by themselves; only there does a number have one of their choice.
    for name, pair in every_level().items():
        if pair.knob.name not in found.left_out and isinstance(pair.knob.domain, (Choice, Variants)):
            present = name.rsplit("=", 1)[1] in ("bf16", "false") and name not in measured
            assert present or name in measured | set(found.refused), name


def test_what_is_left_out_of_model_and_training_is_a_number_or_no_part_of_a_step() -> None:
    of_steps = ("model.", "train.", "data.attention", "data.length")
    idle = ("model.init", "train.schedule", "train.mask_rule", "train.masking")
    left_out = finding.candidates(SMALL).left_out
    for knob in knobs(Recipe):
        if knob.name in left_out and knob.path.startswith(of_steps) and not knob.path.startswith(idle):
            assert isinstance(knob.domain, Number), knob.name


def test_the_amounts_belong_to_knobs_and_the_needs_too() -> None:
    names, paths = {knob.name for knob in knobs(Recipe)}, {knob.path for knob in knobs(Recipe)}
    assert set(finding.AMOUNTS) | set(finding.COUNTED) <= names
    assert set(finding.BESIDE) <= paths


def test_a_candidate_differs_from_the_recipe_in_its_level_and_in_what_the_table_says() -> None:
    for candidate in finding.candidates(SMALL).candidates:
        assert candidate.recipe.problems() == []
        path = candidate.name.split("=")[0]
        said = {path.split("[")[0]} | {part.split(" ")[0] for part in candidate.beside.split(", ") if part}
        assert {changed for changed in differences(SMALL, candidate.recipe)} <= said | {
            knob.path for knob in knobs(Recipe) if knob.name == path
        }, candidate


def test_a_level_that_changes_nothing_beside_the_recipe_is_refused() -> None:
    found = finding.candidates(replace(SMALL, {"train.precision": "fp32"}), ["model.attention[softmax].fp32"])
    assert found.refused == {"model.attention[softmax].fp32=true": "changes nothing in this recipe"}


def test_a_wrong_name_is_told_with_the_nearest_right_one() -> None:
    with pytest.raises(UnknownKnobError, match="did you mean 'model.position'"):
        finding.candidates(SMALL, ["model.positon"])
    with pytest.raises(BenchError, match="model.init leaves a training step as it is"):
        finding.candidates(SMALL, ["model.init"])


def test_a_prefix_means_whole_words_and_a_variant_can_be_named() -> None:
    def named(*only: str) -> set[str]:
        return {candidate.name.split("=")[0] for candidate in finding.candidates(SMALL, only).candidates}

    assert named("model.norm") == {"model.norm", "model.norm[layernorm].bias"}
    assert named("model.attention[flash]") == {
        "model.attention[flash].shared", "model.attention[flash].expansion",
    }  # fmt: skip
    assert named("model", "train") < named()


# --- ratios ------------------------------------------------------------------------------------------

SECONDS = {"a": 2.0, "b": 1.0, "c": 0.5, "d": 4.0}
TURN: relative.Turn = [
    (None, 1.0), ("a", 2.0), ("b", 1.0), (None, 1.0), ("c", 0.5), ("d", 4.0), (None, 1.0),
]  # fmt: skip


def test_a_ratio_is_the_defaults_seconds_over_the_levels() -> None:
    assert relative.ratios(TURN) == {"a": 0.5, "b": 1.0, "c": 2.0, "d": 0.25}
    assert relative.itself(TURN) == [1.0]


def test_a_machine_that_slows_down_to_half_its_speed_changes_no_ratio() -> None:
    drifting = [(name, seconds * (1 + i / (len(TURN) - 1))) for i, (name, seconds) in enumerate(TURN)]
    assert relative.ratios(drifting) == pytest.approx(relative.ratios(TURN))
    assert relative.itself(drifting) == pytest.approx([1.0])


def test_a_jump_between_two_defaults_changes_their_neighbours_alone() -> None:
    jumped = [(name, seconds * (1 if i < 4 else 2)) for i, (name, seconds) in enumerate(TURN)]
    found, before = relative.ratios(jumped), relative.ratios(TURN)
    assert (found["a"], found["b"]) == (before["a"], before["b"])


def test_the_default_is_measured_around_every_few_levels() -> None:
    default = finding.Candidate("the default", SMALL)
    others = finding.Found([finding.Candidate(str(n), SMALL) for n in range(2 * levels.EVERY + 1)])
    for number in (0, 1):
        order = levels._order(default, others, number)
        assert order[0] is order[-1] is default
        gaps = "".join("-" if one is default else "x" for one in order).strip("-").split("-")
        assert sorted(map(len, gaps)) == [1, levels.EVERY, levels.EVERY]
    assert levels._order(default, others, 1) == levels._order(default, others, 0)[::-1]


def test_what_explains_a_ratio() -> None:
    assert relative.explained(0.7, 0.7, "", 0.7) == ""
    assert relative.explained(0.5, 1.0, "", 0.7) == "arithmetic"
    assert relative.explained(0.5, 0.5, "no such units", 0.7) == "emulated"
    assert relative.explained(0.5, 0.6, "", 0.7) == "unexplained"


def test_an_updates_share_shrinks_with_the_micro_batches_that_share_it() -> None:
    cost = relative.Cost(gradient=2.0, update=1.0, tokens=4, flops_per_token=1.0, parameters=1)
    assert cost.per_token(1) == 3 / 4
    assert cost.per_token(10) == 21 / 40
    curved = replace_fields(cost, second_order=True)  # whose update goes through all their graphs again
    assert curved.per_token(1) == curved.per_token(10) == 3 / 4


# --- measured ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # of torchao's extensions, once per process
def test_every_level_that_is_named_has_its_row_or_its_reason() -> None:
    only = ["model.position", "train.objective", "train.modifier", "train.precision"]
    wanted = finding.candidates(tiny(), only)
    report = levels.bench(tiny(), "tiny", only, device="cpu", rows=2, vocabulary=64, rounds=1, steps=1)
    seen = {row.level for row in report.levels}
    assert seen | set(report.not_here) == {c.name for c in wanted.candidates} | set(wanted.refused)
    assert seen.isdisjoint(report.not_here)
    assert not [why for why in report.not_here.values() if why.startswith("failed")]
    assert report.not_here["train.precision=tf32"].startswith("TF32 is a mode of NVIDIA")
    rows = {row.level: row for row in report.levels}
    assert rows["train.objective=electra"].flops > 1.5
    assert rows["train.modifier=sam"].flops == 2
    assert rows["train.precision=int4"].emulated
    assert report.default.ratio == report.default.ratio_per_flop == 1.0
    assert all(row.ratio_per_flop == pytest.approx(row.ratio * row.flops) for row in report.levels)


def test_the_command_prints_json_alone_or_a_table(tmp_path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(tiny().model_dump_json())
    arguments = [
        "bench",
        "levels",
        "model.head",
        "--recipe",
        str(recipe),
        "--micro-batch",
        "2",
        "--vocabulary",
        "64",
    ]
    arguments += ["--rounds", "2", "--steps", "1", "--device", "cpu"]
    run = CliRunner().invoke(app, [*arguments, "--format", "json"])
    assert run.exit_code == 0, run.output
    report = json.loads(run.stdout)
    assert [row["level"] for row in report["levels"]] == ["model.head=linear", "model.head=bert"]
    assert report["clock"] == "cpu"
    assert len(report["itself"]) == 0
    shown = CliRunner().invoke(app, [*arguments, "--below", "99"]).stdout
    assert "| model.head=bert |" in shown
    assert "Bold: below 99." in shown


# --- one step ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{}, {"train.modifier": "sam"}, {"train.modifier": {"kind": "lars"}}, {"train.optimizer": "adahessian"},
     {"train.averaging": "lawa"}, {"train.length_curriculum": {"kind": "unfold", "stages": 2}}],
)  # fmt: skip
def test_a_step_of_the_bench_is_a_step_of_the_trial(changes) -> None:
    """Two steps, of one micro-batch each, from the same weights and on the same batch."""
    recipe = replace(tiny(), {**changes, "train.precision": "fp32", "train.batch": 4, "train.micro_batch": 4,
                              "train.schedule": "constant"})  # fmt: skip
    subject = ours(recipe, 4, 64, CPU, progress=0.0)
    torch.manual_seed(0)  # AdaHessian draws directions
    for _ in range(2):
        subject.step()
    batch = tokens_to_learn(recipe, 4, 64, CPU)
    module = MaskedLanguageModel(recipe, model=build(recipe, seed=0, vocabulary=64))
    torch.manual_seed(0)
    with quiet_lightning():
        Trainer(accelerator="cpu", barebones=True, max_steps=2, max_epochs=1).fit(
            module, DataLoader([batch, batch], batch_size=None, generator=torch.Generator())
        )
    for own, trials in zip(subject.model.parameters(), module.model.parameters(), strict=True):
        assert torch.equal(own, trials)


def test_an_update_of_second_derivatives_grows_with_the_micro_batches_of_its_step() -> None:
    """Which is why the bench does not spread it over them."""
    recipe = replace(tiny(), {"train.optimizer": "adahessian", "train.precision": "fp32"})
    counted = []
    for micro_batches in (1, 3):
        subject = ours(recipe, 2, 64, CPU)
        for _ in range(micro_batches):
            subject.backward(subject.loss())
        with FlopCounterMode(display=False) as counter:
            subject.update()
        counted.append(counter.get_total_flops())
    assert counted[1] == 3 * counted[0] > 0
