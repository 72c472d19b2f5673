"""A study file's mistakes are all told at once, with file, line, key, what is allowed and the nearest."""

import json
import os
import textwrap
from pathlib import Path

import pytest

import ablate.study
from ablate.design import arms, cautions, freeze
from ablate.knobs import replace
from ablate.recipe import PRESETS, preset
from ablate.scheduling.plan import make_plan
from ablate.scheduling.plantext import text as plan_text
from ablate.study import Study, StudyError, schema

GOOD = """\
name: tiny
question: Does it bite?
baseline: {preset: crammed-small, set: {model.layers: 2}}
budget: 10 steps
design:
  kind: one-factor
  factors:
    model.position: [rope, none]
  groups: {small: {model.width: 128, model.heads: 2}}
  blocks: 2
outcome: {metric: eval/mlm_loss, margin: 0.05}
"""


@pytest.fixture
def load(tmp_path):
    def load(text):
        path = tmp_path / "study.yaml"
        path.write_text(textwrap.dedent(text))
        return Study.load(path)

    return load


def test_an_arm_that_differs_only_where_nothing_looks_is_refused(load):
    idle = GOOD.replace("model.layers: 2", "model.layers: 2, train.weight_decay: 0").replace(
        "model.position: [rope, none]", "train.decay_norms: [true]"
    )
    ((_, key, message),) = problems(load, idle)
    assert key == "design.factors.train.decay_norms.0"
    assert message.startswith("this arm is the same model as the baseline: train.decay_norms changes nothing")


def test_couplings_are_told_with_their_arms_and_the_papers_reason(load):
    """Cramming, Architecture: pre-norm is what allows a high rate without warm-up."""
    daring = GOOD.replace("model.position: [rope, none]", "model.norm_placement: [post]")
    (warning,) = cautions(load(daring))
    assert warning.startswith(
        "model.norm_placement=post: model.norm_placement post at train.lr 0.001 without"
    )
    warmed = daring.replace("model.layers: 2", "model.layers: 2, train.schedule.warmup: 0.1")
    assert cautions(load(warmed)) == []


def problems(load, text):
    with pytest.raises(StudyError) as caught:
        load(text)
    return [(p.line, p.key, p.message) for p in caught.value.problems]


def test_a_good_study_resolves_its_baseline(load):
    study = load(GOOD)
    assert study.baseline.model.layers == 2
    assert study.baseline.model.width == preset("crammed-small").model.width
    assert study.file.outcome.higher_is_better is False


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "says"),
    [
        ("question:", "qestion:", 2, "qestion", "did you mean 'question'"),
        ("outcome: {metric: eval/mlm_loss, margin: 0.05}", "", 1, "outcome", "required"),
        ("budget: 10 steps", "budget: 10 stepps", 4, "budget", "unknown unit 'stepps'"),
        ("budget: 10 steps", "budget: 0s", 4, "budget", "must be positive"),
        ("crammed-small", "cramed-small", 3, "baseline.preset", "did you mean 'crammed-small'"),
        ("model.layers: 2", "model.layer: 2", 3, "baseline.set.model.layer", "did you mean 'model.layers'"),
        ("model.layers: 2", "model.layers: two", 3, "baseline.set.model.layers", "valid integer"),
        ("model.position: [rope", "model.positon: [rope", 8, "design.factors.model.positon.0", "'model.position'"),
        ("[rope, none]", "[rpoe, none]", 8, "design.factors.model.position.0", "did you mean 'rope'"),
        ("[rope, none]", "[rope, scaled-sinusoidal]", 8, "design.factors.model.position.1", "same model as the base"),
        ("[rope, none]", "[rope, rope]", 8, "design.factors.model.position.1", "same model as arm 'model.position=r"),
        ("[rope, none]", "[]", 8, "design.factors.model.position", "at least one level"),
        ("one-factor", "one-facter", 6, "design.kind", "did you mean 'one-factor'"),
        ("model.heads: 2", "model.heads: 3", 9, "design.groups.small", "must be a multiple of model.heads"),
        ("blocks: 2", "blocks: 0", 10, "design.blocks", "between 1 and 1000 blocks; got 0"),
        ("metric: eval/mlm_loss", "metric: eval/mlm_los", 11, "outcome.metric", "did you mean 'eval/mlm_loss'"),
        ("blocks: 2", "bloks: 2", 10, "design.bloks", "did you mean 'blocks'"),
        ("margin: 0.05", "margin: 0", 11, "outcome.margin", "greater than 0"),
        ("margin: 0.05", "margin: .inf", 11, "outcome.margin", "a finite number; got inf; name the largest"),
        ("margin: 0.05", "margin: 1e999", 11, "outcome.margin", "a finite number; got '1e999'; name the largest"),
        ("0.05}", "0.05, spread: .inf}", 11, "outcome.spread", "a finite number; got inf; leave it out"),
        ("budget: 10 steps", "budget: 1e999 steps", 4, "budget", "more than a number can hold"),
        ("margin: 0.05", "margin: small", 11, "outcome.margin", "valid number"),
        ("budget: 10 steps", "budget: 10 steps\nbudget: 11 steps", 5, "budget", "given twice (first on line 4)"),
        ("budget: 10 steps", "budget: [10 steps", 5, "", "not valid YAML"),
        ("[rope, none]", "[rope, none]\n    data.source: [{kind: files, train: nowhere/*.txt}]", 9,
         "design.factors.data.source.0", "nowhere"),
        ("blocks: 2", "blocks: 2\nevaluate: {grammar: {tasks: [acceptabilty]}}", 11, "evaluate", "acceptability"),
        # A key of somebody's own may begin as pydantic's names of types do.
        ("name: tiny", "strict: true", 1, "strict", "unknown key"),
        ("name: tiny", "int: 3", 1, "int", "unknown key"),
        ("blocks: 2", "blocks: 2\nevaluate: {tasks: {intent: {path: x}}}", 11, "evaluate.tasks.intent.text",
         "required"),
        ("name: tiny", "title: 2026-13-45", 1, "", "not valid YAML: month must be in 1..12; put text between quo"),
        ("name: tiny", "title: &a [*a]", 1, "title", "an alias of what it stands in"),
        ("name: tiny", f"title: {'[' * 3000}", 1, "", "nested too deeply"),
        ("model.layers: 2", "3: 4", 3, "baseline.set.3", "there is no knob '3'"),
        ("[rope, none]", "[{theta: 300}]", 8, "design.factors.model.position.0", "sinusoidal has no theta, rope has"),
        ("blocks: 2", "blocks: {min: 3, maxx: 5}", 10, "design.blocks", "'maxx'; did you mean 'max'? Allowed here: min"),
        ("[rope, none]\n  groups: {small: {model.width: 128, model.heads: 2}}", "[none]\n  tune: [model.position.theta]",
         9, "design.tune.knobs.model.position.theta", "no arm has model.position.theta, so it would never be drawn"),
        ("blocks: 2", "blocks: 2\n  tune: []", 11, "design.tune", "nothing to tune"),
        ("blocks: 2", "blocks: 2\n  tune: {knobs: {train.lr: all}, budget: 0s}", 11, "design.tune.budget", "positive"),
        ("blocks: 2", "blocks: 2\nevaluate: {grammar: {tasks: [sentiment], max_train: {entailment: 9}}}", 11,
         "evaluate", "max_train: 'entailment' is not among `tasks` (sentiment)"),
        ("small:", '" ":', 9, "design.groups", "one line, not blank; got ' '"),
        ("small:", '"a\\nb":', 9, "design.groups", "one line, not blank; got 'a\\nb'"),
        ("blocks: 2", "requires: {model.width: {model.position: rpoe}}\n  blocks: 2", 10,
         "design.requires.model.width.model.position", "did you mean 'rope'"),
    ],
)  # fmt: skip
def test_each_mistake_names_its_line_key_and_way_out(load, old, new, line, key, says):
    assert old in GOOD
    found = problems(load, GOOD.replace(old, new, 1))
    assert any(f[0] == line and f[1].startswith(key) and says in f[2] for f in found), found


def test_all_mistakes_are_told_at_once(load):
    text = (
        GOOD.replace("margin: 0.05", "margin: -1")
        .replace("blocks: 2", "bloks: 2")
        .replace("10 steps", "soon")
        .replace("crammed-small", "cramed-small")
        .replace("model.layers: 2", "model.layer: 2")
        .replace("[rope, none]", "[rpoe, none, scaled-sinusoidal]")
        .replace("eval/mlm_loss", "eval/mlm_los")
        + "\nevaluate: {grammar: {tasks: [acceptabilty]}}"
    )
    found = problems(load, text)
    # What is wrong inside an arm is found although the keys above it are wrong, too.
    assert [key for _, key, _ in found] == [
        "baseline.preset",
        "baseline.set.model.layer",
        "budget",
        "design.factors.model.position.0",
        "design.factors.model.position.2",
        "design.bloks",
        "outcome.margin",
        "outcome.metric",
        "evaluate",
    ]


def test_a_file_that_cannot_be_mended_tells_what_it_can(load):
    found = problems(load, "question: q\ndesign: 3\n")
    assert {key for _, key, _ in found} == {"baseline", "budget", "design", "outcome"}


@pytest.mark.parametrize("text", ["", "\n\n", "one little sentence."])
def test_a_corpus_that_fills_no_row_is_told_before_anything_starts(load, tmp_path, text):
    (tmp_path / "corpus.txt").write_text(text)
    source = f"data.source: {{kind: files, train: {tmp_path}/corpus.txt}}"
    found = problems(load, GOOD.replace("model.layers: 2", source))
    assert len(found) == 1
    assert found[0][:2] == (3, "baseline")
    assert "must fill at least one row of 128 tokens" in found[0][2]


def test_couplings_are_checked(load):
    text = GOOD.replace(
        "  blocks: 2", "  requires: {model.position: {model.norm_placement: post}}\n  blocks: 2"
    )
    found = problems(load, text)
    assert len(found) == 2
    assert "requires model.norm_placement=post, here it is pre" in found[0][2]


def test_a_task_listed_twice_is_told_once(load):
    ((_, _, message),) = problems(
        load, GOOD + "evaluate: {grammar: {tasks: [sentiment, sentiment], max_train: 9}}\n"
    )
    assert message.startswith("grammar: each task runs once")


def test_a_variants_own_knob_is_searched_where_the_variant_may_be_drawn(load):
    search = "{kind: search, trials: 3, blocks: 1, space: {model.position: [rope, none], model.position.theta: all}}"
    text = GOOD[: GOOD.index("design:")] + f"design: {search}\n" + GOOD[GOOD.index("outcome:") :]
    assert load(text).file.design.space
    ((_, key, _),) = problems(load, text.replace("model.position: [rope, none], ", ""))
    assert key == "design.space.model.position.theta"


def test_a_needed_level_is_read_as_an_arms_is(load):
    """YAML reads 1e-3 as text; the baseline's rate is that number."""
    text = GOOD.replace("  blocks: 2", "  requires: {model.position: {train.lr: 1e-3}}\n  blocks: 2")
    assert len(arms(load(text))) == 4


def test_a_section_sets_the_knobs_in_it_and_leaves_the_others(load):
    nested = GOOD.replace("model.layers: 2", "model: {layers: 2}, finetune: {epochs: 3}")
    nested = nested.replace("crammed-small", "bert-original").replace(
        "small: {model.width: 128, model.heads: 2}", "small: {model: {width: 384, heads: 6}}"
    )
    study = load(nested)
    assert study.baseline == replace(preset("bert-original"), {"model.layers": 2, "finetune.epochs": 3})
    assert {arm.name: arm.recipe for arm in arms(study)}["small"].model.layers == 2


def test_a_variant_and_its_own_setting_stand_in_any_order(load):
    text = GOOD.replace("model.layers: 2", "model.position.theta: 5e4, model.position: rope")
    assert load(text.replace("[rope, none]", "[none]")).baseline.model.position.theta == 5e4


def test_what_is_wrong_with_the_baseline_is_told_once_and_not_again_for_every_arm(load):
    ((_, key, message),) = problems(load, GOOD.replace("model.layers: 2", "model.heads: 3"))
    assert key == "baseline"
    assert "must be a multiple of model.heads (3)" in message


@pytest.mark.parametrize("text", ["", "[1, 2]", "just words", "\xff\xfe"])
def test_what_is_no_study_is_refused_plainly(load, text):
    assert len(problems(load, text)) >= 1


def test_the_source_is_the_path_that_finds_the_file_again(tmp_path, monkeypatch):
    folder = tmp_path / "studies"
    folder.mkdir()
    (folder / "good.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert Study.load(Path("studies/good.yaml")).source == "studies/good.yaml"
    assert Study.load(folder / "good.yaml").source == "studies/good.yaml"
    (tmp_path / ".git").mkdir()
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert Study.load(folder / "good.yaml").source == "studies/good.yaml"  # of its repository
    assert freeze(Study.load(folder / "good.yaml"), created="now").source == "studies/good.yaml"


def test_a_folder_is_no_study_file(tmp_path):
    with pytest.raises(StudyError, match="is a folder; name the study's file"):
        Study.load(tmp_path)


def test_a_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "quickstart.yaml").write_text(GOOD)
    with pytest.raises(StudyError, match="did you mean '.*quickstart.yaml'"):
        Study.load(tmp_path / "quickstrat.yaml")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_buildable(name):
    assert preset(name).problems() == []


def test_the_schema_file_is_current():
    path = Path(ablate.study.__file__).with_name("study.schema.json")
    fresh = json.loads(json.dumps(schema()))
    assert json.loads(path.read_text()) == fresh, "run: ablate schema > ablate/study.schema.json"


STUDIES = sorted((Path(__file__).parent.parent / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_every_study_of_the_repository_plans(path):
    text = path.read_text()
    if "ABLATE_DATA" in text and "ABLATE_DATA" not in os.environ:
        pytest.skip("needs ABLATE_DATA")
    study = Study.load(path)
    frozen = freeze(study, created="")
    plan = make_plan(frozen, [], workers=1)
    assert plan.trials >= len(frozen.trials)
    assert "outcome" in plan_text(plan)
    design = study.file.design
    if not (design.tune or design.probe or design.kind == "search"):
        assert len(frozen.trials) == len(arms(study)) * design.first_blocks
    head = text.split("\nname:", 1)[0]
    assert "Protocol." in head, "a study's comment header is its protocol"
    assert "$schema=../ablate/study.schema.json" in head


def test_the_ladder_ends_at_the_crammed_recipe():
    found = arms(Study.load(Path(__file__).parent.parent / "studies" / "ladder.yaml"))
    last = [arm for arm in found if not arm.name.startswith("back")][-1]
    assert last.recipe == preset("crammed-bert")


def test_a_recipe_file_that_is_no_text_is_told_like_one_that_is_not_there(load, tmp_path):
    (tmp_path / "latin.yaml").write_bytes("# Übung\nmodel: {layers: 2}\n".encode("latin-1"))
    for file, why in (("latin.yaml", "codec can't decode"), ("gone.yaml", "No such file")):
        ((_, key, message),) = problems(load, GOOD.replace("{preset: crammed-small,", f"{{path: {file},"))
        assert key == "baseline.path"
        assert message.startswith("the recipe file")
        assert file in message
        assert why in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ":1: a recipe file is a mapping of model, data, train, finetune"),
        ("model: {layers: 2}\nmodel: {heads: 2}\n", ":2: model: given twice (first on line 1); keep one"),
        ("train: {lr: 1e-3}\nmodel:\n  intermediate: 1\n", ":3: model.intermediate: should be greater"),
        ("model: 2026-13-45", ":1: not valid YAML: month must be in 1..12"),
    ],
)
def test_a_recipe_files_mistakes_are_told_with_their_lines(load, tmp_path, text, says):
    (tmp_path / "own.yaml").write_text(text)
    ((_, key, message),) = problems(load, GOOD.replace("{preset: crammed-small,", "{path: own.yaml,"))
    assert key == "baseline.path"
    assert message.startswith(f"{tmp_path}/own.yaml{says}")
