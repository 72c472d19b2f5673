"""The pages of a study: complete, self-contained, and there for every sad case too."""

import csv
import io
import json
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from rich.console import Console

from ablate.records import StudyPaths
from ablate.records.schema import SCHEMA
from ablate.records.store import RecordError
from ablate.report import load_findings, numbers, write_report
from ablate.report.terminal import render_terminal

from ..analysis import synthetic

FILES = (
    "report.html", "report.md", "negative-results.md", "negative-results.json", "findings.json",
    "tables/ablation.tex", "tables/ablation.md", "tables/ablation.csv", "tables/ablation.html",
    "tables/ablation.trials.json",
)  # fmt: skip


class Loads(HTMLParser):
    """Collects what a page would fetch, and the ids it has."""

    def __init__(self):
        super().__init__()
        self.fetched, self.ids, self.scripts, self.links = [], set(), 0, []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.scripts += tag == "script"
        if "id" in found:
            self.ids.add(found["id"])
        if tag == "a":
            self.links.append(found.get("href", ""))
        elif "src" in found or "href" in found:
            self.fetched.append(found.get("src") or found.get("href"))


def parsed(page):
    reader = Loads()
    reader.feed(page.read_text())
    return reader


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    frozen = synthetic.study()
    synthetic.write(root, frozen, synthetic.records(frozen))
    return write_report(root)


def test_every_file_is_written(written):
    for name in (
        *FILES,
        "figures/forest.html",
        "figures/forest.svg",
        "figures/tasks.html",
        "figures/curves.html",
    ):
        assert (written.parent / name).stat().st_size > 0


def test_the_page_loads_nothing_from_anywhere(written):
    assert all(url.startswith("data:") for url in parsed(written).fetched)
    own = written.read_text().split("<style>")[1].split("</style>")[0]
    assert "url(" not in own
    assert "@import" not in own


def test_plotly_is_inside_once(written):
    assert written.read_text().count("plotly.js v") == 1


def test_every_link_of_the_page_has_its_section(written):
    page = parsed(written)
    assert {link.removeprefix("#") for link in page.links} <= page.ids


def test_the_answer_stands_before_everything_else(written):
    text = written.read_text()
    answer = json.loads((written.parent / "findings.json").read_text())["answer"]
    assert text.index('class="answer"') < text.index("<main>")
    assert "model.position=none" in answer
    assert re.search(r"hurts", text[: text.index("<main>")])


def test_figures_for_papers_are_written_in_every_format_and_hold_every_arm(written):
    folder = written.parent / "figures"
    starts = {"pdf": b"%PDF-", "svg": b"<?xml", "png": b"\x89PNG"}
    for name in ("forest", "tasks", "curves", "speed"):
        for extension, start in starts.items():
            assert (folder / f"{name}.{extension}").read_bytes().startswith(start)
    root = ElementTree.fromstring((folder / "forest.svg").read_text())
    text = " ".join("".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text"))
    assert all(arm in text for arm in synthetic.EFFECTS)
    assert all(verdict in text for verdict in ("hurts", "helps", "equivalent"))


def test_the_report_is_the_same_when_written_again(written):
    files = [path for path in written.parent.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    write_report(written.parent.parent)
    assert before == {path: path.read_bytes() for path in files}


def test_negative_results_hold_what_hurts_or_is_equivalent_and_never_what_is_open(tmp_path):
    frozen = synthetic.study(["model.position=none", "model.norm=rmsnorm", "open", "good"])
    base = [70.0, 71.0, 69.5, 70.4, 70.9]
    shifts = {
        "baseline": [0.0] * 5,
        "model.position=none": [-8.1, -7.9, -8.0, -8.2, -7.8],
        "model.norm=rmsnorm": [0.02, -0.03, 0.01, 0.0, -0.01],
        "open": [3.0, -2.0, 1.0, -1.5, 0.5],
        "good": [2.0, 2.1, 1.9, 2.2, 1.8],
    }
    values = {arm: [b + d for b, d in zip(base, shift, strict=True)] for arm, shift in shifts.items()}
    synthetic.write(tmp_path, frozen, synthetic.of(frozen, values), curves=False)
    text = (write_report(tmp_path).parent / "negative-results.md").read_text()
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert [h.split()[1] for h in headings] == ["model.position=none", "model.norm=rmsnorm"]
    assert "how tokens know their place" in text  # the claim
    assert "| `model.position` | scaled-sinusoidal | none |" in text  # the exact difference
    assert "Smallest resolvable effect" in text
    assert "ablate run synthetic.yaml" in text


def test_the_power_table_of_the_text_has_what_the_page_has(tmp_path):
    frozen = synthetic.study()
    root = synthetic.write(tmp_path, frozen, synthetic.records(frozen), curves=False)
    page = write_report(root)
    text, html = page.with_name("report.md").read_text(), page.read_text()
    rows = dict(
        re.findall(
            r'<tr class="arm" data-arm="([^"]+)"[^>]*>(.*?)</tr>', html.split('id="power"')[1], re.DOTALL
        )
    )
    for arm, c in load_findings(root).contrasts.items():
        cells = re.findall(r"<td[^>]*>(.*?)</td>", rows[arm])
        assert f"| {arm} | {' | '.join(cells)} |" in text
        assert cells[2] == numbers.p_value(c.effect.sign_flip_p)
        assert cells[3] == numbers.p_value(c.adjusted_equivalence_p)
        assert cells[-1] == ("settled" if c.verdict != "inconclusive" else str(c.blocks_needed))


def test_a_count_is_written_with_its_prefix_in_the_text_too(tmp_path):
    frozen = synthetic.study()
    found = synthetic.records(frozen)
    for i, record in enumerate(found):
        record.spent["flops"] = 1e12 + 1e10 * (i % 7)
    page = write_report(synthetic.write(tmp_path, frozen, found, curves=False))
    part = page.with_name("report.md").read_text().split("`spent/flops`")[1].split("###")[0]
    assert re.search(r"\| 5 \| [+−][\d.]+ [MB] \[", part)
    assert "000 000" not in part.replace("\u202f", " ")


def test_what_reproduces_a_study_can_be_pasted(tmp_path):
    frozen = synthetic.study(source="my studies/first one.yaml")
    page = write_report(synthetic.write(tmp_path, frozen, synthetic.records(frozen), curves=False))
    for name in ("report.md", "negative-results.md"):
        assert "`ablate run 'my studies/first one.yaml'`" in page.with_name(name).read_text()


def sad_cases():
    frozen = synthetic.study()
    complete = synthetic.records(frozen)
    one = synthetic.study(blocks=1)
    cells = [(arm, block) for arm, block in frozen.trials.values()]
    yield "no records", frozen, []
    yield "one block", one, synthetic.records(one)
    yield "baseline missing", frozen, [r for r in complete if r.arm != "baseline"]
    yield "all failed", frozen, [synthetic.record(a, b, state="diverged", reason="<nan>") for a, b in cells]
    yield "only a baseline", synthetic.study([]), [r for r in complete if r.arm == "baseline"]
    yield "no spread", frozen, [synthetic.record(a, b, {synthetic.METRIC: 50.0}) for a, b in cells]
    yield "not finite", frozen, [synthetic.record(a, b, {synthetic.METRIC: math.nan}) for a, b in cells]
    yield "no margin", synthetic.study(margin=None), complete
    yield "a loss as outcome", synthetic.study(metric="eval/mlm_loss", higher_is_better=False), complete
    yield "no scale", synthetic.study(scale={}), complete


@pytest.mark.parametrize(("frozen", "records"), [c[1:] for c in sad_cases()], ids=[c[0] for c in sad_cases()])
def test_every_page_renders_for(tmp_path, frozen, records):
    synthetic.write(tmp_path, frozen, records, curves=False)
    page = write_report(tmp_path)
    for name in FILES:
        text = (page.parent / name).read_text()
        assert "NaN" not in text.split("plotly.js")[0]
        assert " nan" not in text.replace("is nan", "").split("plotly.js")[0]
    assert all(url.startswith("data:") for url in parsed(page).fetched)


def test_a_torn_curve_and_a_torn_record_are_said_and_do_not_stop_the_report(tmp_path):
    frozen = synthetic.study()
    synthetic.write(tmp_path, frozen, synthetic.records(frozen))
    paths = StudyPaths(tmp_path)
    paths.trial(synthetic.trial_id("baseline", 0)).curve.write_bytes(b"PAR1 torn")
    paths.trial(synthetic.trial_id("baseline", 1)).record.write_text('{"study": ')
    text = (write_report(tmp_path).parent / "report.md").read_text()
    assert "curve of baseline, block 0 cannot be read" in text
    assert text.count("curve of baseline, block 0") == 1
    assert "baseline-1/record.json cannot be read" in text


def test_what_people_wrote_cannot_break_out_of_the_page(tmp_path):
    bad = "</script><script>alert(1)</script>"
    frozen = synthetic.study(["a"], question=bad, title=bad, notes=[bad])
    synthetic.write(tmp_path, frozen, synthetic.records(frozen, effects={}))
    assert "<script>alert" not in write_report(tmp_path).read_text()


def searched(states):
    """A search of four arms, none confirmed; those that did not complete were ended early."""
    names = [f"search #{n + 1}" for n in range(len(states))]
    frozen = synthetic.study(names, blocks=1, family=[])
    frozen = frozen.model_copy(
        update={
            "arms": [frozen.arms[0], *(a.model_copy(update={"phase": "screen"}) for a in frozen.arms[1:])]
        }
    )
    records = [synthetic.record("baseline", 0, {synthetic.METRIC: 70.0})]
    for name, state in zip(names, states, strict=True):
        scores = {synthetic.METRIC: 71.0} if state == "complete" else {}
        records.append(synthetic.record(name, 0, scores, state=state, reason="others did better"))
    return frozen, records


def test_a_trial_that_the_search_ended_early_is_no_failure(tmp_path):
    frozen, records = searched(["complete", "pruned", "pruned", "complete"])
    synthetic.write(tmp_path, frozen, records, curves=False)
    page = write_report(tmp_path)
    for text in (page.read_text(), (page.parent / "report.md").read_text()):
        assert "2 trials ended early by the search because others did better, which is no failure" in text
        assert "Intention to treat" not in text
    assert "2 pruned" in page.read_text()
    arms = {a["name"]: a for a in json.loads((page.parent / "findings.json").read_text())["arms"]}
    assert arms["search #2"]["failures"] == {}
    assert "pruned (1)" in (page.parent / "tables" / "ablation.md").read_text()


def test_what_was_only_screened_answers_nothing(tmp_path):
    frozen, records = searched(["complete", "complete"])
    synthetic.write(tmp_path, frozen, records, curves=False)
    answer = json.loads((write_report(tmp_path).parent / "findings.json").read_text())["answer"]
    assert answer == "No answer yet: all 2 arms are screened, and none has been confirmed."


def test_an_unpaired_study_says_so_wherever_a_paired_one_says_blocks(tmp_path):
    frozen = synthetic.study(paired=False)
    synthetic.write(tmp_path, frozen, synthetic.records(frozen, between=0.1), curves=False)
    folder = write_report(tmp_path).parent
    for name in ("report.html", "report.md", "tables/ablation.tex", "negative-results.md"):
        text = (folder / name).read_text().split("plotly.js v")[0]
        assert "Welch" in text, name
        for word in ("within-block", "paired t", "share seed", "in the same blocks", "5 blocks"):
            assert word not in text, (name, word)


def test_a_failure_without_divergence_has_no_second_line(tmp_path):
    frozen = synthetic.study()
    records = synthetic.records(frozen)
    records[1] = synthetic.record(records[1].arm, 0, state="lost", reason="machine gone")
    synthetic.write(tmp_path, frozen, records, curves=False)
    folder = write_report(tmp_path).parent
    for name in ("report.html", "report.md", "tables/ablation.tex", "negative-results.md"):
        assert "Intention to treat" not in (folder / name).read_text(), name


def test_a_negative_result_is_drawn_with_its_interval_and_every_block(written):
    text = (written.parent / "negative-results.md").read_text()
    names = re.findall(r"figures/(negative-\d+\.svg)", text)
    items = json.loads((written.parent / "negative-results.json").read_text())["results"]
    assert [item["picture"] for item in items] == names
    root = ElementTree.fromstring((written.parent / "figures" / names[0]).read_text())
    dots = [n for n in root.iter("{http://www.w3.org/2000/svg}circle") if n.get("r") == "2"]
    shown = " ".join(n.text or "" for n in root.iter("{http://www.w3.org/2000/svg}text"))
    assert len(dots) == 5 * (1 + len(synthetic.TASKS)) + 1  # and the legend's
    assert "one block" in shown
    assert all(label in shown for label in ("Δ Grammar avg.", "Accept.", "Sentiment"))


def test_a_record_of_a_newer_ablate_is_set_aside_and_said_and_a_newer_study_refused(tmp_path):
    frozen = synthetic.study()
    synthetic.write(tmp_path, frozen, synthetic.records(frozen), curves=False)
    paths = StudyPaths(tmp_path)
    record = paths.trial(synthetic.trial_id("baseline", 1)).record
    record.write_text(json.dumps({**json.loads(record.read_text()), "schema": SCHEMA + 1}))
    found = json.loads((write_report(tmp_path).parent / "findings.json").read_text())
    assert any("baseline-1/record.json was written by a newer ablate" in w for w in found["warnings"])
    assert not any(str(tmp_path) in w for w in found["warnings"])
    assert found["arms"][0]["completed"] == 4
    assert {arm["contrast"]["effect"]["n"] for arm in found["arms"][1:]} == {4}
    paths.study.write_text(json.dumps({**json.loads(paths.study.read_text()), "schema": SCHEMA + 1}))
    with pytest.raises(RecordError, match="newer ablate"):
        write_report(tmp_path)


def test_an_arm_whose_every_trial_diverged_has_its_row_and_one_word(tmp_path):
    frozen = synthetic.study(["a", "b"])
    records = [
        synthetic.record(r.arm, r.block, state="diverged") if r.arm == "b" else r
        for r in synthetic.records(frozen, effects={"a": 3.0})
    ]
    synthetic.write(tmp_path, frozen, records)
    page = write_report(tmp_path).read_text()
    forest = page.split('id="forest"')[1].split("</table>")[0]
    assert 'data-arm="b" data-verdict="inconclusive"' in forest
    assert "diverged 5/5" in forest
    assert "b (5 of 5 diverged) remains <b" in page
    assert "<b>1</b> inconclusive" in page
    assert "without a verdict" not in page
    drawn = (StudyPaths(tmp_path).report / "figures" / "forest.json").read_text()
    assert "b: diverged 5/5" in drawn


@pytest.fixture(scope="module")
def unpaired(tmp_path_factory):
    """An arm that hurts, less one trial that diverged, and one of which every trial did."""
    root = tmp_path_factory.mktemp("unpaired")
    frozen = synthetic.study(["a", "b"], paired=False)
    gone = {("a", 0), *(("b", block) for block in range(5))}
    records = [
        synthetic.record(r.arm, r.block, state="diverged") if (r.arm, r.block) in gone else r
        for r in synthetic.records(frozen, effects={"a": -9.0})
    ]
    synthetic.write(root, frozen, records, curves=False)
    return write_report(root).parent


def test_the_picture_of_an_unpaired_negative_result_shows_every_trial_on_outcome_and_tasks(unpaired):
    assert "a dot for each trial of the arm" in (unpaired / "negative-results.md").read_text()
    picture = (unpaired / "figures" / "negative-1.svg").read_text()
    rows = 1 + len(synthetic.TASKS)
    assert (picture.count('r="2"'), picture.count('r="3"')) == (4 * rows + 1, 5 * rows + 1)  # and the legend
    assert "one trial, less the mean of the reference's trials" in picture


def test_the_forest_of_unpaired_arms_has_a_dot_for_each_trial_where_it_is_less_the_references_mean(unpaired):
    found = json.loads((unpaired / "findings.json").read_text())
    baseline, arm, _ = found["arms"]
    mean = baseline["values"][synthetic.METRIC]["mean"]
    wanted = [value - mean for value in arm["scores"][synthetic.METRIC].values()]
    assert sum(wanted) / 4 == pytest.approx(arm["contrast"]["effect"]["estimate"])
    page = (unpaired / "report.html").read_text()
    assert "a dot for each trial: its value less the mean of the reference" in page
    strip = page.split('data-arm="a"')[1].split("</tr>")[0]
    assert strip.split('class="dots">')[1].split("</g>")[0].count("<circle") == 4
    drawn = json.loads((unpaired / "figures" / "forest.json").read_text())["data"]
    assert drawn[0]["x"] == pytest.approx(wanted)
    assert drawn[-1]["name"] == "one trial, less the mean of the reference's trials"


def test_the_data_of_the_forest_hold_every_point_and_the_arm_without_an_effect(unpaired):
    first, second = csv.DictReader((unpaired / "figures" / "forest.csv").open())
    points = [first[f"trial {i}"] for i in range(5)]
    assert points[0] == ""
    assert sum(map(float, points[1:])) / 4 == pytest.approx(float(first["estimate"]))
    assert (first["arm"], first["reason"]) == ("a", "")
    assert (second["arm"], second["estimate"], second["verdict"]) == ("b", "", "inconclusive")
    assert second["reason"] == "diverged 5/5"


def test_a_baseline_that_failed_throughout_is_said_where_effects_would_stand(tmp_path):
    frozen = synthetic.study(["a"])
    records = [
        synthetic.record(r.arm, r.block, state="diverged") if r.arm == "baseline" else r
        for r in synthetic.records(frozen)
    ]
    synthetic.write(tmp_path, frozen, records, curves=False)
    page = write_report(tmp_path)
    why = "no comparison is possible, because every trial of the baseline failed: baseline (5 of 5 diverged)"
    section = page.read_text().split('id="effects"')[1].split("</section>")[0]
    assert why in section
    assert "yet" not in section
    assert why in page.with_name("report.md").read_text()
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(render_terminal(load_findings(tmp_path)))
    assert why in console.export_text()
