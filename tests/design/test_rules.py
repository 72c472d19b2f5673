"""`rules: strict` refuses what is pretrained, `open` names it, in the frozen study and in the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.analysis import analyze
from ablate.design import freeze
from ablate.knobs import breaches, parts, replace
from ablate.recipe import PRESETS, preset
from ablate.records import StudyPaths, write_json
from ablate.report import write_report
from ablate.study import Study, StudyError

HEAD = """\
question: Does it pay?
baseline: crammed-small
budget: 10 steps
outcome: {metric: eval/mlm_loss, margin: 0.05}
"""
DESIGN = """\
design:
  factors:
    data.cleaning.language: [langid]
    data.cleaning.rules: [rules]
  blocks: 2
"""


def load(folder: Path, text: str) -> Study:
    (folder / "study.yaml").write_text(text)
    return Study.load(folder / "study.yaml")


@pytest.mark.parametrize(
    ("stated", "said"), [("", "the default"), ("rules: strict\n", "as this study states")]
)
def test_strict_rules_refuse_what_is_pretrained_and_name_the_way_out(
    tmp_path: Path, stated: str, said: str
) -> None:
    with pytest.raises(StudyError) as caught:
        load(tmp_path, HEAD + stated + DESIGN)
    (problem,) = caught.value.problems
    for part in (said, "data.cleaning.language breaks that: langid was trained", "write `rules: open`"):
        assert part in problem.message
    assert "(arm data.cleaning.language=langid)" in problem.message
    assert problem.line == (HEAD + stated).count("\n") + 3


def test_without_anything_pretrained_strict_rules_are_kept(tmp_path: Path) -> None:
    study = load(tmp_path, HEAD + DESIGN.replace("    data.cleaning.language: [langid]\n", ""))
    frozen = freeze(study, created="2026-01-01T00:00:00+00:00")
    assert frozen.rules == "strict"
    assert not any(arm.breaches for arm in frozen.arms)
    assert analyze(frozen, []).breaches == ()


def test_open_rules_are_frozen_with_what_breaks_the_strict_ones(tmp_path: Path) -> None:
    frozen = freeze(load(tmp_path, HEAD + "rules: open\n" + DESIGN), created="2026-01-01T00:00:00+00:00")
    assert frozen.rules == "open"
    assert [set(arm.breaches) for arm in frozen.arms] == [set(), {"data.cleaning.language"}, set()]
    found = analyze(frozen, [])
    assert found.breaches == (
        "data.cleaning.language in data.cleaning.language=langid: langid was trained on labelled text of 97 languages",
    )
    paths = StudyPaths(tmp_path)
    write_json(paths.study, frozen.model_dump(mode="json", by_alias=True))
    write_report(tmp_path)
    for page in ("report.md", "report.html"):
        text = (tmp_path / "report" / page).read_text()
        assert "open; pretrained: data.cleaning.language in data.cleaning.language=langid" in text


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_keeps_the_strict_rules(name: str) -> None:
    assert breaches(preset(name)) == {}


def test_a_part_that_breaks_the_rules_speaks_for_its_own_parts() -> None:
    recipe = replace(preset("crammed-small"), {"data.cleaning.quality": {"labels": {"kind": "endpoint"}}})
    assert [part.breaks_strict is not None for part in parts(recipe)].count(True) == 2
    assert list(breaches(recipe)) == ["data.cleaning.quality"]
