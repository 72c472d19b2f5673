"""`verify`: an edited table is still true, a drifted one is caught with its line and its numbers."""

import re

import pytest

from ablate.records import StudyPaths, write_json
from ablate.records.store import read_record
from ablate.report import FORMATS, render_table
from ablate.report.tables import PRESETS
from ablate.report.verify import VerifyError, verify

from ..analysis import synthetic

EXTENSIONS = {"latex": ".tex", "markdown": ".md", "csv": ".csv", "html": ".html"}


@pytest.fixture
def root(tmp_path):
    arms = ["model.position=none", "model.position=rope", "model.norm=rmsnorm"]
    frozen = synthetic.study(arms)
    return synthetic.write(tmp_path / "run", frozen, synthetic.records(frozen))


def export(root, tmp_path, format, preset="full"):
    file = tmp_path / f"table{EXTENSIONS[format]}"
    file.write_text(render_table(root, format, preset))
    return file


def change(root, by=0.3):
    """What a trial that ran again would do: another score in one record."""
    path = StudyPaths(root).trial(synthetic.trial_id("model.position=none", 2)).record
    record = read_record(path)
    metrics = {**record.metrics, synthetic.METRIC: record.metrics[synthetic.METRIC] + 5 * by}
    write_json(path, record.model_copy(update={"metrics": metrics}))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("format", FORMATS)
def test_a_fresh_table_matches_and_a_changed_record_is_caught(root, tmp_path, format, preset):
    file = export(root, tmp_path, format, preset)
    fresh = verify(file, root)
    assert not fresh.drifts
    assert fresh.rows == 4
    change(root)
    drifts = verify(file, root).drifts
    assert {drift.arm for drift in drifts} == {"model.position=none"}
    lines = file.read_text().splitlines()
    marker = {"markdown": "none", "latex": "none", "csv": "model.position=none", "html": "none"}[format]
    assert all(marker in lines[drift.line - 1] for drift in drifts)


@pytest.mark.parametrize("format", FORMATS)
def test_a_number_typed_wrong_is_named_with_its_line(root, tmp_path, format):
    file = export(root, tmp_path, format)
    lines = file.read_text().splitlines()
    target = {"csv": "^model.norm=rmsnorm", "html": 'data-arm="model.norm=rmsnorm"'}.get(
        format, "^(\\| )?model.norm="
    )
    at = next(i for i, line in enumerate(lines) if re.search(target, line))
    shown = re.findall(r">(\d\d\.\d+)<" if format == "html" else r"(?<![\w.])\d\d\.\d+", lines[at])[0]
    wrong = f"{(int(shown[0]) + 1) % 10}{shown[1:]}"
    around = ">{}<" if format == "html" else "{}"
    lines[at] = lines[at].replace(around.format(shown), around.format(wrong), 1)
    file.write_text("\n".join(lines) + "\n")
    drifts = verify(file, root).drifts
    assert [(drift.line, drift.arm) for drift in drifts] == [(at + 1, "model.norm=rmsnorm")]
    assert wrong in drifts[0].shown


def test_an_edited_latex_table_is_still_true(root, tmp_path):
    file = export(root, tmp_path, "latex")
    lines = []
    for line in file.read_text().splitlines():
        if line.endswith('"model.position=rope"'):
            continue  # a row was dropped
        line = line.replace("model.norm=rmsnorm &", "\\textsc{RMSNorm}, ours \\& theirs &", 1)
        if "% ablate row" in line and "baseline" not in line:
            cells = line.split(" & ")
            line = " & ".join([cells[0], "\n   " + cells[1], *cells[3:]])  # broken over lines, a column less
        lines.append(line)
    file.write_text("\n".join(lines))
    found = verify(file, root)
    assert not found.drifts
    assert found.rows == 3


def test_fewer_decimals_are_no_drift_and_other_decimals_are(root, tmp_path):
    file = export(root, tmp_path, "markdown")
    text = file.read_text()
    value = re.search(r"model.norm=rmsnorm \| 5 \| [^|]+\| [^|]+\| (\d\.\d+)", text)[1]
    file.write_text(text.replace(f" {value} ", f" {float(value):.1f} "))
    assert not verify(file, root).drifts
    file.write_text(text.replace(f" {value} ", f" {float(value) + 0.1:.1f} "))
    assert verify(file, root).drifts


def test_a_verdict_that_changed_is_drift_even_where_its_numbers_are_right(root, tmp_path):
    file = export(root, tmp_path, "markdown")
    file.write_text(file.read_text().replace("| hurts |", "| inconclusive |"))
    (drift,) = verify(file, root).drifts
    assert (drift.arm, drift.column, drift.shown, drift.recorded) == (
        "model.position=none",
        "verdict",
        "inconclusive",
        "hurts",
    )


def test_a_paper_is_checked_through_its_inputs(root, tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "ablation.tex").write_text(render_table(root, "latex"))
    paper = tmp_path / "paper.tex"
    paper.write_text(
        "\\documentclass{article}\n% \\input{tables/gone}\n\\begin{document}\\input{tables/ablation}\\end{document}\n"
    )
    assert verify(paper, root).rows == 4
    change(root)
    assert all(drift.file.name == "ablation.tex" for drift in verify(paper, root).drifts)


def test_a_row_of_an_arm_that_is_gone_is_drift(root, tmp_path):
    file = export(root, tmp_path, "latex")
    file.write_text(
        file.read_text().replace('% ablate row "model.norm=rmsnorm"', '% ablate row "model.norm=gone"')
    )
    (drift,) = verify(file, root).drifts
    assert "no such arm" in str(drift)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("paper.tex", "no table here", "holds no table of study 'synthetic'"),
        ("paper.tex", '% ablate {"study": "other"}\na & 1 \\\\ % ablate row "a"\n', "it has tables of other"),
        ("paper.tex", "% ablate {torn\n", "is damaged"),
        ("paper.docx", "x", "is none of .tex"),
        ("numbers.csv", "a,b\n1,2\n", "no columns 'arm' and 'trials'"),
        ("t.tex", '% ablate {"study": "synthetic", "preset": "tall"}\na & 1 \\\\ % ablate row "a"\n', "preset 'tall'"),
    ],
)  # fmt: skip
def test_a_file_with_nothing_to_check_says_so(root, tmp_path, name, text, said):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(VerifyError, match=re.escape(said)):
        verify(file, root)
