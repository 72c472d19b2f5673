"""Rival explanations on studies that are made so that the answer is known."""

import numpy as np
import pytest

from ablate.analysis import analyze
from ablate.analysis.evidence import Curve, Evidence
from ablate.records.schema import Search

from . import synthetic

ARM = "model.norm=rmsnorm"
BASE = [70.0, 71.0, 69.5, 70.4, 70.9]
UP, DOWN = [1.9, 2.1, 2.0, 2.2, 1.8], [-1.9, -2.1, -2.0, -2.2, -1.8]
NEAR, SAME = [0.02, -0.03, 0.01, 0.0, -0.01], [0.0] * 5
SPEED, LOSS = "throughput/tokens_per_second", "eval/mlm_loss"


def check(name, differences=NEAR, *, unit="steps", other=None, evidence=None, arm=None, **more):
    """The check of that name, for an arm with these differences and other metrics' values by block."""
    frozen = synthetic.study([ARM], **more)
    budget = {"unit": unit, "amount": 90.0}
    arms = [frozen.arms[0], frozen.arms[1].model_copy(update=arm or {})]
    frozen = frozen.model_copy(
        update={"budget": budget, "arms": [a.model_copy(update={"budget": budget}) for a in arms]}
    )
    values = {"baseline": BASE, ARM: [b + d for b, d in zip(BASE, differences, strict=True)]}
    records = [
        r.model_copy(update={"metrics": {**r.metrics, **{m: v[r.arm][r.block] for m, v in (other or {}).items()}}})
        for r in synthetic.of(frozen, values)
    ]  # fmt: skip
    found = analyze(frozen, records, (), evidence)
    (told,) = (c for c in found.contrasts[ARM].checks if c.name == name)
    return told.answer, told.text


def against(differences, base=2.0):
    """Values of another metric, and what the arm adds to them."""
    values = [base + 0.01 * i for i in range(5)]
    return {"baseline": values, ARM: [v + d for v, d in zip(values, differences, strict=True)]}


SWITCH = "switch without effect"


@pytest.mark.parametrize("noisy", [SPEED, "cost/peak_memory_gib", "cost/energy_kwh", "throughput/mfu"])
def test_a_switch_that_changes_nothing_is_found_although_speed_differs(noisy):
    answer, _ = check(SWITCH, SAME, other={noisy: against([1.0, -2.0, 3.0, 0.5, 0.1])})
    assert answer == "applies"


def test_a_switch_that_moves_another_score_has_an_effect():
    answer, text = check(SWITCH, SAME, other={LOSS: against([0.0, 0.0, 0.1, 0.0, 0.0])})
    assert answer == "ruled out"
    assert "MLM loss differ" in text


def test_a_difference_at_equal_steps_and_seeds_is_an_effect():
    assert check(SWITCH, NEAR) == ("ruled out", "the outcome differs from the reference's at the same seeds")


@pytest.mark.parametrize(
    "more", [{"unit": "seconds"}, {"rules": "not recorded"}, {"paired": False, "rules": "not recorded"}]
)
def test_where_runs_of_one_recipe_differ_too_a_difference_is_no_effect(more):
    answer, text = check(SWITCH, NEAR, **more)
    assert answer == "not ruled out"
    assert "nothing tells the arm from its reference" in text
    assert check(SWITCH, DOWN, **more)[1] == "the outcome differs from the reference's by more than chance"
    answer, text = check(SWITCH, NEAR, **more, arm={"parameters": 1_234_999})
    assert (answer, text) == ("ruled out", "the arm has 1,234,999 parameters, its reference 1,234,567")


def curve(level, rate=1.0):
    tokens = np.linspace(1e3, 1e6, 200)
    return Curve(tokens / rate, tokens, level + 4 * np.exp(-tokens / 2e5))


@pytest.mark.parametrize(("shift", "answer"), [(0.5, "ruled out"), (0.0, "not ruled out")])
def test_a_loss_that_differs_at_equal_tokens_is_an_effect(shift, answer):
    rng = np.random.default_rng(0)
    curves = {
        synthetic.trial_id(arm, block): curve(3 + (arm == ARM) * shift + rng.normal(0, 0.01), 1 + 0.01 * block)
        for arm in ("baseline", ARM) for block in range(5)
    }  # fmt: skip
    assert check(SWITCH, NEAR, unit="seconds", evidence=Evidence(curves=curves))[0] == answer


def test_too_few_tokens_is_read_off_the_curve():
    def falling(slope):
        tokens = np.linspace(1e3, 1e6, 200)
        curves = {
            synthetic.trial_id(ARM, b): Curve(tokens / 1e4, tokens, 5 - slope * tokens) for b in range(5)
        }
        return check("too few tokens", evidence=Evidence(curves=curves))[0]

    assert falling(2e-6) == "not ruled out"
    assert falling(0.0) == "ruled out"
    assert check("too few tokens")[0] == "not checked"


@pytest.mark.parametrize(
    ("rate", "answer"),
    [(1e-3, "ruled out"), (9.9e-3, "applies"), (1e-4, "applies"), (1.2e-4, "applies"), (1e-2, "applies")],
)
def test_a_rate_tuned_to_an_edge_applies(rate, answer):
    tune = Search(name="tune", base=ARM, phase="tune", space={"train.lr": {"low": 1e-4, "high": 1e-2, "log": True}},
                  sampler={}, trials=5, blocks=[0], seed=0, budget={})  # fmt: skip
    told = check("learning rate", arm={"tuned": {"train.lr": rate}}, searches=[tune])
    assert told[0] == answer
    assert check("learning rate")[0] == "not ruled out"


LOWER, HIGHER = [-0.11, -0.1, -0.09, -0.1, -0.1], [0.11, 0.1, 0.09, 0.1, 0.1]
CHANCE = [0.1, -0.1, 0.05, -0.02, -0.04]


@pytest.mark.parametrize(
    ("outcome", "loss", "answer", "words"),
    [(DOWN, HIGHER, "ruled out", "MLM loss point(s) the same way"),
     (DOWN, LOWER, "not ruled out", "MLM loss point(s) the other way"),
     (UP, LOWER, "ruled out", "the same way"),
     (UP, HIGHER, "not ruled out", "the other way"),
     (DOWN, CHANCE, "not ruled out", "does not move, for or against it"),
     (NEAR, HIGHER, "not ruled out", "other measures move: MLM loss"),
     (NEAR, CHANCE, "not ruled out", "shows no equivalence there")],
)  # fmt: skip
def test_another_metric_supports_contradicts_or_says_nothing(outcome, loss, answer, words):
    told = check("metric", outcome, other={LOSS: against(loss)})
    assert told[0] == answer
    assert words in told[1]


@pytest.mark.parametrize(
    ("metric", "answer"),
    [("runs/f1", "not ruled out"), ("runs/ppl", "ruled out"), ("wikitext/word_perplexity,none", "ruled out"),
     ("runs/acc_stderr", "not checked"), ("runs/tokens_per_second", "not checked"),
     ("throughput/score", "not checked"), ("runs/val", "not checked")],
)  # fmt: skip
def test_other_programs_metrics_count_by_what_their_names_tell(metric, answer):
    rise = [1.0, 1.1, 0.9, 1.0, 1.05]  # under an outcome that falls
    assert check("metric", DOWN, other={metric: against(rise)})[0] == answer


def test_nothing_else_measured_is_not_checked():
    assert check("metric", DOWN)[0] == "not checked"
