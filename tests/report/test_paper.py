"""Figures for papers: exactly as wide as promised in every format, and nothing of them is cut off."""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import replace

import matplotlib
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from ablate.analysis import analyze
from ablate.analysis.findings import BestOfK, Findings, Front, FrontPoint, Mechanism, Outcome
from ablate.analysis.paired import effect
from ablate.report import paper, series

from ..analysis import synthetic

LONG = "train.objective.masking.whole_words=by-the-longest-word-of-the-vocabulary-that-a-sentence-has"
ARMS = {
    "plain": ["model.position=none", "model.position=scaled-sinusoidal"],
    "long": ["model.position=none", f"{LONG}-first", f"{LONG}-last", "W" * 300, "$a_1$ <b>=c"],
    "many": [f"group-{n}=level-{n}" for n in range(60)],
}
HALVES = {"speed", "best-of-k", "pareto"}


def made(arms: list[str]) -> Findings:
    """Findings that every figure can be drawn of."""
    frozen = synthetic.study(arms)
    records = synthetic.records(frozen)
    found = analyze(frozen, records)
    e = effect("train/loss", {0: 1.0, 1: 1.2, 2: 1.1}, {0: 1.3, 1: 1.1, 2: 1.5})
    split = Mechanism("train/loss", 90.0, 1e6, 0.9, e, e, e)
    told = tuple(
        replace(arm, contrast=replace(arm.contrast, mechanism=split)) if arm.contrast else arm
        for arm in found.arms
    )
    best = tuple(BestOfK(arm, 3, (1, 2, 3), (1.0, 2.0, 2.5), (0.5, 0.4, 0.3)) for arm in arms[:3])
    points = tuple(FrontPoint(a, 50.0 + i, 1e4 * i, 5, "confirm", i > 0) for i, a in enumerate(arms))
    second = Outcome("throughput/tokens_per_second", None, True, "tokens/s", "Tokens per second")
    return replace(found, arms=told, best_of_k=best, front=Front(second, points))


def drawn(found: Findings) -> dict[str, Figure]:
    read = [
        series.Curve(arm.name, block, (1.0, 2.0, 3.0), (1e3, 2e3, 3e3), (3.0 + block, 2.0, 1.5))
        for arm in found.arms
        for block in range(2)
    ]
    shown = paper.drawings(found, series.forest(found), series.heat(found), read, series.speeds(found))
    assert set(shown) == {"forest", "tasks", "curves", "speed", "mechanism", "best-of-k", "pareto"}
    return {name: paper.laid_out(draw) for name, draw in shown.items()}


@pytest.fixture(scope="module", autouse=True)
def style() -> Iterator[None]:
    with matplotlib.rc_context(paper.style()):
        yield


@pytest.fixture(scope="module", params=sorted(ARMS))
def figures(request: pytest.FixtureRequest) -> dict[str, Figure]:
    return drawn(made(ARMS[request.param]))


def texts(figure: Figure) -> list[Text]:
    """What is drawn: not the labels of ticks beyond the ends of an axis."""
    beyond = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        beyond |= {
            t for tick in ticks if not low <= tick.get_loc() <= high for t in (tick.label1, tick.label2)
        }
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in beyond]


@pytest.mark.parametrize("dpi", [72, 200])  # what PDF and SVG are laid out at, and PNG
def test_every_text_lies_inside_the_figure(figures: dict[str, Figure], dpi: int) -> None:
    for name, figure in figures.items():
        figure.set_dpi(dpi)
        figure.draw_without_rendering()
        box = figure.bbox
        shown = 0
        for text in texts(figure):
            extent = text.get_window_extent()
            if extent.width == 0:
                continue
            shown += 1
            inside = extent.x0 >= 0 and extent.x1 <= box.width and extent.y0 >= 0 and extent.y1 <= box.height
            assert inside, (name, text.get_text(), extent, box)
        assert shown > 5, name


def test_no_label_of_a_row_runs_into_the_axes_or_the_numbers(figures: dict[str, Figure]) -> None:
    for name in ("forest", "tasks", "mechanism"):
        figure = figures[name]
        (axes,) = figure.axes
        figure.draw_without_rendering()
        frame = axes.get_window_extent()
        assert frame.width > figure.bbox.width / 6, name
        for label in axes.get_yticklabels():
            assert label.get_window_extent().x1 <= frame.x0 + 1, (name, label.get_text())
        for text in axes.texts if name == "forest" else ():
            assert text.get_window_extent().x0 >= frame.x1 - 1


def test_the_heat_map_says_what_bold_means_and_how_many_arms_it_leaves_out() -> None:
    found = made([f"train.lr={n}" for n in range(paper.ROWS + 3)])
    heat = series.heat(found)
    assert heat is not None
    (axes,) = paper.tasks(found, heat).axes
    assert "bold: its 95 % interval, not corrected, excludes 0" in axes.get_xlabel()
    assert f"the {paper.ROWS} largest of {paper.ROWS + 3} effects" in axes.get_xlabel()


def test_two_arms_never_have_the_same_label(figures: dict[str, Figure]) -> None:
    for name in ("forest", "tasks", "mechanism"):
        labels = [label.get_text() for label in figures[name].axes[0].get_yticklabels()]
        assert len(set(labels)) == len(labels)


def test_a_figure_is_as_wide_as_a_page_or_a_column_in_every_format() -> None:
    found = made(ARMS["long"])
    shown = paper.drawings(found, series.forest(found), series.heat(found), [], series.speeds(found))
    for file, content in paper.render(shown):
        name, _, format = file.rpartition(".")
        inches = 3.375 if name in HALVES else 6.75
        if format == "pdf":
            (box,) = re.findall(rb"/MediaBox \[ ?([\d. ]+?) ?\]", content)
            assert [float(v) for v in box.split()][:3] == [0, 0, 72 * inches], file
        elif format == "svg":
            assert f'width="{72 * inches:g}pt"'.encode() in content, file
        else:
            assert struct.unpack(">I", content[16:20]) == (200 * inches,), file


def test_the_same_findings_make_the_same_bytes() -> None:
    found = made(ARMS["plain"])
    shown = paper.drawings(found, series.forest(found), None, [], series.speeds(found))
    assert dict(paper.render(shown)) == dict(paper.render(shown))


def test_a_long_name_loses_its_middle() -> None:
    (short,) = paper.shortened([LONG], 2.0, 7.5)
    head, tail = short.split("…")
    assert (LONG.startswith(head), LONG.endswith(tail)) == (True, True)
    assert min(len(head), len(tail)) > 5
    assert paper.breadth(short, 7.5) <= 2.0 < paper.breadth(LONG, 7.5)
    assert paper.shortened(["model.position=none"], 2.0, 7.5) == ["model.position=none"]


def test_the_speed_figure_has_the_interval_of_the_speed() -> None:
    found = made(ARMS["plain"])
    axes = drawn(found)["speed"].axes[0]
    lines = [list(ends[:, 0]) for spans in axes.collections for ends in spans.get_segments()]
    for pace in series.speeds(found):
        assert pace.low is not None
        assert pace.high is not None
        assert pace.low < pace.share < pace.high
        assert [100 * pace.low, 100 * pace.high] in lines


def test_the_farthest_mark_of_a_logarithmic_axis_stands_inside() -> None:
    found = made(ARMS["long"])
    (axes,) = drawn(found)["forest"].axes
    assert axes.get_xscale() == "symlog"
    ends = [
        axes.transLimits.transform(axes.transScale.transform((bar.estimate, 0)))[0]
        for bar in series.forest(found)
    ]
    assert min(ends) > 0.04
    assert max(ends) < 0.96


def test_letters_without_a_font_are_told_once_and_warn_of_nothing() -> None:
    found = made(["学习率=大", "model.position=none"])
    shown = paper.drawings(found, series.forest(found), None, [], series.speeds(found))
    lost: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dict(paper.render(shown, lost))
    assert lost <= set("学习率大")
    assert bool(lost) == (not paper.other_scripts())


def test_a_font_that_is_installed_writes_what_the_first_has_not() -> None:
    assert paper.other_scripts({"DejaVu Sans", "Noto Sans CJK JP"}) == ["Noto Sans CJK JP"]
    assert paper.other_scripts({"DejaVu Sans"}) == []


def test_no_setting_of_the_users_own_changes_a_figure() -> None:
    found = made(ARMS["plain"])
    shown = paper.drawings(found, series.forest(found), None, [], [])
    ours = dict(paper.render(shown))
    with matplotlib.rc_context({"savefig.bbox": "tight", "figure.autolayout": True, "savefig.pad_inches": 1}):
        assert dict(paper.render(shown)) == ours


def test_png_is_what_it_says() -> None:
    import matplotlib.image

    found = made(ARMS["plain"])
    shown = paper.drawings(found, series.forest(found), None, [], [])
    content = dict(paper.render(shown))["forest.png"]
    pixels = matplotlib.image.imread(io.BytesIO(content))
    for edge in (pixels[:, 0], pixels[:, -1], pixels[0], pixels[-1]):
        assert (edge[:, :3] == 1).all()  # nothing touches the border
