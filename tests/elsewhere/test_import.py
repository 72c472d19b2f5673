"""Runs from elsewhere: a table or a W&B project becomes a study that every reading command accepts."""

import io
import json
import math
import re
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from ablate.elsewhere import ImportedRun, RunsError, write_study
from ablate.elsewhere.bring import bring
from ablate.elsewhere.known import known
from ablate.elsewhere.study import Declared
from ablate.elsewhere.table import read_csv
from ablate.records import load_records, read_study
from ablate.report import load_findings, render_checklist, render_table, write_report
from ablate.report.negative import reproduce
from ablate.report.terminal import render_terminal
from ablate.scheduling.show import render
from ablate.scheduling.status import status

TABLE = """arm,block,glue/average,eval/mlm_loss
base,0,78.1,2.10
base,1,78.4,2.11
base,2,77.9,2.09
model.norm=rmsnorm,0,78.15,2.10
model.norm=rmsnorm,1,78.43,2.10
model.norm=rmsnorm,2,77.92,2.09
model.position=none,0,70.1,2.60
model.position=none,1,70.9,2.61
model.position=none,2,70.2,2.60
"""
TERMS = {"baseline": "base", "outcome": "glue/average", "margin": 0.5}


def table(tmp_path: Path, text: str = TABLE) -> str:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    return str(path)


def test_a_table_becomes_a_study_with_verdicts(tmp_path):
    root = bring(table(tmp_path), tmp_path / "runs", **TERMS)
    assert root == tmp_path / "runs" / "mine"
    verdicts = {arm: c.verdict for arm, c in load_findings(root).contrasts.items()}
    assert verdicts == {"model.norm=rmsnorm": "equivalent", "model.position=none": "hurts"}


def test_every_reading_command_accepts_it(tmp_path):
    root = bring(table(tmp_path), tmp_path / "runs", **TERMS)
    assert "hurts" in render_table(root)
    page = write_report(root)
    assert page.read_text().startswith("<!")
    assert status(root).to_dict()["counts"] == {"complete": 9}
    results = json.loads((root / "report" / "negative-results.json").read_text())["results"]
    assert [r["difference"] for r in results][0] == [["model.position", "baseline", "none"]]
    assert (
        f"ablate import {tmp_path / 'mine.csv'} --baseline base"
        in (root / "report" / "negative-results.md").read_text()
    )


def test_a_page_without_blocks_lists_every_trial_of_both_arms(tmp_path):
    rows = [("a", 80.1), ("a", 81.2), ("a", 80.6), ("b", 70.1), ("b", 71.5), ("b", 70.9)]
    text = "arm,acc\n" + "".join(f"{arm},{x}\n" for arm, x in rows)
    root = bring(table(tmp_path, text), tmp_path / "runs", baseline="a", outcome="acc", margin=1.0)
    page = (write_report(root).parent / "negative-results.md").read_text()
    assert re.search(r"acc of every trial\.\*\* b: 70\.1\d*, 71\.5\d*, 70\.9\d*; a: 80\.1\d*, 81\.2", page)
    assert "a dot for each block" not in page


def test_what_was_declared_at_import_is_said(tmp_path):
    root = bring(table(tmp_path), tmp_path / "runs", **TERMS)
    assert any("declared at import, after the runs" in note for note in load_findings(root).notes)


def test_minimizing_turns_the_verdict(tmp_path):
    source = table(tmp_path, TABLE.replace("glue/average", "glue/error_x"))
    terms = {**TERMS, "outcome": "glue/error_x"}
    up = bring(source, tmp_path / "up", **terms, direction="maximize")
    down = bring(source, tmp_path / "down", **terms, direction="minimize")
    assert load_findings(up).contrasts["model.position=none"].verdict == "hurts"
    assert load_findings(down).contrasts["model.position=none"].verdict == "helps"


def test_without_blocks_arms_are_compared_unpaired(tmp_path):
    text = "arm,accuracy\n" + "".join(f"{arm},{x}\n" for arm, x in [
        ("a", 70), ("a", 71), ("a", 72), ("b", 80), ("b", 81.5), ("b", 82)])  # fmt: skip
    root = bring(table(tmp_path, text), tmp_path / "runs", baseline="a", outcome="accuracy", margin=1.0)
    found = load_findings(root)
    assert not found.paired
    assert found.outcome.metric == "runs/accuracy"
    assert found.contrasts["b"].verdict == "helps"
    assert found.contrasts["b"].unpaired.dunnett_p < 0.01
    assert any("unpaired" in note for note in found.notes)
    assert "Welch" in found.contrasts["b"].reason


def test_states_empty_and_non_finite_cells(tmp_path):
    text = TABLE.replace("70.1,2.60", ",2.60").replace("none,1,70.9,2.61", "none,1,nan,inf")
    root = bring(table(tmp_path, text + "model.position=none,3,,\n"), tmp_path / "runs", **TERMS)
    arm = load_findings(root).arm("model.position=none")
    assert arm.completed == 1
    assert arm.failures == {"no outcome": 2, "diverged": 1}
    assert arm.contrast.verdict == "inconclusive"
    text = "arm,block,state,reason,m\nbase,0,,,1\nb,0,diverged,loss is nan,\n"
    root = bring(
        table(tmp_path, text), tmp_path / "more", baseline="base", outcome="m", margin=1, direction="maximize"
    )
    assert load_findings(root).arm("b").failures == {"diverged": 1}


def test_every_problem_of_a_table_is_told_at_once_and_nothing_is_written(tmp_path):
    text = "arm,block,glue/average\nbase,0,good\n,1,3\nbase,x,1,2\n"
    with pytest.raises(RunsError) as error:
        bring(table(tmp_path, text), tmp_path / "runs", **TERMS)
    told = str(error.value)
    assert "mine.csv:2: glue/average: a number, or nothing; got 'good'" in told
    assert "mine.csv:3: the arm is empty" in told
    assert "mine.csv:4: more cells than columns" in told
    assert not (tmp_path / "runs").exists()


def test_wrong_terms_name_the_nearest(tmp_path):
    doubled = TABLE + "base,0,1,1\nlate,,1,1\n"
    with pytest.raises(RunsError) as error:
        bring(table(tmp_path, doubled), tmp_path / "runs", baseline="bas", outcome="glue/avg", margin=0)
    told = str(error.value)
    for words in ("did you mean 'base'", "did you mean 'glue/average'", "a finite number above 0; got 0",
                  "2 runs of arm 'base' on block 0 (line 2, line 11)", "no block, while other runs have one"):  # fmt: skip
        assert words in told
    with pytest.raises(RunsError, match="needs a column 'arm'"):
        read_csv(Path(table(tmp_path, "name,x\n1,2\n")))


def test_runs_of_the_baseline_alone_are_no_comparison(tmp_path):
    alone = table(tmp_path, "arm,block,acc\nbase,0,1\nbase,1,2\n")
    with pytest.raises(
        RunsError, match="every run is of the baseline 'base', and nothing is left to compare"
    ):
        bring(alone, tmp_path / "runs", baseline="base", outcome="acc", margin=1)
    assert not (tmp_path / "runs").exists()


def test_an_existing_folder_is_never_overwritten(tmp_path):
    bring(table(tmp_path), tmp_path / "runs", **TERMS)
    with pytest.raises(RunsError, match="another --name"):
        bring(table(tmp_path), tmp_path / "runs", **TERMS)
    assert bring(table(tmp_path), tmp_path / "runs", **TERMS, name="again").name == "again"


def test_blocks_are_in_the_order_of_their_numbers(tmp_path):
    text = "arm,block,m\n" + "".join(f"{a},{b},{b}\n" for a in ("x", "y") for b in (10, 2))
    root = bring(
        table(tmp_path, text), tmp_path / "runs", baseline="x", outcome="m", margin=1, direction="maximize"
    )
    assert read_study(root).blocks == [2, 10]
    assert {(r.block, r.seed) for r in load_records(root)[0]} == {(0, 2), (1, 10)}


def blocks_of(text: str, arms=("base", "b"), n: int = 4) -> str:
    """A table whose header is `text`, its metrics 0.1 apart."""
    rows = [f"{arm},{i},{70 + k + 0.1 * i * (k + 1)}" for k, arm in enumerate(arms) for i in range(n)]
    return "\n".join([text, *rows]) + "\n"


@pytest.mark.parametrize(
    ("outcome", "higher"),
    [("Loss", False), ("eval/Loss", False), ("loss/val", False), ("val_ppl", False), ("err", False),
     ("runs/wer", False), ("acc", True), ("eval/accuracy", True), ("glue/x", True), ("F1-score", True),
     ("val", None), ("acc_stderr", None), ("m", None), ("loss_score", None)],
)  # fmt: skip
def test_what_is_better_is_read_off_the_name_or_asked_for(tmp_path, outcome, higher):
    source, terms = table(tmp_path, blocks_of(f"arm,block,{outcome}")), {"baseline": "base", "margin": 0.1}
    if higher is None:
        with pytest.raises(RunsError, match="does not tell whether more of it is better: --direction"):
            bring(source, tmp_path / "x", **terms, outcome=outcome)
        return
    found = load_findings(bring(source, tmp_path / "runs", **terms, outcome=outcome))
    assert found.outcome.higher_is_better is higher
    assert found.contrasts["b"].verdict == ("helps" if higher else "hurts")


@pytest.mark.parametrize(
    ("head", "told"),
    [("arm,block,acc,runs/acc", "acc and runs/acc are the same metric, runs/acc; keep one"),
     ("arm,block,glue/MNLI-m,glue/mnli_m", "are the same metric, glue/mnli_m; keep one"),
     ("arm,block,acc,spent/tokens", "spent/tokens is what a run used; call it 'tokens'")],
)  # fmt: skip
def test_no_column_is_lost_to_another(tmp_path, head, told):
    outcome = head.split(",")[2]
    with pytest.raises(RunsError, match=told):
        bring(table(tmp_path, f"{head}\nbase,0,1,2\nb,0,1,3\n"), tmp_path, baseline="base",
              outcome=outcome, margin=1)  # fmt: skip


def test_tasks_are_called_as_tables_call_them(tmp_path):
    text = blocks_of("arm,block,glue/MNLI-m").replace("glue", "GLUE")
    root = bring(table(tmp_path, text), tmp_path, baseline="base", outcome="glue/mnli-m", margin=1)
    assert load_findings(root).outcome.label == "MNLI-m"


def test_a_seed_is_never_taken_for_a_metric(tmp_path):
    source, terms = table(tmp_path, blocks_of("arm,seed,acc")), {**TERMS, "outcome": "acc"}
    with pytest.raises(RunsError, match="no column 'block', but 'seed': --block seed where .* --block none"):
        bring(source, tmp_path / "x", **terms)
    paired = load_findings(bring(source, tmp_path / "paired", **terms, block="seed"))
    alone = load_findings(bring(source, tmp_path / "alone", **terms, block="none"))
    assert (paired.paired, alone.paired) == (True, False)
    assert paired.metrics == alone.metrics == ("runs/acc",)
    named = table(tmp_path, blocks_of("Model,Fold,acc"))
    with pytest.raises(RunsError, match="needs a column 'arm'; it has Model, Fold, acc; name yours: --arm"):
        bring(named, tmp_path / "x", **terms)
    root = bring(named, tmp_path / "named", **terms, arm="Model", block="Fold")
    assert load_findings(root).contrasts["b"].effect.n == 4
    for options, told in (
        ({"group": "g"}, "--group chooses runs of a W&B"),
        ({"block": "x"}, "no column 'x'"),
    ):
        with pytest.raises(RunsError, match=told):
            bring(named, tmp_path / "x", **terms, arm="Model", **options)


def test_what_pandas_writes_is_read(tmp_path):
    lines = blocks_of("arm,block,acc").replace(",0,", ",0.0,").splitlines()
    text = "\n".join(f"{i - 1 if i else ''},{line}" for i, line in enumerate(lines))
    root = bring(table(tmp_path, text), tmp_path / "runs", **{**TERMS, "outcome": "acc"})
    assert load_findings(root).metrics == ("runs/acc",)
    assert read_study(root).blocks == [0, 1, 2, 3]
    assert any("1 column(s) without a name left out" in note for note in read_study(root).notes)
    mixed = text.replace(",b,1,", ",b,1.0,")
    root = bring(table(tmp_path, mixed), tmp_path / "more", **{**TERMS, "outcome": "acc"})
    assert load_findings(root).contrasts["b"].effect.n == 4


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_are_seen(tmp_path, delimiter):
    root = bring(table(tmp_path, TABLE.replace(",", delimiter)), tmp_path / "runs", **TERMS)
    assert load_findings(root).contrasts["model.position=none"].verdict == "hurts"


@pytest.mark.parametrize(
    ("start", "kind"), [(b"PAR1\x15", "Parquet"), (b"PK\x03\x04", "Excel"), (b"\x1f\x8b\x08", "gzip")]
)
def test_files_that_are_no_text_say_what_they_are(tmp_path, start, kind):
    (tmp_path / "runs.csv").write_bytes(start + b"\x00" * 100)
    for encoding in (None, "cp1252"):
        with pytest.raises(RunsError, match=f"is a file of {kind}.*df.to_csv"):
            read_csv(tmp_path / "runs.csv", encoding)


def test_a_column_of_text_is_one_problem(tmp_path):
    text = blocks_of("arm,block,acc,date").replace("\n", ",2026-01-01\n").replace("date,2026-01-01", "date")
    with pytest.raises(RunsError) as error:
        bring(table(tmp_path, text), tmp_path, **{**TERMS, "outcome": "acc"})
    (line,) = str(error.value).splitlines()
    assert "mine.csv:1: text is no metric: date ('2026-01-01'); leave it out, in pandas " in line
    assert "df.drop(columns=['date'])" in line
    assert "df.pivot(" in line


@pytest.mark.parametrize("cell", ["78,1", "78.1%", "1 078", "1,078.5"])
def test_a_number_with_other_marks_is_not_taken_for_text(tmp_path, cell):
    text = f'arm,block,acc\nbase,0,"{cell}"\nb,0,"{cell}"\n'
    with pytest.raises(RunsError) as error:
        bring(table(tmp_path, text), tmp_path, baseline="base", outcome="acc", margin=1)
    assert "a number with a decimal point and no other mark, or nothing; got" in str(error.value)
    assert "leave it out" not in str(error.value)


@pytest.mark.parametrize(("column", "well", "badly"), [("State", "finished", "crashed"),
                                                       ("status", "FINISHED", "KILLED")])  # fmt: skip
def test_states_are_read_as_other_programs_write_them(tmp_path, column, well, badly):
    text = f"arm,block,acc,{column}\n" + "".join(
        f"{arm},{b},{70 + b},{badly if (arm, b) == ('b', 1) else well}\n" for arm in ("base", "b") for b in range(3)
    )  # fmt: skip
    found = load_findings(
        bring(table(tmp_path, text), tmp_path / "runs", baseline="base", outcome="acc", margin=1)
    )
    assert found.arm("b").failures == {"failed": 1}
    assert found.arm("b").completed == 2
    with pytest.raises(RunsError) as error:
        bring(
            table(tmp_path, text.replace(well, "running")), tmp_path, baseline="base", outcome="acc", margin=1
        )
    (line,) = str(error.value).splitlines()
    assert "leave out runs that have not ended, or call" in line
    assert line.endswith("; got 'running', and so 4 times more")


def test_an_outcome_that_is_not_finite_is_a_divergence(tmp_path):
    losses = {"base": [2.0, 2.1, 2.05, 1.98], "b": [2.3, "inf", 2.33, "nan"]}
    text = "arm,block,loss\n" + "".join(
        f"{a},{i},{x}\n" for a, row in losses.items() for i, x in enumerate(row)
    )
    root = bring(table(tmp_path, text), tmp_path / "runs", baseline="base", outcome="loss", margin=0.05)
    found = load_findings(root)
    assert found.arm("b").failures == {"diverged": 2}
    itt = found.contrasts["b"].intention_to_treat
    filled = [2.3, 2.33, 2.33, 2.33]  # the worst that was seen
    assert itt.estimate == pytest.approx(sum(x - y for x, y in zip(filled, losses["base"], strict=True)) / 4)
    assert any("2 run(s) whose runs/loss is infinite or not a number are counted as diverged: line 7, line 9"
               in note for note in found.notes)  # fmt: skip


def test_rows_of_tasks_are_not_taken_for_blocks(tmp_path):
    rows = [(a, s, t, 70 + s) for a in ("base", "b") for s in range(3) for t in range(4)]
    text = "arm,seed,score\n" + "".join(f"{a},{s},{x}\n" for a, s, _, x in rows)
    with pytest.raises(RunsError) as error:
        bring(table(tmp_path, text), tmp_path, baseline="base", outcome="score", margin=1, block="seed")
    (line,) = str(error.value).splitlines()
    assert "4 runs of arm 'base' on block 0 (line 2, line 3, line 4, line 5)" in line
    assert "and so of 3 arms and blocks more. A block is one run of each arm" in line
    assert "make its tasks columns of one row" in line


@pytest.mark.parametrize(
    ("outcome", "scale", "margin", "told"),
    [("acc", 0.01, 0.5, "is wider than all that runs/acc varies"), ("acc", 1, 0.5, ""),
     ("glue/average", 0.01, 0.005, "glue/average lie(s) between 0 and 1 and is told in points of 100"),
     ("glue/average", 1, 0.5, "")],
)  # fmt: skip
def test_numbers_in_another_unit_than_they_are_told_in_are_noted(tmp_path, outcome, scale, margin, told):
    text = f"arm,block,{outcome}\n" + "".join(
        f"{a},{b},{scale * (78 + b / 5 + (a == 'b') / 3)}\n" for a in ("base", "b") for b in range(4)
    )
    root = bring(table(tmp_path, text), tmp_path / "runs", baseline="base", outcome=outcome, margin=margin)
    notes = [note for note in read_study(root).notes if "same unit" in note or "fractions" in note]
    assert len(notes) == bool(told)
    assert all(told in note for note in notes)


@pytest.mark.parametrize(
    ("arm", "changes"),
    [("lr=4e-3,wd=0.1", {"lr": ["baseline", "4e-3"], "wd": ["baseline", "0.1"]}),
     ("norm=rms(eps=1e-6,bias=no)", {"norm": ["baseline", "rms(eps=1e-6,bias=no)"]}),
     ("betas=0.9,0.98", {"betas": ["baseline", "0.9,0.98"]}), ("plain, b", {})],
)  # fmt: skip
def test_a_name_of_several_knobs_changes_each(tmp_path, arm, changes):
    text = "arm;block;acc\n" + "".join(f"{a};{b};{b}\n" for a in ("base", arm) for b in range(2))
    root = bring(table(tmp_path, text), tmp_path / "runs", baseline="base", outcome="acc", margin=1)
    assert read_study(root).arms[1].changes == changes


def test_what_the_baselines_name_says_too_is_no_change(tmp_path):
    base, arm = "model=bert,lr=1e-3", "model=bert,lr=4e-3"
    text = "arm;block;acc\n" + "".join(f"{a};{b};{b}\n" for a in (base, arm) for b in range(2))
    root = bring(table(tmp_path, text), tmp_path / "runs", baseline=base, outcome="acc", margin=1)
    assert read_study(root).arms[1].changes == {"lr": ["1e-3", "4e-3"]}


@pytest.mark.parametrize(
    ("column", "levels", "arm", "changes"),
    [("lr", ["0.01", "0.001"], "lr=0.001", {"lr": ["0.01", "0.001"]}),
     ("lr", ["default", "1e-3"], "lr=1e-3", {"lr": ["default", "1e-3"]}),
     ("bias", ["True", "False"], "bias=False", {"bias": ["True", "False"]}),
     ("optimizer", ["adamw", "lion"], "lion", {"optimizer": ["adamw", "lion"]}),
     ("setting", ["lr=0.01", "lr=0.001"], "lr=0.001", {"lr": ["0.01", "0.001"]}),
     ("Arm", ["base", "ours"], "ours", {}), ("arm", ["0.01", "0.001"], "0.001", {})],
)  # fmt: skip
def test_the_column_of_the_arms_is_the_knob_that_they_are_levels_of(tmp_path, column, levels, arm, changes):
    text = f"{column},block,glue/average\n" + "".join(f"{a},{b},7{b}\n" for a in levels for b in range(3))
    root = bring(table(tmp_path, text), tmp_path / "runs", arm=column, **(TERMS | {"baseline": levels[0]}))
    assert read_study(root).arms[1].name == arm
    assert read_study(root).arms[1].changes == changes


@pytest.mark.parametrize("baseline", ["0.01", "lr=0.01"])
def test_a_level_of_a_column_is_known_and_the_baseline_may_be_told_either_way(tmp_path, baseline):
    rows = [
        f"{lr},{b},{score * (1 + b / 99)}" for lr, score in (("0.01", 78), ("0.001", 70)) for b in range(3)
    ]
    path = table(tmp_path, "\n".join(["lr,block,glue/average", *rows]))
    root = bring(path, tmp_path / "runs", arm="lr", **(TERMS | {"baseline": baseline}))
    assert load_findings(root).arms[0].name == "lr=0.01"
    write_report(root)
    (found,) = known("lr=1e-3", str(root)).found
    assert (found.arm, found.verdict) == ("lr=0.001", "hurts")


@pytest.mark.parametrize("other", ["Base", "ba  se", "ba\u00a0se", "cafe\u0301"])
def test_names_that_look_alike_are_refused(tmp_path, other):
    first = {"Base": "base", "cafe\u0301": "caf\u00e9"}.get(other, "ba se")
    with pytest.raises(RunsError, match="written otherwise") as error:
        bring(table(tmp_path, blocks_of("arm,block,acc", (first, other))), tmp_path, baseline=first,
              outcome="acc", margin=1)  # fmt: skip
    assert len(str(error.value).splitlines()) == 1


def test_a_source_that_ends_like_a_study_file_is_imported_all_the_same(tmp_path):
    path = tmp_path / "runs.yaml"
    path.write_text(TABLE)
    assert load_findings(bring(str(path), tmp_path / "runs", **TERMS)).imported


def test_rows_that_are_there_twice_are_told(tmp_path):
    text = "arm,acc\n" + "base,70.1\nbase,70.2\nb,71.3\nb,71.9\n" * 2
    root = bring(table(tmp_path, text), tmp_path, **{**TERMS, "outcome": "acc"})
    assert any("4 run(s) repeat every number" in note and "line 2, line 6" in note
               for note in load_findings(root).notes)  # fmt: skip


def test_an_outcome_without_a_number_is_said(tmp_path):
    with pytest.raises(RunsError, match=r"no run has a number for 'acc'\."):
        bring(
            table(tmp_path, "arm,block,state,acc\nbase,0,failed,\n"), tmp_path, **{**TERMS, "outcome": "acc"}
        )


def test_the_line_that_imports_again_has_every_term(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my runs.csv"
    path.write_bytes(blocks_of("Model,Fold,acc", ("b\u00e9", "x y")).encode("cp1252"))
    terms = {"baseline": "b\u00e9", "outcome": "acc", "margin": 0.1234567891, "direction": "maximize",
             "name": "own", "question": "Why?", "alpha": 0.01, "arm": "Model", "block": "Fold",
             "encoding": "cp1252"}  # fmt: skip
    first = bring("my runs.csv", tmp_path / "runs", **terms)
    line = reproduce(load_findings(first))
    command, verb, source, *options = shlex.split(line)
    assert (command, verb) == ("ablate", "import")
    given = dict(zip((o.removeprefix("--") for o in options[::2]), options[1::2], strict=True))
    numbers = {k: float(given.pop(k)) for k in ("margin", "alpha")}
    again = bring(source, tmp_path / "again", **given, **numbers)
    same = [load_findings(root).to_dict() for root in (first, again)]
    assert same[0] | {"created": ""} == same[1] | {"created": ""}
    assert same[0]["charge"] == "not recorded"


CLAIMS = (
    "share seed", "strict", "nothing pretrained", "seeded per block", "code at", "0 tokens", "training time",
    "initialization", "before the first trial", "training steps", "one-factor", "0 s ",
)  # fmt: skip


@pytest.mark.parametrize("paired", [True, False])
def test_nothing_is_claimed_that_nobody_recorded(tmp_path, paired):
    text = TABLE if paired else re.sub(r"^(.*?),(block|\d+),", r"\1,", TABLE, flags=re.M)
    root = bring(table(tmp_path, text), tmp_path / "runs", **TERMS)
    folder = write_report(root).parent
    pages = {n: (folder / n).read_text() for n in ("report.md", "negative-results.md", "tables/ablation.tex")}
    page = (folder / "report.html").read_text()
    pages["report.html"] = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.S)
    pages["checklist"] = render_checklist(root)[0]
    for name, text in pages.items():
        for claim in CLAIMS:
            assert claim not in text, (name, claim)
    words = "runs are paired by block as the importer says" if paired else "no blocks were given"
    assert all(words in text for text in pages.values())
    assert "Rules</dt><dd>not recorded" in pages["report.html"]
    assert "Rules: not recorded." in pages["report.md"]
    assert "how the runs were seeded is not recorded" in pages["checklist"]
    assert "tokens a trial saw was not recorded" in pages["checklist"]


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "html"])
def test_every_table_says_that_its_terms_came_after_the_runs(tmp_path, form):
    root = bring(table(tmp_path), tmp_path / "runs", **TERMS)
    if form == "terminal":
        console = Console(width=200, record=True, file=io.StringIO())
        console.print(render_terminal(load_findings(root)))
        shown = console.export_text()
    else:
        shown = render_table(root, form)
    assert "declared at import, after the runs" in " ".join(shown.split())


def test_what_runs_did_record_is_told(tmp_path):
    lines = TABLE.splitlines()
    text = "\n".join([f"{lines[0]},seconds,tokens", *(f"{line},60,1e6" for line in lines[1:])])
    root = bring(table(tmp_path, text), tmp_path / "runs", **TERMS)
    told = render_checklist(root)[0]
    assert "Each trial saw 1 M tokens on average." in told
    assert "included: 9 min. " in told
    assert (
        "charged: 9 min; occupied: not recorded; tokens: 9 M."
        in (write_report(root).parent / "report.md").read_text()
    )


def test_that_nothing_diverged_is_not_taken_from_a_table_of_what_went_well(tmp_path):
    root = bring(table(tmp_path), tmp_path / "runs", **TERMS)
    checks = load_findings(root).contrasts["model.position=none"].checks
    assert next(c for c in checks if c.name == "divergence").answer == "not checked"


@pytest.mark.parametrize("margin", [math.inf, math.nan, -1.0, 0.0, 1e200])
def test_a_margin_that_is_no_finite_number_is_refused(tmp_path, margin):
    with pytest.raises(RunsError, match="largest difference that would not matter, a finite number above 0"):
        bring(table(tmp_path), tmp_path / "runs", **{**TERMS, "margin": margin})


@pytest.mark.parametrize("number", ["inf", "nan", "-1"])
def test_time_that_cannot_have_passed_is_refused(tmp_path, number):
    with pytest.raises(RunsError, match="mine.csv:2: seconds: a finite number from 0"):
        bring(
            table(tmp_path, f"arm,m,seconds\nA,1,{number}\n"), tmp_path, baseline="A", outcome="m", margin=1
        )


def test_a_score_whose_square_overflows_is_refused(tmp_path):
    with pytest.raises(RunsError, match=r"line 2: m: 1e\+308 is beyond"):
        bring(
            table(tmp_path, "arm,m\nA,1e308\n"),
            tmp_path,
            baseline="A",
            outcome="m",
            margin=1,
            direction="maximize",
        )


def test_a_table_that_is_not_utf8_says_where_and_what_to_do(tmp_path):
    path = tmp_path / "excel.csv"
    path.write_bytes("arm,block,m\nA,0,1\nB\u00e9,0,2\n".encode("cp1252"))
    terms = {"baseline": "A", "outcome": "m", "margin": 1, "direction": "maximize"}
    with pytest.raises(RunsError, match=r"excel.csv:3: not UTF-8; save .* or name .* --encoding cp1252"):
        bring(str(path), tmp_path / "runs", **terms)
    root = bring(str(path), tmp_path / "runs", **terms, encoding="cp1252")
    assert load_findings(root).arms[1].name == "B\u00e9"
    assert "the table was read as cp1252" in read_study(root).notes
    with pytest.raises(RunsError, match="no encoding 'klingon'"):
        bring(str(path), tmp_path / "x", **terms, encoding="klingon")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_declares_the_encoding(tmp_path, encoding):
    path = tmp_path / "marked.csv"
    path.write_bytes("arm,block,m\nA,0,1\nB\u00e9,0,2\n".encode(encoding))
    for named in (None, encoding.removesuffix("-sig")):
        assert [run.arm for run in read_csv(path, named)[0]] == ["A", "B\u00e9"]


@pytest.mark.parametrize(
    ("blocks", "seeds"),
    [(("--1", "0"), [0, 1]), (("\u00b2", "1"), [0, 1]), (("x", "0", "1"), [0, 1, 2]), (("1", "01"), [0, 1]),
     (("-1", "3"), [0, 1]), (("9" * 5000, "1"), [0, 1]), (("10", "2"), [2, 10])],
)  # fmt: skip
def test_blocks_have_different_numbers_whatever_they_are_called(tmp_path, blocks, seeds):
    text = "arm,block,m\n" + "".join(f"{arm},{b},{i}\n" for arm in "AB" for i, b in enumerate(blocks))
    root = bring(
        table(tmp_path, text), tmp_path / "runs", baseline="A", outcome="m", margin=1, direction="maximize"
    )
    assert read_study(root).blocks == seeds
    first = blocks[0] if blocks != ("10", "2") else "2"
    assert any(f"blocks by their names in the source: 0 is '{first}'" in n for n in read_study(root).notes)


@pytest.mark.parametrize("name", ["B\nx", "B\x07", "B\u2028x", "B\u202ex", "B\x00x"])
def test_names_that_do_not_print_are_refused(tmp_path, name):
    text = f'arm,block,m\nA,0,1\n"{name}",0,2\n'
    with pytest.raises(RunsError, match="has a character that does not print") as error:
        bring(
            table(tmp_path, text),
            tmp_path / "runs",
            baseline="A",
            outcome="m",
            margin=1,
            direction="maximize",
        )
    assert len(str(error.value).splitlines()) == 1


def test_a_cell_beyond_the_readers_limit_is_one_line(tmp_path):
    with pytest.raises(RunsError, match="mine.csv:1: cannot be read as a CSV table"):
        read_csv(Path(table(tmp_path, f"arm,m\nA,{'1' * 200_000}\n")))


def test_messages_are_sentences(tmp_path):
    source = table(tmp_path, "arm,block,m,seconds\nA,0,1,2\nB,0,2,2\n")
    for outcome, told in (("seconds", "is read as what a run used"), ("0/0", r"'0/0'\. There are runs/m$")):
        with pytest.raises(RunsError, match=told):
            bring(source, tmp_path / "x", baseline="A", outcome=outcome, margin=1, direction="maximize")
    root = bring(source, tmp_path / "runs", baseline="A", outcome="m", margin=1, direction="maximize")
    assert read_study(root).question == "Does B differ from A on runs/m?"


def test_an_arm_that_lacks_blocks_has_its_pairs_counted(tmp_path):
    text = TABLE.replace("model.norm=rmsnorm,1,78.43,2.10\n", "")
    root = bring(table(tmp_path, text), tmp_path / "runs", **TERMS)
    assert "model.norm=rmsnorm: 2 complete pair(s)." in render_table(root, "markdown")
    assert "model.position=none: " not in render_table(root, "markdown").split("<!--")[0]


@pytest.mark.parametrize("cell", ["NA", "N/A", ".", "NULL", "None", ""])
def test_a_cell_without_a_value_is_read_as_every_program_writes_it(tmp_path, cell):
    runs, _ = read_csv(Path(table(tmp_path, TABLE.replace("0,78.1,2.10", f"0,78.1,{cell}"))))
    assert runs[0].metrics == {"glue/average": 78.1}


def test_an_arm_of_one_block_does_not_speak_for_the_others(tmp_path):
    found = load_findings(bring(table(tmp_path, TABLE + "late,0,77,2.2\n"), tmp_path / "runs", **TERMS))
    assert {c.verdict for c in found.contrasts.values()} == {"equivalent", "hurts", "inconclusive"}
    assert any("an arm with one block has no interval" in warning for warning in found.warnings)
    assert not any("every verdict" in warning for warning in found.warnings)
    assert any("3 blocks can never reach" in warning for warning in found.warnings)


def test_what_no_run_recorded_has_no_empty_section(tmp_path):
    only = "\n".join(line.rpartition(",")[0] for line in TABLE.splitlines())
    root = bring(table(tmp_path, only), tmp_path / "runs", **TERMS)
    write_report(root)
    text = (root / "report" / "report.md").read_text()
    assert "## Other metrics" not in text
    assert "Versions: not recorded" in text
    assert "Ran: not recorded." in text
    page = (root / "report" / "report.html").read_text()
    assert "<dt>Ran</dt><dd>not recorded</dd>" in page
    assert "<dt>Versions</dt><dd>not recorded</dd>" in page


UNEQUAL = """arm,accuracy
base,70.1
base,70.4
base,69.8
base,70.0
a,75.1
a,75.6
a,74.2
b,71
"""


def test_arms_with_fewer_runs_are_not_told_to_have_as_many_as_the_largest(tmp_path):
    root = bring(table(tmp_path, UNEQUAL), tmp_path / "runs", baseline="a", outcome="accuracy", margin=1.0)
    page = write_report(root).read_text()
    told = (root / "report" / "report.md").read_text()
    assert all("3 arms × 1–4 trials" in text for text in (page, told, render_checklist(root)[0]))
    assert "3 × 1–4" in page
    assert "Against a, 1 of 1 trial." in told
    assert "n = 4 trials and 3 of its reference" in (root / "report" / "negative-results.md").read_text()


LEVELS = """lr,seed,loss
0.001,1,2.10
0.001,2,2.11
3e-4,1,2.30
3e-4,2,2.33
"""


def test_the_baseline_is_found_by_its_value(tmp_path):
    terms = {"arm": "lr", "block": "seed", "outcome": "loss", "margin": 0.05}
    root = bring(table(tmp_path, LEVELS), tmp_path / "runs", baseline="1e-3", **terms)
    assert read_study(root).arms[0].name == "lr=0.001"


def test_one_number_written_in_two_ways_is_not_two_arms(tmp_path):
    terms = {"arm": "lr", "block": "seed", "outcome": "loss", "margin": 0.05}
    with pytest.raises(RunsError, match=r"'lr=1e-3' is 'lr=0.001' \(line 2\) written otherwise"):
        bring(table(tmp_path, LEVELS.replace("0.001,2", "1e-3,2")), tmp_path, baseline="0.001", **terms)


def test_a_name_that_begins_with_an_equals_sign_names_no_knob(tmp_path):
    root = bring(
        table(tmp_path, TABLE.replace("model.norm=rmsnorm", "= no norm")), tmp_path / "runs", **TERMS
    )
    assert load_findings(root).arm("= no norm").changes == {}


def test_a_complete_run_without_the_outcome_is_told_as_such(tmp_path):
    root = bring(table(tmp_path, TABLE.replace("none,0,70.1", "none,0,")), tmp_path / "runs", **TERMS)
    first = load_findings(root).contrasts["model.position=none"].checks[0]
    assert first.text == "1 without an outcome of 3 trials: missing for other reasons"


def test_what_differs_between_the_runs_of_one_arm_is_no_change_of_the_other(tmp_path):
    runs = [
        ImportedRun(f"run {i}", arm, str(block), {"glue/average": 70.0 + i}, config={"host": host, "lr": lr})
        for i, (arm, block, host, lr) in enumerate(
            [("base", 0, "a", 1e-3), ("base", 1, "b", 1e-3), ("high", 0, "a", 1e-2)]
        )
    ]
    told = {"source": "wandb:me/mine", "created": "2026-01-01", "command": "ablate import"}
    root = write_study(runs, Declared("s", "base", "glue/average", 0.5), tmp_path, **told)
    assert read_study(root).arms[1].changes == {"lr": [1e-3, 1e-2]}


AGAIN = """arm,block,state,glue/average
base,0,complete,78.1
base,1,complete,78.4
a,0,crashed,
a,0,complete,70.1
a,1,complete,70.9
"""


def test_a_run_that_crashed_and_was_run_again_is_one(tmp_path):
    root = bring(table(tmp_path, AGAIN), tmp_path / "runs", **TERMS)
    assert load_findings(root).contrasts["a"].effect.n == 2
    assert any("1 failed run(s) left out" in note and "line 4" in note for note in read_study(root).notes)


def test_a_run_that_diverged_and_was_run_again_is_refused(tmp_path):
    with pytest.raises(RunsError, match="2 runs of arm 'a' on block 0"):
        bring(table(tmp_path, AGAIN.replace("crashed,", "diverged,")), tmp_path, **TERMS)


def test_status_does_not_say_nought_where_nobody_wrote_it_down(tmp_path):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render(status(bring(table(tmp_path), tmp_path / "runs", **TERMS))))
    bare = TABLE.replace("eval/mlm_loss", "tokens").replace(",2.", ",5")
    timed = bring(table(tmp_path, bare), tmp_path / "runs", name="timed", **TERMS)
    console.print(render(status(timed)))
    first, second = re.findall("9 complete · (.*)", console.export_text())
    assert first == "what they used is not recorded"
    assert re.fullmatch(r"spent \S+ tokens", second)


@pytest.mark.parametrize("end", [",,,", " , ,,", ",,,,,", ""])
def test_rows_of_separators_alone_are_no_runs(tmp_path, end):
    root = bring(table(tmp_path, f"{TABLE}{end}\n"), tmp_path / "runs", **TERMS)
    assert len(load_records(root)[0]) == 9
