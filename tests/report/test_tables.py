"""The ablation table: every number is the records' number, in every format."""

import csv
import io
import json
import math
import re
import shutil
import subprocess

import pytest
from rich.console import Console

from ablate.analysis import analyze
from ablate.report import FORMATS, format_table, render_table, render_terminal
from ablate.report.latex import escape
from ablate.report.tables import PRESETS, ablation_table

from ..analysis import synthetic


@pytest.fixture(scope="module")
def frozen():
    return synthetic.study()


@pytest.fixture(scope="module")
def records(frozen):
    lost = synthetic.record("model.position=rope", 2, state="diverged", reason="loss is nan")
    return [lost if r.trial == lost.trial else r for r in synthetic.records(frozen)]


@pytest.fixture(scope="module")
def found(frozen, records):
    return analyze(frozen, records)


def row(found, arm):
    table = ablation_table(found)
    cells = next(r for r in table.rows if r.arm == arm).cells
    return {column.key: cell for column, cell in zip(table.columns, cells, strict=True)}


def test_numbers_in_the_table_equal_the_records(found, records):
    for arm in found.arms:
        for metric in (synthetic.METRIC, "eval/mlm_loss", *synthetic.TASKS):
            own = [r.metrics[metric] for r in records if r.arm == arm.name and r.state == "complete"]
            assert row(found, arm.name)[metric].value == pytest.approx(math.fsum(own) / len(own), rel=1e-12)


def test_shown_text_is_the_rounded_number(found):
    for arm in found.arms:
        cell = row(found, arm.name)[synthetic.METRIC]
        assert float(cell.text) == pytest.approx(cell.value, abs=0.05)


def test_the_baseline_is_on_top_and_scale_rows_are_at_the_end(found):
    kinds = [r.kind for r in ablation_table(found).rows]
    assert kinds[0] == "baseline"
    assert kinds[-2:] == ["scale", "scale"]


def test_columns_come_in_the_house_order(found):
    keys = [c.key for c in ablation_table(found).columns]
    assert keys == ["n", "tokens", "speed", "eval/mlm_loss", *synthetic.TASKS, synthetic.METRIC, "effect", "p", "verdict"]  # fmt: skip


def test_failures_are_shown_and_never_blank(found):
    assert row(found, "model.position=rope")["n"].text == "4/5, div. (1)"
    assert all(cell.text for r in ablation_table(found).rows for cell in r.cells)


def test_the_caption_is_complete(found):
    caption = ablation_table(found).caption
    for part in ("95 %", "Holm over the family of 3", "margin ±0.5 points", "Test CPU", "90s", "n ≤ 5"):
        assert part in caption


def test_the_intention_to_treat_line_stands_below(found):
    assert any("Intention to treat" in note and "1 imputed" in note for note in ablation_table(found).notes)


def test_a_reference_average_is_the_mean_of_its_tasks_only_where_the_arms_average_is(found):
    scale = [r for r in ablation_table(found).rows if r.kind == "scale"]
    keys = [c.key for c in ablation_table(found).columns]
    assert scale[1].cells[keys.index(synthetic.METRIC)].value == 61.5


def test_csv_holds_full_precision_and_trial_ids(found):
    rows = list(csv.DictReader(io.StringIO(format_table(found, "csv"))))
    assert [r["arm"] for r in rows] == [arm.name for arm in found.arms]
    for line in rows[1:]:
        effect = found.contrasts[line["arm"]].effect
        assert float(line["effect"]) == effect.estimate
        assert float(line["low"]) == effect.low
        assert line["trials"].split() == [t.id for t in found.arm(line["arm"]).trials]


TEXT = ("arm", "group", "reference", "failures", "outcome", "verdict", "reason", "trials")  # columns of words


@pytest.mark.parametrize("preset", PRESETS)
def test_a_csv_holds_numbers_or_nothing_and_the_verdict_with_its_interval(found, preset):
    rows = list(csv.DictReader(io.StringIO(format_table(found, "csv", preset, {"baseline": 4.2}))))
    everything = list(csv.DictReader(io.StringIO(format_table(found, "csv"))))
    assert {"effect", "low", "high", "verdict"} <= set(rows[0])
    for line, full in zip(rows, everything, strict=True):
        assert all(
            value == "" or math.isfinite(float(value)) for key, value in line.items() if key not in TEXT
        )
        assert all(line[key] == full[key] for key in set(line) & set(full))
        counts = [line[key] for key in ("n", "planned", "parameters") if key in line]
        assert all(str(int(count)) == count for count in counts)
    if preset == "compact":
        assert (rows[2]["n"], rows[2]["planned"], rows[2]["failures"]) == ("4", "5", "diverged=1")


def test_a_csv_of_glue_has_both_sets_of_mnli(frozen):
    values = {"glue/mnli_m": 80.0, "glue/mnli_mm": 70.5, synthetic.METRIC: 75.0}
    records = [synthetic.record(a.name, b, values) for a in frozen.arms for b in frozen.blocks]
    (row, *_) = csv.DictReader(io.StringIO(format_table(analyze(frozen, records), "csv", "cramming")))
    assert (row["glue/mnli_m"], row["glue/mnli_mm"]) == ("80.0", "70.5")


def test_markdown_is_one_rectangular_table(found):
    lines = [x for x in format_table(found, "markdown").splitlines() if x.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_html_escapes_what_people_wrote(found, frozen, records):
    nasty = frozen.model_copy(update={"title": "<script>alert(1)</script> & more"})
    shown = format_table(analyze(nasty, records), "html")
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown


def test_latex_escapes_what_people_wrote():
    assert escape("a_b & 5 % #1 {x} ~^\\") == (
        r"a\_b \& 5\,\% \#1 \{x\} \textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    assert escape("Δ −1 ± 2 ☃") == r"\ensuremath{\Delta} \ensuremath{-}1 \ensuremath{\pm} 2 ?"


def test_latex_keeps_what_letters_it_can():
    assert escape("β₂ μP “ą” ≥ 日") == r"\ensuremath{\beta}2 \ensuremath{\mu}P ``a'' \ensuremath{\geq} ?"


def test_every_latex_line_of_the_body_has_all_columns(found):
    body = format_table(found, "latex").split("\\midrule", 1)[1].split("\\bottomrule")[0]
    lines = [x.partition(" % ablate")[0] for x in body.splitlines()]
    lines = [x for x in lines if x.endswith("\\\\") and "multicolumn" not in x]
    assert {line.count(" & ") for line in lines} == {len(ablation_table(found).columns)}


PACKAGES = "\\usepackage{booktabs}\\usepackage{siunitx}\\usepackage{threeparttable}\\usepackage{graphicx}"
NEEDED = ("booktabs.sty", "siunitx.sty", "threeparttable.sty")


def missing_tex():
    """Why no table can be compiled here, or nothing."""
    if shutil.which("pdflatex") is None:
        return "needs pdflatex (Debian: texlive-latex-extra, texlive-science)"
    lost = [n for n in NEEDED if not subprocess.run(["kpsewhich", n], capture_output=True).stdout]
    return f"needs the LaTeX packages {', '.join(lost)} (Debian: texlive-science)" if lost else ""


def compile_tex(folder, name):
    """The log of a run that must succeed."""
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", name]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:]
    assert (folder / f"{name}.pdf").exists()
    return run.stdout


def text_of(file):
    """The text on a PDF's pages."""
    if shutil.which("pdftotext") is None:
        pytest.skip("needs pdftotext (Debian: poppler-utils)")
    return subprocess.run(["pdftotext", str(file), "-"], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(bool(missing_tex()), reason=missing_tex())
def test_every_letter_compiles_without_fontenc(tmp_path):
    letters = map(chr, [*range(0xA1, 0x180), *range(0x386, 0x3CF), *range(0x2010, 0x2030)])
    text = "\n\n".join(escape(c) for c in letters if c.isprintable())
    (tmp_path / "a.tex").write_text(f"\\documentclass{{article}}\\begin{{document}}{text}\\end{{document}}")
    compile_tex(tmp_path, "a")


@pytest.mark.skipif(bool(missing_tex()), reason=missing_tex())
@pytest.mark.parametrize("preset", ["full", "compact"])
def test_latex_compiles_alone(found, tmp_path, preset):
    (tmp_path / "table.tex").write_text(format_table(found, "latex", preset))
    assert "Overfull" not in compile_tex(tmp_path, "table")


@pytest.mark.skipif(bool(missing_tex()), reason=missing_tex())
def test_every_preset_fits_into_a_paper_of_two_columns(found, tmp_path):
    for preset in PRESETS:
        (tmp_path / f"{preset}.tex").write_text(format_table(found, "latex", preset))
    inputs = "".join(f"\\input{{{preset}}}" for preset in PRESETS)
    (tmp_path / "paper.tex").write_text(
        f"\\documentclass[twocolumn]{{article}}{PACKAGES}\\begin{{document}}Before. {inputs} After.\\end{{document}}"
    )
    assert "Overfull" not in compile_tex(tmp_path, "paper")


@pytest.fixture(scope="module")
def long():
    frozen = synthetic.study([f"group-{n // 10}=level-{n % 10}" for n in range(199)])
    return analyze(frozen, synthetic.records(frozen))


@pytest.mark.skipif(bool(missing_tex()), reason=missing_tex())
@pytest.mark.parametrize("preset", PRESETS)
def test_a_table_of_200_arms_loses_no_row_at_a_page_end(long, tmp_path, preset):
    (tmp_path / "long.tex").write_text(format_table(long, "latex", preset))
    (tmp_path / "paper.tex").write_text(
        f"\\documentclass[twocolumn]{{article}}{PACKAGES}\\usepackage{{hyperref}}\\begin{{document}}\n"
        "\\input{long}\n\\begin{table}\\caption{Next.}\\end{table}\n\\end{document}"
    )
    for name in ("long", "paper"):
        log = compile_tex(tmp_path, name)
        assert all(word not in log for word in ("Overfull", "too large", "same identifier"))
        shown = text_of(tmp_path / f"{name}.pdf")
        assert len(re.findall(r"(?<!=)\blevel-\d\b", shown)) == 199
        assert "Table 1: (continued)" in shown
        if name == "paper":
            assert "Table 2: Next." in shown


def test_the_parts_of_a_long_table_hold_every_row_once_under_its_heading(long):
    parts = format_table(long, "latex").split("\\toprule")[1:]
    assert len(parts) > 3
    rows = [json.loads(name) for part in parts for name in re.findall(r"% ablate row (.+)", part)]
    assert rows == [arm.name for arm in long.arms]
    for part in parts:
        group = ""
        for line in part.splitlines():
            if heading := re.search(r"textit\{(group-\d+)", line):
                group = heading[1]
            elif arm := re.search(r'% ablate row "(group.*)=', line):
                assert arm[1] == group


NASTY = "train.lr=a\nb\n\nc\td\x07e\u2028f | *g* &lt; h"


def nasty_study():
    frozen = synthetic.study([NASTY, "model.norm=rmsnorm"])
    return frozen.model_copy(update={"question": "Does it\n\nhold\x0b?"})


@pytest.mark.skipif(bool(missing_tex()), reason=missing_tex())
def test_names_with_line_breaks_and_control_characters_compile(tmp_path):
    frozen = nasty_study()
    (tmp_path / "t.tex").write_text(format_table(analyze(frozen, synthetic.records(frozen)), "latex"))
    compile_tex(tmp_path, "t")
    shown = text_of(tmp_path / "t.pdf")
    assert r"a\nb\n\nc\td\x07e\u2028f" in shown


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("format", FORMATS)
def test_every_preset_shows_every_arm_in_every_format(found, format, preset):
    text = format_table(found, format, preset)
    for arm in found.arms:
        assert arm.name in text or arm.name.partition("=")[2] in text
        assert all(trial.id in text for trial in arm.trials)


def test_the_columns_of_narang_hold_what_the_records_spent(found, records):
    table = ablation_table(found, "narang", {"baseline": 4.2})
    cells = dict(zip([c.key for c in table.columns], table.rows[0].cells, strict=True))
    assert cells["parameters"].value == 1_234_567
    assert cells["operations"].value == pytest.approx(2e13 / 1.1e6)
    assert cells["steps"].value == pytest.approx(900 / 90)
    assert cells["early"].text == "4.200"
    assert "±" in cells["eval/mlm_loss"].text


def test_the_notes_of_narang_explain_its_own_columns_alone(found):
    early = ablation_table(found, "narang", {"baseline": 4.2}).notes
    assert any("Early loss" in note and "over blocks" in note for note in early)
    assert not any("Early loss" in note for note in ablation_table(found, "narang").notes)
    without = [r.model_copy(update={"metrics": {synthetic.METRIC: r.metrics[synthetic.METRIC]}})
               for r in synthetic.records(synthetic.study())]  # fmt: skip
    assert not any(
        "±:" in note for note in ablation_table(analyze(synthetic.study(), without), "narang").notes
    )


def test_an_unknown_preset_is_refused_with_the_known_ones(found):
    with pytest.raises(ValueError, match="full, compact, cramming, narang"):
        ablation_table(found, "tall")


def test_render_table_reads_a_run_folder_and_names_the_formats(tmp_path, frozen, records, found):
    synthetic.write(tmp_path, frozen, records, curves=False)
    for format in FORMATS:
        assert render_table(tmp_path, format) == format_table(found, format)
    with pytest.raises(ValueError, match="latex, markdown, csv, html"):
        render_table(tmp_path, "docx")


def test_the_terminal_table_fits_100_columns(found):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render_terminal(found))
    text = console.export_text()
    assert max(len(line) for line in text.splitlines()) <= 100
    for word in ("hurts", "helps", "equivalent", "−8.11 [−8.23, −7.98]", "<.001"):
        assert word in text


@pytest.mark.parametrize("preset", PRESETS)
def test_a_table_without_a_column_of_n_says_whose_blocks_are_missing(preset):
    frozen = synthetic.study()
    done = [r for r in synthetic.records(frozen) if (r.arm, r.block) != ("model.position=rope", 0)]
    table = ablation_table(analyze(frozen, done), preset)
    counted = any(column.key == "n" for column in table.columns)
    assert ("(column n)" in table.caption) == counted
    assert "n ≤ 5 blocks" in table.caption
    assert counted or "model.position=rope: 4 complete pair(s)." in table.notes
