"""`verify`: an edited table is still true, a drifted one is caught with its line and its numbers."""

import itertools
import json
import re

import pytest

from ablate.analysis import analyze
from ablate.records import StudyPaths, load_records, read_study, write_json
from ablate.records.store import read_record
from ablate.report import FORMATS, render_table, write_report
from ablate.report.tables import PRESETS
from ablate.report.verify import VerifyError, verify

from ..analysis import synthetic
from .test_tables import nasty_study

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
    assert fresh.holds
    assert fresh.rows == (4 if format == "csv" or preset == "compact" else 6)  # with the rows for scale
    change(root)
    # A reference score has an average only where the arms' own is the plain mean, which it now is not.
    drifts = [drift for drift in verify(file, root).drifts if drift.arm not in ("majority", "tf-idf")]
    assert {drift.arm for drift in drifts} == {"model.position=none"}
    assert all(drift.column for drift in drifts)
    lines = file.read_text().splitlines()
    marker = {"markdown": "none", "latex": "none", "csv": "model.position=none", "html": "none"}[format]
    assert all(marker in lines[drift.line - 1] for drift in drifts)


@pytest.mark.parametrize("minus", ["\\textminus ", "\\textminus{}", "--", "$-$", "−"])
def test_a_minus_may_be_set_otherwise_but_not_left_out(root, tmp_path, minus):
    file = export(root, tmp_path, "latex")
    text = file.read_text()
    file.write_text(text.replace("\\ensuremath{-}", minus))
    assert verify(file, root).holds
    file.write_text(text.replace("\\ensuremath{-}", ""))
    assert verify(file, root).drifts


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
        if line.count(" & ") > 5:
            cells = line.split(" & ")
            line = " & ".join([cells[0], "\n   " + cells[1], *cells[3:]])  # broken over lines, a column less
        lines.append(line)
    file.write_text("\n".join(lines))
    found = verify(file, root)
    assert found.holds
    assert found.rows == 5


def test_fewer_decimals_are_no_drift_and_other_decimals_are(root, tmp_path):
    file = export(root, tmp_path, "markdown")
    text = file.read_text()
    value = re.search(r"model.norm=rmsnorm \| 5 \| [^|]+\| [^|]+\| (\d\.\d+)", text)[1]
    file.write_text(text.replace(f" {value} ", f" {float(value):.1f} "))
    assert not verify(file, root).drifts
    file.write_text(text.replace(f" {value} ", f" {float(value) + 0.1:.1f} "))
    assert verify(file, root).drifts


def test_decimals_that_the_table_would_not_have_now_are_held_to_the_unrounded_numbers(root, tmp_path):
    file = export(root, tmp_path, "latex", "compact")
    effect = analyze(read_study(root), load_records(root)[0]).contrasts["model.norm=rmsnorm"].effect
    text = file.read_text()
    shown = re.search(r"rmsnorm & 5 & (.+) \\ensuremath\{.approx\}", text)[1]
    more = f"{effect.estimate:+.4f} [{effect.low:+.4f}, {effect.high:+.4f}]"
    file.write_text(text.replace(shown, more))
    assert verify(file, root).holds
    file.write_text(text.replace(shown, more.replace(f"{effect.high:+.4f}", f"{effect.high + 2e-4:+.4f}")))
    assert not verify(file, root).holds


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
    assert verify(paper, root).rows == 6
    change(root)
    assert all(drift.file.name == "ablation.tex" for drift in verify(paper, root).drifts)


def test_a_row_of_an_arm_that_is_gone_is_drift(root, tmp_path):
    file = export(root, tmp_path, "latex")
    file.write_text(
        file.read_text().replace('% ablate row "model.norm=rmsnorm"', '% ablate row "model.norm=gone"')
    )
    (drift,) = verify(file, root).drifts
    assert "no such arm" in str(drift)


# ── Honest edits: nothing of this is drift ──


def rows_of(text):
    """The lines of a LaTeX table that have all cells, split: [(cells, what follows)]."""
    return [line for line in text.splitlines() if line.count(" & ") > 2]


def rearranged(text, order, heads=()):
    """The table with its columns in another order, or fewer; the heading is edited with it or worded anew."""
    for line in rows_of(text):
        cells = line.partition(" \\\\")[0].split(" & ")
        own = [cells[i] for i in order]
        if line.startswith("Variant") and heads:
            own = [own[0], *heads]
        text = text.replace(line, line.replace(" & ".join(cells), " & ".join(own)))
    return text


COLUMNS = 10  # of the full table, the label's included


@pytest.mark.parametrize(
    ("order", "heads"),
    [
        ([0, 9, 8, 7, 6, 5, 4, 3, 2, 1, 10], ()),
        ([0, 4, 8, 10], ()),
        ([0, 1, 8, 10], ("Runs", "$\\Delta$ GLUE", "what it does")),
        ([0, 8, 10], ("$\\Delta$ vs.\\ baseline", "Verdict")),
        ([0, 10, 4], ("Outcome", r"\textbf{MLM} loss")),
        ([0, 8, 5], ()),
    ],
)
def test_columns_may_be_dropped_moved_and_headed_anew(root, tmp_path, order, heads):
    file = export(root, tmp_path, "latex")
    text = rearranged(file.read_text(), order, heads)
    assert text != file.read_text()
    file.write_text(text)
    found = verify(file, root)
    assert found.holds, found.text()
    change(root)
    assert verify(file, root).holds == (8 not in order)


REWORDED = (
    r"\caption[Short]{We vary one factor at a time (five blocks, $n=5$; Holm over a family of three). Differences "
    r"below a margin of 0.5 points do not matter; brackets are 95\,\% CIs, budget: 90 seconds, 12 transformer blocks.}"
)


def test_a_caption_may_be_worded_anew_and_moved(root, tmp_path):
    file = export(root, tmp_path, "latex")
    text = file.read_text()
    old = next(line for line in text.splitlines() if line.startswith("\\caption"))
    file.write_text(text.replace(f"{old}\n", "").replace("\\end{table*}", f"{REWORDED}\n\\end{{table*}}"))
    assert verify(file, root).holds
    assert verify(file, root).numbers > 60


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("equivalent \\\\", r"\textit{equivalent}$^{\dagger}$ \\"),
        (" 5 & 1.1 M", r" \textbf{5} & \multicolumn{1}{r}{1.1M}"),
        ("12.0 k", r"\textcolor{gray}{12.0\,k}"),
        ("\\ensuremath{-}", "$-$"),
        ("\\textless{}.001", "$<$0.001"),
        ("\\bottomrule", r"\bottomrule % done"),
        ("\\midrule", "\\hline"),
        ("tf-idf &", r"tf--idf\tnote{1} &"),
        ("{tf-idf}", "{tf-idf}"),
        ("model.norm=rmsnorm &", "%\n\\rowcolor{gray!20} RMSNorm &"),
        ("model.norm=rmsnorm &", '% model.norm=rmsnorm & 7 & 7 \\\\ % ablate row "x"\nRMSNorm &'),
        (" \\\\ %", "\\\\[2pt]%"),
        (" \\\\ % ablate row", " \\tabularnewline\n% ablate row"),
        ("\\begin{tabular}{@{}l", "\\begin{tabular}[t]{@{}>{\\itshape}l"),
        ("{MLM loss}", r"{\begin{tabular}{@{}c@{}}MLM\\loss\end{tabular}}"),
        ("{MLM loss}", r"{\makecell[c]{MLM \\ loss}}"),
        ("\n", "\r\n"),
        ("12.0 k", "12.0K"),
        ("12.0 k", "12{,}000"),
        ("1.1 M", "1,100k"),
        ("1.1 M", r"$1.1 \times 10^{6}$"),
        ("1.1 M", r"\num{1.1e6}"),
        ("1.1 M", r"\mystyle[x]{1.1}{M}"),
        ("\\textless{}.001", "$<.01$"),
        ("equivalent", "equiv."),
        ("reference", "0.00"),
        ("{tabular}", "{NiceTabular}"),
        ("95\\,\\% CI", "confidence"),
    ],
)
def test_what_authors_do_to_a_table_is_no_drift(root, tmp_path, old, new):
    file = export(root, tmp_path, "latex")
    text = file.read_text()
    assert old in text or "{tf-idf}" in old
    file.write_bytes(text.replace(old, new).encode())
    found = verify(file, root)
    assert found.holds, found.text()
    assert found.rows == 6


@pytest.mark.parametrize(
    ("pattern", "new"),
    [
        (r"(?<=\d) (\[[^&]*?\d\])", r" {\\scriptsize\\ci\1}"),
        (r" (\[[^&]*?\d\])", r"$_{\1}$"),
        (r" \[([^&]*?), ([^&]*?\d)\]", r" \\ci{\1}{\2}"),
        (r" \[[^&]*?\d\]", ""),  # the interval left out
        (r" \[95", r" & [95"),  # or in a column of its own
    ],
)
def test_intervals_may_be_set_otherwise(root, tmp_path, pattern, new):
    file = export(root, tmp_path, "latex", "compact")
    text = re.sub(pattern, new, file.read_text())
    if "&" in new:
        text = re.sub(r"(\d) (\[[^&]*?\d\])", r"\1 & \2", text).replace("reference", "--- & ---")
    assert text != file.read_text()
    file.write_text(text)
    found = verify(file, root)
    assert found.holds, found.text()
    for digit in re.finditer(r"\d(?=[^&\n]*? .ensuremath.{2}(?:downarrow|approx))", text):
        file.write_text(text[: digit.start()] + str((int(digit[0]) + 5) % 10) + text[digit.end() :])
        assert not verify(file, root).holds, text[digit.start() - 20 : digit.end()]


@pytest.mark.parametrize(
    ("format", "pattern", "new"),
    [
        ("markdown", r"(?m)^", "> "),
        ("markdown", r"(?m)^", "  "),
        ("markdown", r"(?s)^(.*)(<!-- ablate.*-->\n)$", r"\2\n\1"),  # the comment above its table
        ("markdown", r"(?<=\| )5(?= \|)", "[__5__](https://example.org/a_b)[^1]"),
        ("markdown", r"model\.norm=rmsnorm \|", "`model.norm=rmsnorm` |"),
        ("markdown", r"12\.0 k", "12.0\u00a0k<sup>2</sup>"),
        ("html", r"12\.0 k", '<span>12.0&nbsp;k</span><sup><a href="#n">2</a></sup>'),
        ("html", r"</t[dr]>", ""),
        ("csv", r",", ";"),
        ("csv", r",", "\t"),
        ("csv", r"\d+\.\d{5,}(?:e-\d+)?", lambda number: f"{float(number[0]):.12E}"),
    ],
)
def test_what_editors_do_to_other_formats_is_no_drift(root, tmp_path, format, pattern, new):
    file = export(root, tmp_path, format, "full" if format != "csv" else "compact")
    text = file.read_text()
    assert re.search(pattern, text)
    file.write_text(re.sub(pattern, new, text))
    found = verify(file, root)
    assert found.holds, found.text()
    assert found.rows == (4 if format == "csv" else 6)
    change(root)
    assert not verify(file, root).holds


def test_a_column_that_a_csv_never_had_is_not_checked(root, tmp_path):
    file = export(root, tmp_path, "csv", "compact")
    lines = file.read_text().splitlines()
    file.write_text("\n".join(f"{line},{'7' if at else 'note'}" for at, line in enumerate(lines)))
    found = verify(file, root)
    assert not found.drifts
    assert "'note'" in found.unchecked[0].what
    file.write_text("\n".join(f"{line}{',7' if at == 2 else ''}" for at, line in enumerate(lines)))
    assert len(verify(file, root).unchecked) == 1


def test_a_size_may_stand_in_the_heading(root, tmp_path):
    file = export(root, tmp_path, "latex")
    text = file.read_text().replace("Tokens &", "Tokens (million) &").replace("1.1 M", "1.1")
    file.write_text(text)
    assert verify(file, root).holds
    file.write_text(text.replace("(million)", "(k)"))
    assert not verify(file, root).holds


def test_comments_may_stand_above_their_rows(root, tmp_path):
    file = export(root, tmp_path, "latex")
    text = re.sub(r"(?m)^(.*\\\\) (% ablate (?:row|scale) .*)$", r"\2\n\1", file.read_text())
    text = re.sub(r"(?m)^model.norm=rmsnorm", "Ours", text)
    file.write_text(text)
    found = verify(file, root)
    assert found.holds, found.text()
    assert found.rows == 6


def test_a_long_table_has_its_caption_and_its_heading_within(root, tmp_path):
    text = export(root, tmp_path, "latex").read_text()
    about, caption = (re.search(rf"(?m)^{start}.*$", text)[0] for start in ("% ablate {", r"\\caption"))
    head, body = re.search(r"\\toprule\n(.*?)\\midrule\n(.*?)\\bottomrule", text, re.DOTALL).groups()
    again = f"\\caption[]{{(continued)}}\\\\\n\\toprule\n{head}\\midrule\n\\endhead\n"
    file = tmp_path / "long.tex"
    file.write_text(
        f"{about}\n\\begin{{longtable}}{{lrrrrrrrrrrrrrrrr}}\n{caption}\\\\\n\\toprule\n{head}"
        f"\\midrule\n\\endfirsthead\n{again}{body}\\bottomrule\n\\end{{longtable}}"
    )
    found = verify(file, root)
    assert found.holds, found.text()
    assert found.rows == 6


def test_tables_of_two_studies_put_together_are_told_apart(root, tmp_path):
    other = synthetic.study(["a=1", "a=2"], blocks=3, margin=0.2)
    other = other.model_copy(update={"name": "second"})
    second = synthetic.write(tmp_path / "second", other, synthetic.records(other))
    one, two = (render_table(folder, "latex", "compact") for folder in (root, second))
    about = re.search(r"^% ablate \{.*\n", two, re.MULTILINE)[0]
    body = two.split("\\midrule\n", 1)[1].split("\\bottomrule")[0]
    caption = re.search(r"\\caption\{(.*)\}\n", two)[1]
    text = one.replace("\\bottomrule", f"\\midrule\n{about}{body}\\bottomrule").replace(
        "\\label", f"{caption}\\label"
    )
    file = tmp_path / "merged.tex"
    file.write_text(re.sub(r"(\\caption\{.*)\}\n(.*)\\label", r"\1 \2}\n\\label", text))
    for old, new in (("n = 5", "n = 4"), ("margin ", "margin of 7, margin "), ("90s", "80s")):
        edited = tmp_path / "edited.tex"
        edited.write_text(file.read_text().replace(old, new))
        assert not verify(edited, root).holds, old
    for folder, rows in ((root, 4), (second, 3)):
        found = verify(file, folder)
        assert found.holds, found.text()
        assert found.rows == rows
    change(root)
    assert not verify(file, root).holds
    assert verify(file, second).holds


def test_rows_and_columns_of_the_authors_own_can_be_declared(root, tmp_path):
    file = export(root, tmp_path, "markdown")
    lines = file.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("| model.norm=rmsnorm"))
    lines.insert(at, re.sub(r"model.norm=rmsnorm", "BERT (Devlin et al.)", lines[at]).replace("5", "9"))
    lines = [f"{line} {'--:' if ':--' in line else 7} |" if line.startswith("| ") else line for line in lines]
    lines = [line.replace("Verdict | 7 |", "Verdict | Layers |") for line in lines]
    lines = [
        line.replace(" 7 |", " |") if re.match(r"\| \*[a-z. ]+\* \| +\|", line) else line for line in lines
    ]
    file.write_text("\n".join(lines))
    said = [str(found) for found in verify(file, root).unchecked]
    assert any("BERT (Devlin et al.)" in what for what in said)
    assert any("'Layers'" in what for what in said)
    file.write_text(
        file.read_text().replace('"columns"', '"ignore": ["Layers", "BERT (Devlin et al.)"], "columns"')
    )
    found = verify(file, root)
    assert found.holds, found.text()
    assert found.rows == 6


def with_a_column(text, format):
    """The table with a last column `Layers` of the authors' own."""
    lines = text.splitlines()
    if format == "csv":
        return "\n".join(f"{line},{'Layers' if at == 0 else 7}" for at, line in enumerate(lines)) + "\n"
    if format == "markdown":
        pipes = [at for at, line in enumerate(lines) if line.startswith("|")]
        for at in pipes:
            empty = re.fullmatch(r"\| [^|]+ \|[ |]*", lines[at])  # the heading of a group
            own = {pipes[0]: " Layers |", pipes[1]: " --: |"}.get(at, " |" if empty else " 7 |")
            lines[at] += own
        return "\n".join(lines)
    head = next(at for at, line in enumerate(lines) if " & " in line and line.rstrip().endswith("\\\\"))
    return "\n".join(
        re.sub(r" \\\\", lambda _, at=at: f" & {'Layers' if at == head else 7} \\\\", line, count=1)
        if " & " in line else line for at, line in enumerate(lines)
    )  # fmt: skip


@pytest.mark.parametrize("format", ["csv", "markdown", "latex"])
def test_columns_of_the_authors_own_can_be_declared_on_the_command_line(root, tmp_path, format):
    file = export(root, tmp_path, format, "compact")
    file.write_text(with_a_column(file.read_text(), format))
    (told,) = {str(each).split("not checked: ")[1] for each in verify(file, root).unchecked}
    assert "'Layers'" in told
    assert "--ignore Layers" in told
    assert verify(file, root, ["layers"]).holds, verify(file, root, ["layers"]).text()
    change(root)
    assert verify(file, root, ["Layers"]).drifts, "the other columns are checked all the same"


@pytest.mark.parametrize(
    ("column", "told"),
    [("Layer", "has a column 'Layer': there are"), ("verdict", "'verdict' is the column 'verdict' of the exported")],
)  # fmt: skip
def test_a_column_that_cannot_be_ignored_is_a_mistake(root, tmp_path, column, told):
    file = export(root, tmp_path, "csv")
    with pytest.raises(VerifyError, match=re.escape(told)):
        verify(file, root, [column])


def test_other_tables_of_a_document_are_nobodys_business(root, tmp_path):
    own = "\\begin{table}\\caption{$n = 99$, family of 77.}\\begin{tabular}{lr}Layer & n\\\\ baseline & 7 \\\\\\end{tabular}\\end{table}\n"
    (tmp_path / "paper.tex").write_text(own + render_table(root, "latex") + own)
    assert verify(tmp_path / "paper.tex", root).holds
    own = "With n = 99 in all:\n\n| Arm | Notes |\n|---|---|\n| baseline | 7 |\n\n"
    (tmp_path / "paper.md").write_text(own + render_table(root, "markdown") + "\n" + own)
    assert verify(tmp_path / "paper.md", root).holds


@pytest.mark.parametrize(
    "more",
    [
        {"margin": None},
        {"paired": False},
        {"margin": 0.25, "budget": {"unit": "tokens", "amount": 2.5e9}},
        {"budget": {"unit": "seconds", "amount": 86400.0}, "family": ["model.norm=rmsnorm"]},
        {"budget": {}, "alpha": 0.01},
        {"elastic": {"min": 3, "max": 9, "until": "settled"}},
    ],
)
@pytest.mark.parametrize("format", FORMATS)
def test_the_captions_of_all_kinds_of_studies_hold(tmp_path, format, more):
    frozen = synthetic.study(**more)
    folder = synthetic.write(tmp_path / "run", frozen, synthetic.records(frozen))
    found = verify(export(folder, tmp_path, format), folder)
    assert found.holds, found.text()


# ── Drift that must not pass ──


@pytest.mark.parametrize(
    ("old", "new", "column"),
    [
        ("n = 5", "n = 50", "caption, n"),
        ("family of 3", "family of 1", "caption, size of the family"),
        ("0.5 points", "0.1 points", "caption, margin"),
        ("95", "99", "caption, level of the interval in %"),
        ("90s", "12h", "caption, budget"),
        ("Test CPU", "NVIDIA H100", "caption, hardware"),
    ],
)
@pytest.mark.parametrize("format", ["latex", "markdown", "html"])
def test_a_fact_of_the_caption_that_is_not_the_records_is_drift(root, tmp_path, format, old, new, column):
    file = export(root, tmp_path, format)
    lines = file.read_text().split("\n")
    lines = [line.replace(old, new, 1) if "Means over" in line else line for line in lines]
    file.write_text("\n".join(lines))
    drifts = verify(file, root).drifts
    assert [drift.column for drift in drifts] == [column]
    assert "Means over" in lines[drifts[0].line - 1]


@pytest.mark.parametrize("format", ["latex", "markdown", "html"])
def test_another_level_of_the_interval_is_drift_in_caption_and_heading(root, tmp_path, format):
    file = export(root, tmp_path, format)
    text = file.read_text()
    for was, column in ((r"95(?=\D{0,4}% t interval)", "caption"), (r"95(?=\D{0,4}% CI)", "heading")):
        file.write_text(re.sub(was, "90", text))  # which is the level of two one-sided tests at 5 %
        assert [drift.column for drift in verify(file, root).drifts] == [
            f"{column}, level of the interval in %"
        ]


@pytest.mark.parametrize("format", ["latex", "html"])
def test_a_label_with_other_digits_or_of_another_arm_is_drift(tmp_path, format):
    frozen = synthetic.study(["train.lr=0.002", "train.lr=0.004", "model.norm=rmsnorm", "model.norm=dyt"])
    root = synthetic.write(tmp_path / "run", frozen, synthetic.records(frozen))
    file = export(root, tmp_path, format)
    text = file.read_text().replace("<wbr>", "")
    label = "\\quad {} &" if format == "latex" else ">{}</th>"
    for old, new in (("0.002", "0.003"), ("0.002", "0.004"), ("rmsnorm", "dyt"), ("0.002", "0.02")):
        file.write_text(text.replace(label.format(old), label.format(new)))
        (drift,) = verify(file, root).drifts
        assert (drift.column, drift.shown) == ("label", f"'{new}'")
    file.write_text(text.replace(label.format("0.002"), label.format("half of it (5 runs)")))
    assert verify(file, root).holds


@pytest.mark.parametrize("format", ["latex", "markdown"])
def test_the_effect_by_intention_to_treat_below_a_table_is_checked(tmp_path, format):
    frozen = synthetic.study()
    found = [
        record.model_copy(update={"state": "diverged", "metrics": {}})
        if (record.arm, record.block) == ("model.position=rope", 1)
        else record
        for record in synthetic.records(frozen)
    ]
    root = synthetic.write(tmp_path / "run", frozen, found)
    file = export(root, tmp_path, format)
    text = file.read_text()
    assert verify(file, root).holds
    note = re.search(r"model.position=rope: 4 complete.*", text)
    for digit in re.finditer(r"\d", note[0]):
        at = note.start() + digit.start()
        file.write_text(text[:at] + str((int(digit[0]) + 1) % 10) + text[at + 1 :])
        assert [drift.column for drift in verify(file, root).drifts] == ["note"], digit
    file.write_text(text.replace(note[0], "RoPE lost 1 of 7 runs."))
    assert verify(file, root).holds


def test_a_bound_of_a_p_value_is_no_number(root, tmp_path):
    file = export(root, tmp_path, "markdown", "compact")
    text = file.read_text()
    assert "&lt;.001" in text
    for wrong in (".001", "&gt;.001", "&lt;.007"):
        file.write_text(text.replace("&lt;.001", wrong))
        assert not verify(file, root).holds, wrong


def test_a_fact_of_a_reworded_caption_is_checked_too(root, tmp_path):
    file = export(root, tmp_path, "latex")
    text = re.sub(r"\\caption\{.*\}", lambda _: REWORDED, file.read_text())
    for old, new in (
        ("n=5", "n=3"),
        ("family of three", "family of two"),
        ("0.5 points", "0.4"),
        ("90 sec", "30 sec"),
    ):
        file.write_text(text.replace(old, new))
        assert len(verify(file, root).drifts) == 1, new


def test_facts_that_changed_since_the_table_was_written_are_drift_though_the_caption_is_gone(root, tmp_path):
    file = export(root, tmp_path, "latex")
    file.write_text(re.sub(r"\\caption\{.*\}\n", "", file.read_text()))
    assert verify(file, root).holds
    frozen = json.loads(StudyPaths(root).study.read_text())
    frozen["outcome"]["margin"] = 0.4
    write_json(StudyPaths(root).study, frozen)
    assert "margin: the file says 0.5, the records say 0.4" in verify(file, root).text()


@pytest.mark.parametrize("format", ["latex", "markdown", "html"])
def test_a_reference_score_is_checked(root, tmp_path, format):
    file = export(root, tmp_path, format)
    text = file.read_text()
    assert "61.5" in text
    file.write_text(text.replace("61.5", "81.5"))
    assert {drift.arm for drift in verify(file, root).drifts} == {"tf-idf"}


def test_a_row_without_its_comment_is_found_by_its_label_or_is_not_checked(root, tmp_path):
    file = export(root, tmp_path, "latex")
    text = re.sub(r" % ablate (row|scale) .*", "", file.read_text())
    file.write_text(text)
    assert verify(file, root).holds
    assert verify(file, root).rows == 6
    file.write_text(text.replace("\\quad none &", "\\quad no positions &"))
    found = verify(file, root)
    assert not found.holds
    assert "the row 'no positions' is of no arm" in found.text()


def test_a_row_that_lost_a_cell_is_not_matched_to_the_next_column(root, tmp_path):
    file = export(root, tmp_path, "latex")
    line = next(line for line in file.read_text().splitlines() if line.startswith("model.norm=rmsnorm"))
    cells = line.split(" & ")
    file.write_text(file.read_text().replace(line, " & ".join([*cells[:5], *cells[6:]])))
    found = verify(file, root)
    assert not found.holds
    assert "cells below a heading of 10" in found.text()


def test_a_dropped_column_lets_no_number_of_another_column_pass(root, tmp_path):
    file = export(root, tmp_path, "latex")
    text = file.read_text()
    row = next(line for line in text.splitlines() if line.startswith("model.norm=rmsnorm")).split(" & ")
    for column, other in ((5, 6), (6, 5), (4, 5)):
        wrong = text.replace(" & ".join(row), " & ".join([*row[:column], row[other], *row[column + 1 :]]))
        dropped = [i for i in range(11) if i not in (2, 3, other)]
        file.write_text(rearranged(wrong, dropped))
        (drift,) = verify(file, root).drifts
        assert drift.arm == "model.norm=rmsnorm"


# ── Files of all kinds ──


def test_inputs_are_followed_in_every_spelling_and_once(root, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "ablation.v2.tex").write_text(
        render_table(root, "latex") + "\\input{sub/ablation.v2}\n"
    )
    paper = tmp_path / "paper.tex"
    for spelt in (
        "\\input sub/ablation.v2.tex\n",
        "\\input{sub/ablation.v2}",
        "\\import{sub/}{ablation.v2}",
        '\\input{"sub/ablation.v2"}',
        "\\csname @@input\\endcsname sub/ablation.v2 ",
        "\\newcommand{\\tinput}[1]{\\@@input #1 }\n\\tinput{sub/ablation.v2}",
        "\\def\\tinput#1{\\small\\input{#1}}\n\\tinput{sub/ablation.v2}",
    ):
        paper.write_text(f"text {spelt} text \\input{{paper}}\n")
        assert verify(paper, root).rows == 6, spelt
        assert verify(paper, root).holds, spelt


def test_an_input_that_is_not_there_is_not_checked(root, tmp_path):
    paper, table = tmp_path / "paper.tex", render_table(root, "latex")
    before = "\\input{glyphtounicode}\n% \\input{old}\n"  # TeX has files of its own, for preambles
    after = "\\begin{document}\n" + table + "\\InputIfFileExists{maybe}{}{}\n"
    paper.write_text(before + after)
    assert verify(paper, root).holds
    paper.write_text(before + after + "\\input{tables/gone}\n")
    told = verify(paper, root)
    assert not told.holds
    (unchecked,) = told.unchecked
    assert unchecked.line == len((before + after).splitlines()) + 1
    assert "the input 'tables/gone' cannot be found" in str(unchecked)
    paper.write_text("\\documentclass{article}\\begin{document}\\input{tables/gone}\\end{document}\n")
    with pytest.raises(VerifyError, match="it inputs tables/gone, which cannot be found"):
        verify(paper, root)


def test_a_table_whose_rows_are_a_file_of_their_own(root, tmp_path):
    text = render_table(root, "latex")
    rows = text.split("\\midrule\n", 1)[1].split("\\bottomrule")[0]
    (tmp_path / "rows.tex").write_text(rows)
    (tmp_path / "paper.tex").write_text(rearranged(text.replace(rows, "\\input{rows}\n"), range(11)))
    assert verify(tmp_path / "paper.tex", root).holds
    change(root)
    assert {drift.file.name for drift in verify(tmp_path / "paper.tex", root).drifts} == {"rows.tex"}


def test_a_paper_in_latin1_is_read(root, tmp_path):
    (tmp_path / "chapter.tex").write_bytes(
        "Übersicht\n".encode("latin-1") + render_table(root, "latex").encode()
    )
    (tmp_path / "paper.tex").write_text("\\input{chapter}\n")
    assert verify(tmp_path / "paper.tex", root).holds


def test_what_tex_skips_is_not_read(root, tmp_path):
    table = render_table(root, "latex")
    stale = table.replace("hurts", "helps")
    text = f"\\begin{{comment}}\n{stale}\\end{{comment}}\n\\iffalse\n{stale.split('makeatother')[-1]}\\fi\n{table}"
    (tmp_path / "paper.tex").write_text(text + "\n\\endinput\n" + stale)
    found = verify(tmp_path / "paper.tex", root)
    assert found.rows == 6


def test_a_long_table_is_read_through_all_its_parts(tmp_path):
    frozen = synthetic.study([f"group-{n // 10}=level-{n % 10}" for n in range(99)], blocks=3)
    folder = synthetic.write(tmp_path / "run", frozen, synthetic.records(frozen), curves=False)
    file = export(folder, tmp_path, "latex")
    text = file.read_text()
    assert text.count("\\begin{tabular}{@{}l") > 1
    assert verify(file, folder).rows == 102
    file.write_text(re.sub(r" % ablate row .*", "", text))
    assert verify(file, folder).holds
    assert verify(file, folder).rows == 102


@pytest.mark.parametrize("format", FORMATS)
def test_names_with_line_breaks_and_control_characters_are_found_again(tmp_path, format):
    frozen = nasty_study()
    folder = synthetic.write(tmp_path / "run", frozen, synthetic.records(frozen), curves=False)
    file = tmp_path / f"table{EXTENSIONS[format]}"
    file.write_text(render_table(folder, format), newline="")
    found = verify(file, folder)
    assert found.holds, found.text()
    assert found.rows == (3 if format == "csv" else 5)


def test_the_report_page_is_read(root, tmp_path):
    page = write_report(root)
    found = verify(page, root)
    assert found.holds, found.text()
    page.write_text(page.read_text().replace("n = 5 blocks", "n = 9 blocks"))
    assert [drift.column for drift in verify(page, root).drifts] == ["caption, n"]


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


MACROS = {
    "newcommand": r"\newcommand{\ours}{SHOWN}",
    "starred, no braces": r"\newcommand*\ours{SHOWN}",
    "def": r"\def\ours{SHOWN}",
    "provide": r"\providecommand{\ours}{SHOWN}",
    "robust": r"\DeclareRobustCommand{\ours}{SHOWN}",
    "renewed": r"\newcommand{\ours}{1.23}\renewcommand{\ours}{SHOWN}",
    "nested": r"\newcommand{\inner}[1]{\textbf{#1}}\newcommand{\ours}{\inner{{SHOWN}}}",
    "default": r"\newcommand{\inner}[2][SHOWN]{#1}\newcommand{\ours}{\inner{{9.99}}}",
    "broken over lines": "\\newcommand{\\ours}{%\n  SHOWN%\n}",
}


@pytest.mark.parametrize("where", ["paper", "input"])
@pytest.mark.parametrize("form", MACROS)
def test_numbers_in_macros_of_the_authors_are_read(root, tmp_path, form, where):
    table = render_table(root, "latex")
    shown = re.search(r"model.norm=rmsnorm & 5 & .*?(?<![\d.])(\d\d\.\d+)", table)[1]
    row = next(line for line in table.splitlines() if line.startswith("model.norm=rmsnorm"))
    table = table.replace(row, row.replace(shown, r"\ours{}", 1))
    for said, holds in ((shown, True), (f"{float(shown) + 1:.2f}", False)):
        macros = MACROS[form].replace("SHOWN", said) + "\n"
        (tmp_path / "macros.tex").write_text(macros)
        head = macros if where == "paper" else "\\input{macros}\n"
        (tmp_path / "paper.tex").write_text(head + "\\begin{document}\n" + table)
        found = verify(tmp_path / "paper.tex", root)
        assert found.holds == holds, found.text()
        assert [drift.arm for drift in found.drifts] == ([] if holds else ["model.norm=rmsnorm"])


DOUBLING = r"\newcommand{\p}{}\newcommand{\ours}{\a\a}" + "".join(
    rf"\newcommand{{\{name}}}{{\{then}\{then}\{then}}}"
    for name, then in itertools.pairwise("abcdefghijklmnop")
)


@pytest.mark.parametrize(
    "definition",
    [r"\def\ours#1;{80.00}", r"\newcommand{\ours}{\ours}", DOUBLING, r"\NewDocumentCommand{\ours}{m}{#1}"],
)
def test_a_macro_that_cannot_be_read_is_told(root, tmp_path, definition):
    table = render_table(root, "latex")
    row = next(line for line in table.splitlines() if line.startswith("model.norm=rmsnorm"))
    paper = tmp_path / "paper.tex"
    paper.write_text(f"{definition}\n{table.replace(row, row.replace(' & ', chr(92) + 'ours & ', 1))}")
    found = verify(paper, root)
    assert not found.holds
    assert any("what \\ours says cannot be read" in each.what for each in found.unchecked)
    paper.write_text(f"{definition}\n\\ours{{}} is prose.\n{table}")
    assert verify(paper, root).holds, "outside our tables it is nobody's business"
