"""The words of a page of negative results."""

import pytest

from ablate.analysis import analyze
from ablate.report.negative import markdown, negatives
from tests.analysis import synthetic


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a*b*c", r"a\*b\*c"), ("`x`", r"\`x\`"), ("[a](b)", r"\[a](b)"), ("a|b", r"a\|b"), ("<b> & c", "&lt;b> &amp; c"),
     ("model.norm_placement=post", "model.norm_placement=post")],
)  # fmt: skip
def test_markdown_shows_a_name_as_it_was_written(text, shown):
    assert markdown(text) == shown


@pytest.mark.parametrize("seed", range(20))
def test_an_inconclusive_arm_is_never_among_them(seed):
    frozen = synthetic.study(["a", "b", "c", "d"], blocks=3)
    effects = {"a": -3.0, "b": -0.3, "c": 0.0, "d": 3.0}
    found = analyze(frozen, synthetic.records(frozen, effects=effects, noise=0.4, seed=seed))
    shown = {n.arm.name for n in negatives(found)}
    assert shown == {a for a, c in found.contrasts.items() if c.verdict in ("hurts", "equivalent")}


def test_every_check_that_is_open_has_its_price():
    frozen = synthetic.study(["a"])
    noise = [0.0, 0.1, -0.1, 0.2, -0.2]
    values = {"baseline": [70 + x for x in noise], "a": [60 + x for x in reversed(noise)]}
    records = [
        r.model_copy(update={"spent": {"occupied": 3600.0}, "hardware": {"gpu": f"card {r.block}"}})
        for r in synthetic.of(frozen, values)
    ]
    records = [
        r.model_copy(update={"state": "failed", "metrics": {}}) if (r.arm, r.block) == ("a", 4) else r
        for r in records
    ]  # fmt: skip
    (item,) = negatives(analyze(frozen, records))
    checks = {check.name: check.answer for check in item.contrast.checks}
    text = "\n".join(item.overturn)
    assert checks["divergence"] == checks["hardware"] == checks["learning rate"] == "not ruled out"
    assert "1 trial of the arm, lost so far, run to the end: 1 trial, about 60 min." in text
    assert "without other work" in text
    assert "A learning rate tuned for the arm" in text
    closed = {
        "too few tokens": "Twice the budget",
        "switch without effect": "same weights",
        "metric": "another measure",
    }
    assert not any(
        words in text for name, words in closed.items() if checks[name] in ("ruled out", "not checked")
    )
    new = item.contrast.blocks_needed or item.contrast.effect.n
    new = max(2, new)
    assert f"{new} new blocks whose interval includes 0, same budget and baseline: {2 * new} trials" in text
    assert f"{2 * new + 5} trials, about {2 * new + 5}" in text
