"""The bench compares like with like: sizes, work counted, turns taken."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ablate.bench import measure, show
from ablate.bench.errors import BenchError
from ablate.bench.subjects import Peer, ours, peer, tokens_to_learn
from ablate.bench.training import bench
from ablate.knobs import replace
from ablate.recipe import preset
from tests.training.tiny import tiny

CPU = torch.device("cpu")
RECIPE = replace(
    tiny(),
    {"model.width": 64, "model.heads": 2, "model.layers": 2, "model.intermediate": 256, "data.length": 32},
)
VOCABULARY = 512


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_a_peer_has_the_recipes_size(name):
    pytest.importorskip("transformers")
    subject = peer(Peer(name, "eager", False), preset("crammed-small"), 1, 8192, CPU)
    own = ours(preset("crammed-small"), 1, 8192, CPU)
    assert subject.parameters == pytest.approx(own.parameters, rel=0.03)


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_a_peers_flops_are_what_torch_counts_with_a_dense_head_taken_off(name):
    pytest.importorskip("transformers")
    subject = peer(Peer(name, "eager", False), RECIPE, 2, VOCABULARY, CPU)
    with FlopCounterMode(display=False) as counter:
        subject.loss().backward()
    counted = counter.get_total_flops() / subject.tokens
    head = sum(
        m.weight.numel()
        for n, m in subject.model.named_modules()
        if isinstance(m, torch.nn.Linear) and not n.startswith(subject.model.base_model_prefix)
    )
    # BERT computes its head at every position; ModernBERT at the predicted ones, as the count has it.
    spared = 6 * head * (1 - RECIPE.train.mask_rate) if name == "bert" else 0.0
    assert counted - spared == pytest.approx(subject.flops_per_token, rel=0.02)


def test_our_flops_are_what_torch_counts():
    subject = ours(RECIPE, 2, VOCABULARY, CPU)
    with FlopCounterMode(display=False) as counter:
        subject.loss().backward()
    assert counter.get_total_flops() / subject.tokens == pytest.approx(subject.flops_per_token, rel=0.02)


def test_positions_to_predict_are_as_many_in_every_row():
    ids, positions, labels = tokens_to_learn(RECIPE, 6, VOCABULARY, CPU)
    assert (positions // 32).bincount().tolist() == [round(0.25 * 32)] * 6
    assert torch.equal(ids.flatten()[positions], labels)
    assert positions.unique().numel() == positions.numel()


def test_subjects_take_turns_and_every_other_round_runs_backwards():
    turns: list[str] = []

    class Counted:
        def __init__(self, name: str) -> None:
            self.name = name

        def step(self) -> None:
            turns.append(self.name)

        def synchronize(self) -> None:
            pass

    timings = measure.interleaved([Counted("a"), Counted("b"), Counted("c")], rounds=3, steps=1)  # type: ignore[list-item]
    assert "".join(turns) == "abc" + "abc" + "cba" + "abc"
    assert [len(t.wall) for t in timings] == [3, 3, 3]


def test_a_run_reports_shares_that_fit_together(tmp_path):
    report = bench(RECIPE, "tiny", rows=2, rounds=3, steps=1, compiled=False)
    (row,) = report.rows
    assert row.relative == row.relative_per_flop == 1.0
    assert row.mfu == pytest.approx(
        row.tokens_per_cpu_second * row.flops_per_token / report.product_flops_per_second
    )
    show.write(report, tmp_path)
    assert json.loads((tmp_path / "bench.json").read_text())["rows"][0]["name"] == "ablate, eager"
    assert "tokens/CPU-s" in (tmp_path / "bench.md").read_text()
    assert (tmp_path / "bench.svg").read_text().startswith("<svg")


def test_what_cannot_run_here_is_refused_with_the_way_out():
    with pytest.raises(BenchError, match=r"model.width \(64\) must be a multiple of model.heads \(3\)"):
        bench(replace(RECIPE, {"model.heads": 3}), "tiny")
    if not torch.cuda.is_available():
        with pytest.raises(BenchError, match="leave --device out"):
            bench(RECIPE, "tiny", device="cuda")
