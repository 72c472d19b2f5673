"""A study file's mistakes are all told at once, with file, line, key, what is allowed and the nearest."""

import json
import os
import textwrap
from pathlib import Path

import pytest

import ablate.study
from ablate.design import arms, cautions, freeze
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
