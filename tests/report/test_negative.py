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
