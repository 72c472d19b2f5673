"""The report as its readers meet it: opened from a disk, on a desk, on a phone, in the dark, on paper."""

import csv
import json

import pytest

from ablate.report import write_report

from ..analysis import synthetic

PHONE = {"width": 390, "height": 844}
EFFECTS = {
    "model.position=none": -8.0, "model.position=rope": 1.5, "model.norm=rmsnorm": 0.0,
    **{f"model.knob_{i}=level": 0.1 * (i % 5) for i in range(14)},
}  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A study that shows everything: many arms, one far effect, a lost trial, two tasks, curves."""
    frozen = synthetic.study(list(EFFECTS))
    lost = synthetic.record("model.position=rope", 2, state="diverged", reason="loss is nan")
    records = [lost if r.trial == lost.trial else r for r in synthetic.records(frozen, effects=EFFECTS)]
    return write_report(synthetic.write(tmp_path_factory.mktemp("study"), frozen, records))


@pytest.fixture(scope="module")
def found(report):
    return json.loads((report.parent / "findings.json").read_text())


def column(page, table, index):
    """The numbers of a column as they stand, arms only."""
    return page.evaluate(
        "([table, i]) => [...document.querySelectorAll(`${table} tr.arm`)].map((r) => Number(r.cells[i].dataset.value))",
        [table, index],
    )


def test_it_opens_from_disk_and_asks_the_network_for_nothing(open_page, report):
    tab = open_page(report)
    tab.page.wait_for_selector("#figure-curves .plot-container")
    assert [url for url in tab.requests if not url.startswith("data:")] == [report.as_uri()]
    assert tab.complaints == []


def test_without_scripts_the_answer_the_forest_and_the_tables_are_there(open_page, report, found):
    tab = open_page(report, java_script_enabled=False)
    assert tab.page.inner_text(".answer") == found["answer"]
    assert tab.page.locator("#forest tr.arm .strip svg").count() > len(EFFECTS)
    assert tab.page.locator("table.ablation tbody tr").count() > len(EFFECTS)


def test_a_click_on_a_head_sorts_a_second_turns_and_a_third_restores(shared_page, report):
    page = shared_page(report)
    before = column(page, "#forest", 2)
    head = page.get_by_role("button", name="Δ Grammar avg.").first
    head.click()
    assert column(page, "#forest", 2) == sorted(before)
    head.click()
    assert column(page, "#forest", 2) == sorted(before, reverse=True)
    head.click()
    assert column(page, "#forest", 2) == before


def test_the_baseline_stays_on_top_and_grouped_arms_get_their_full_names_when_sorted(shared_page, report):
    page = shared_page(report)
    page.locator("table.ablation thead button", has_text="MLM loss").click()
    heads = page.locator("table.ablation tbody th").all_inner_texts()
    assert heads[0] == "baseline"
    assert "model.position=none" in heads
    assert heads[-2:] == ["majority", "tf-idf"]


def test_the_theme_button_turns_the_page_and_its_figures_dark_and_back(shared_page, report):
    page = shared_page(report)
    ink = "() => [getComputedStyle(document.body).backgroundColor, document.querySelector('#figure-curves').layout.font.color]"
    light = page.evaluate(ink)
    page.click("#theme")
    page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
    dark = page.evaluate(ink)
    assert dark[0] != light[0]
    assert dark[1] != light[1]
    page.click("#theme")
    assert page.evaluate(ink) == light


@pytest.mark.parametrize("width", [320, 390, 700, 900, 1280])
def test_nothing_sticks_out_to_the_side(open_page, report, width):
    page = open_page(report, viewport={"width": width, "height": 844}).page
    page.wait_for_selector("#figure-curves .plot-container")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")


@pytest.fixture(scope="module")
def glue(tmp_path_factory):
    """A study of GLUE whole: as many columns as a table usually has."""
    frozen = synthetic.study(
        ["model.position=scaled-sinusoidal", "train.optimizer=muon"], metric="glue/average"
    )
    records = synthetic.records(frozen)
    for number, record in enumerate(records):
        scores = {f"glue/{task}": 61.23 + 3 * i + number % 7 for i, task in enumerate(GLUE)}
        scores |= {"eval/mlm_loss": 1.9 + number / 100, "glue/average": 71.7 + number % 7}
        scores["throughput/tokens_per_second"] = 20_000.0 + 300 * number
        records[number] = record.model_copy(update={"metrics": scores})
    return write_report(synthetic.write(tmp_path_factory.mktemp("glue"), frozen, records))


@pytest.mark.parametrize("width", [1280, 1399, 1400])
def test_a_laptop_shows_the_table_of_nine_columns_of_scores_whole(open_page, glue, width):
    page = open_page(glue, viewport={"width": width, "height": 800}).page
    assert page.locator("table.ablation thead th").count() > len(GLUE) + 5
    needed, there = page.evaluate("""() => {
      const table = document.querySelector("table.ablation");
      return [table.scrollWidth, table.parentElement.clientWidth];
    }""")
    assert needed <= there


def test_at_the_top_no_section_is_marked_as_the_one_in_view(shared_page, report):
    page = shared_page(report)
    page.locator("#table").scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('nav a[aria-current]') !== null")
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_function("document.querySelector('nav a[aria-current]') === null")


def test_a_narrow_column_breaks_names_between_their_words(open_page, report):
    page = open_page(report, viewport=PHONE).page
    lines = page.evaluate("""() => [...document.querySelectorAll('.scroll tbody tr.arm th')].flatMap((th) => {
      const words = document.createTreeWalker(th, NodeFilter.SHOW_TEXT), found = [];
      while (words.nextNode()) {
        const range = document.createRange();
        range.selectNodeContents(words.currentNode);
        const rows = new Set([...range.getClientRects()].map((r) => Math.round(r.top)));
        found.push([th.textContent, words.currentNode.data, rows.size]);
      }
      return found;
    })""")
    assert {"model.position=none"} < {name for name, _, _ in lines}
    assert [line for line in lines if line[2] > 1] == []


def test_on_a_phone_the_checks_break_between_words(open_page, report):
    page = open_page(report, viewport=PHONE).page
    torn = page.evaluate("""() => {
      document.querySelectorAll('details').forEach((d) => { d.open = true; });
      return [...document.querySelectorAll('.checks tbody th')].filter((th) => {
        const range = document.createRange();
        range.selectNodeContents(th);
        const rows = new Set([...range.getClientRects()].map((r) => Math.round(r.top)));
        return th.textContent.trim() && rows.size > th.textContent.trim().split(/\\s+/).length;
      }).map((th) => th.textContent);
    }""")
    assert torn == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, {"width": 1280, "height": 900}], ids=["phone", "desk"])
def test_axe_finds_nothing_to_object_to(open_page, report, scheme, viewport):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page = open_page(report, color_scheme=scheme, viewport=viewport).page
    page.wait_for_selector("#figure-curves .plot-container")
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    # Of what passes, 3 MB of JSON that take more than half of the time, nothing is asked.
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"], "resultTypes": ["violations"]}
    violations = axe.Axe().run(page, options=rules).response["violations"]
    assert [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in violations] == []


def test_part_of_a_name_narrows_every_table_at_once(shared_page, report):
    page = shared_page(report)
    page.fill("#filter", "knob_1")
    for table in ("#forest", "#heat", "#others", "#power", "table.ablation"):
        shown = page.locator(f"{table} tr.arm:not([hidden])")
        assert shown.count() == 5  # knob_1 and knob_10 to knob_13
    assert page.inner_text("#found") == f"5 of {len(EFFECTS)} arms"
    page.fill("#filter", "")
    assert page.locator("#forest tr.arm:not([hidden])").count() == len(EFFECTS)


def test_a_verdicts_button_leaves_only_its_arms(shared_page, report, found):
    page = shared_page(report)
    page.click('#tally [data-verdict="hurts"]')
    hurt = [arm["name"] for arm in found["arms"] if (arm["contrast"] or {}).get("verdict") == "hurts"]
    assert page.locator("#forest tr.arm:not([hidden]) th").all_inner_texts() == hurt
    page.click('#tally [data-verdict="hurts"]')
    assert page.locator("#forest tr.arm:not([hidden])").count() == len(EFFECTS)


def test_the_csv_of_the_forest_is_the_findings(shared_page, report, found):
    page = shared_page(report)
    with page.expect_download() as download:
        page.locator('.tools[data-for="forest"] button', has_text="CSV").click()
    with open(download.value.path(), newline="") as file:
        head, *rows = csv.reader(file)
    effects = {arm["name"]: arm["contrast"]["effect"] for arm in found["arms"] if arm["contrast"]}
    low = next(i for i, name in enumerate(head) if name.endswith("low"))
    assert len(rows) == len(effects)
    for row in rows:
        assert float(row[1]) == effects[row[0]]["estimate"]
        assert float(row[low]) == effects[row[0]]["low"]


def test_every_figure_shows_its_data(shared_page, report):
    page = shared_page(report)
    bars = page.locator(".tools").all()
    assert len(bars) >= 6
    for bar in bars:
        bar.get_by_role("button", name="Data").click()
        shown = page.locator(".data-view tbody tr")
        assert shown.count() > 2
        bar.get_by_role("button", name="Data").click()


def test_the_curves_show_a_few_arms_at_first_and_any_other_on_request(shared_page, report):
    page = shared_page(report)
    buttons = page.locator("#curves .arms button")
    assert buttons.count() == len(EFFECTS) + 1
    assert page.locator('#curves .arms button[aria-pressed="true"]').count() == 6
    other = page.locator('#curves .arms button[aria-pressed="false"]').first
    arm = other.inner_text()
    other.click()
    visible = "(arm) => document.querySelector('#figure-curves').data.filter((t) => t.meta === arm).every((t) => t.visible === true)"
    page.wait_for_function(visible, arg=arm)


def test_the_nearer_view_spreads_what_one_far_effect_squeezed(shared_page, report):
    page = shared_page(report)
    spread = """() => {
      const x = [...document.querySelectorAll('#forest tr.arm .strip > svg > svg')].map((e) => e.getBoundingClientRect().x);
      return Math.max(...x) - Math.min(...x);
    }"""
    whole = page.evaluate(spread)
    page.get_by_role("button", name="near the margin").click()
    assert page.evaluate(spread) > 2 * whole


def test_a_link_to_an_arm_opens_it(shared_page, report):
    page = shared_page(report)
    page.locator("#forest tr.arm th a").nth(1).click()
    assert page.locator("#arm-2 > details[open]").count() == 1
    assert "Trials:" in page.inner_text("#arm-2")


def test_on_paper_it_is_light_and_whole(open_page, report):
    page = open_page(report, color_scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("nav").is_hidden()
    assert page.pdf(format="A4").startswith(b"%PDF-")


def test_on_paper_heads_are_text_and_afterwards_they_sort_again(shared_page, report):
    page = shared_page(report)
    heads = page.locator("table.ablation thead th")
    before = heads.all_inner_texts()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("thead button").count() == 0  # Chromium leaves them out of a head that it repeats
    assert heads.all_inner_texts() == before
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.locator("table.ablation thead button").first.click()
    assert heads.first.get_attribute("aria-sort") == "ascending"
