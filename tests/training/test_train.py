from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from safetensors.torch import load_file

from ablate.data import Batches, Prepared
from ablate.model import Bert, flops_per_token
from ablate.optim import batch_size, parameter_groups
from ablate.recipe import Recipe
from ablate.records import TrialPaths
from ablate.streams import stream
from ablate.training import Progress, curve
from ablate.training.attempts import Attempts
from ablate.training.checkpoint import CheckpointError
from ablate.training.initial import build, vocabulary_of
from tests.training.test_checkpoint import largest_file
from tests.training.tiny import Ticking, fingerprint, run, tiny


def bare_loop(recipe: Recipe, data: Prepared, steps: int, seed: int) -> tuple[Bert, list[float]]:
    """The same training as plain PyTorch."""
    train = recipe.train
    generator = torch.Generator().manual_seed(stream(seed, "initialization"))
    model = Bert(recipe.model, vocabulary=vocabulary_of(data), length=recipe.data.length, generator=generator)
    groups = parameter_groups(model, train.weight_decay, train.decay_norms)
    optimizer = torch.optim.AdamW(groups, train.lr, betas=(0.9, 0.98), eps=1e-12, fused=True)
    batches = Batches(
        data.train,
        data.order,
        order_seed=stream(seed, "order"),
        mask_seed=stream(seed, "masking"),
        mask_rate=train.mask_rate,
        mask_rule=train.mask_rule,
        vocabulary=data.vocabulary,
    )
    losses, consumed = [], 0
    for step in range(steps):
        progress = step / steps
        for group in optimizer.param_groups:
            group["lr"] = train.lr * min(0.25 + progress, 4 * (1 - progress))
        count = batch_size(progress, train.batch, train.ramp, train.micro_batch) // train.micro_batch
        total = torch.zeros(())
        for _ in range(count):
            batch = batches.batch(consumed, train.micro_batch)
            consumed += train.micro_batch
            loss = model(*(torch.from_numpy(a) for a in (batch.ids, batch.positions, batch.labels)))
            (loss / count).backward()
            total = total + loss.detach()
        torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(total / count))
    return model, losses


def rows_of(folder: Path) -> list[dict]:
    return parquet.read_table(TrialPaths(folder).curve).to_pylist()


def test_training_equals_a_bare_loop_to_the_last_bit(data: Prepared, tmp_path: Path):
    torch.set_num_threads(1)
    found = run(tmp_path, data, "20 steps")
    model, losses = bare_loop(tiny(), data, 20, seed=3)
    assert found.losses == losses
    for ours, theirs in zip(found.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_loss_falls(data: Prepared, tmp_path: Path):
    found = run(tmp_path, data, "120 steps", recipe=tiny({"train.lr": 0.01, "train.batch": 8}))
    assert found.metrics["pretrain/loss"] < found.losses[0] - 0.5
    assert abs(found.metrics["eval/mlm_loss"] - found.metrics["pretrain/loss"]) < 0.7


# --- budgets -----------------------------------------------------------------------------------------


def test_a_step_budget_is_exact(data: Prepared, tmp_path: Path):
    found = run(tmp_path, data, "7 steps")
    assert found.spent.steps == len(found.losses) == 7


@pytest.mark.parametrize("amount", [1, 1000, 1025, 5000])
def test_a_token_budget_is_exceeded_by_less_than_a_micro_batch(data: Prepared, tmp_path: Path, amount: int):
    found = run(tmp_path, data, f"{amount} tokens")
    assert 0 <= found.spent.tokens - amount < 4 * 16


def test_a_flops_budget_is_exceeded_by_less_than_a_micro_batch(data: Prepared, tmp_path: Path):
    recipe = tiny()
    per_token = flops_per_token(recipe.model, vocabulary=vocabulary_of(data), length=16, predicted=0.25)
    found = run(tmp_path, data, f"{per_token * 3000:.3e} flops")
    assert 0.999 * 3000 <= found.spent.tokens < 3000 + 2 * 64
    assert found.spent.flops == pytest.approx(found.spent.tokens * per_token)


def test_a_time_budget_is_exceeded_by_less_than_a_step(data: Prepared, tmp_path: Path):
    clock = Ticking()
    found = run(tmp_path, data, "1s", now=clock)
    steps = np.diff([0.0, *(row["seconds"] for row in rows_of(tmp_path))])
    assert 1.0 <= found.spent.seconds < 1.0 + steps.max()
    assert found.spent.occupied > found.spent.seconds


def test_a_step_that_the_budget_cuts_short_is_the_mean_of_what_it_has(data: Prepared, tmp_path: Path):
    """Two micro-batches of a planned four: the same weights as a planned step of two."""
    how = {"train.ramp": 0.0, "train.schedule": "constant"}
    cut = run(tmp_path / "a", data, "128 tokens", recipe=tiny(how))
    whole = run(tmp_path / "b", data, "1 steps", recipe=tiny({**how, "train.batch": 8}))
    assert (cut.spent.steps, cut.spent.tokens) == (1, 128)
    for a, b in zip(cut.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-6)
    state = json.loads((tmp_path / "a/checkpoint/step-000000001-finished/state.json").read_text())
    assert state["cut"] == 2


def test_no_budget_gives_the_initialised_model(data: Prepared, tmp_path: Path):
    found = run(tmp_path, data, "0 steps")
    fresh = build(tiny(), seed=3, vocabulary=vocabulary_of(data))
    assert all(torch.equal(a, b) for a, b in zip(found.model.parameters(), fresh.parameters(), strict=True))
    assert (found.state, found.spent.steps, found.losses) == ("complete", 0, [])
    assert found.metrics["eval/mlm_loss"] == pytest.approx(math.log(vocabulary_of(data)), abs=0.2)
    assert rows_of(tmp_path) == []


def test_the_strict_reading_charges_the_process_from_its_start(data: Prepared, tmp_path: Path):
    found = run(tmp_path, data, "1s", charge="occupied", occupied=0.9, now=Ticking())
    assert 1.0 <= found.spent.occupied < 1.1
    assert found.spent.seconds < 0.15


# --- schedules follow progress -----------------------------------------------------------------------


def test_learning_rate_and_batch_follow_progress(data: Prepared, tmp_path: Path):
    recipe = tiny()
    run(tmp_path, data, "40 steps")
    found = rows_of(tmp_path)
    assert [row["step"] for row in found] == list(range(1, 41))
    for row in found:
        progress = (row["step"] - 1) / 40  # where the step began
        assert row["lr"] == recipe.train.lr * recipe.train.schedule.factor(progress)
        assert row["batch"] == batch_size(progress, 16, 0.6, 4)


def test_under_a_clock_they_follow_time(data: Prepared, tmp_path: Path):
    run(tmp_path, data, "1s", now=Ticking())
    found = rows_of(tmp_path)
    assert found[0]["batch"] == 4
    assert found[-2]["batch"] == 16
    peak = max(found, key=lambda row: row["lr"])
    assert peak["lr"] == pytest.approx(1e-3, rel=0.05)
    assert peak["seconds"] == pytest.approx(0.75, abs=0.07)


# --- what it writes and tells ------------------------------------------------------------------------


def test_the_curve_has_the_promised_columns_and_grows(data: Prepared, tmp_path: Path):
    found = run(tmp_path, data, "200 steps", recipe=tiny({"train.batch": 4}))
    table = parquet.read_table(TrialPaths(tmp_path).curve)
    assert tuple(table.column_names) == curve.COLUMNS
    assert table.num_rows == 100
    rows = table.to_pylist()
    for name in ("step", "tokens", "seconds", "flops"):
        assert all(a[name] < b[name] for a, b in zip(rows, rows[1:], strict=False))
    assert rows[-1]["tokens"] == found.spent.tokens
    losses = sum(
        row["loss"] * (row["step"] - before)
        for row, before in zip(rows, [0, *(r["step"] for r in rows)], strict=False)
    )
    assert losses / 200 == pytest.approx(sum(found.losses) / 200)


def test_the_heartbeat_comes_at_most_once_a_second(data: Prepared, tmp_path: Path):
    told: list[Progress] = []
    run(tmp_path, data, "4s", now=Ticking(), on_progress=told.append)
    seconds = [p.spent.seconds for p in told]
    assert all(b - a >= 0.9 for a, b in zip(seconds[1:-1], seconds[2:-1], strict=False))
    assert 4 <= len(told) <= 8
    assert told[-1].progress == 1.0
    assert told[2].loss is not None
    assert told[2].tokens_per_second is not None
    assert told[2].eta_seconds == pytest.approx(4 - told[2].spent.seconds, rel=0.1)


class Told:
    """A tracker that keeps what it is told."""

    warnings: list[str] = []

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []

    def start(self, run) -> None: ...
    def summary(self, metrics) -> None: ...
    def finish(self, state: str = "complete") -> None: ...
    def describe(self) -> dict:
        return {}

    def log(self, metrics, *, step: int) -> None:
        self.logged.append((step, dict(metrics)))


def test_the_tracker_is_told_the_rows_of_the_curve(data: Prepared, tmp_path: Path):
    tracker = Told()
    run(tmp_path, data, "10 steps", tracker=tracker)
    assert [step for step, _ in tracker.logged] == list(range(1, 11))
    last = tracker.logged[-1][1]
    assert last["pretrain/loss"] == rows_of(tmp_path)[-1]["loss"]
    assert last["budget/progress"] == 1.0


def test_arms_that_mask_differently_are_held_out_on_the_same_task(data: Prepared, tmp_path: Path):
    a = run(tmp_path / "a", data, "0 steps")
    b = run(
        tmp_path / "b", data, "0 steps", recipe=tiny({"train.mask_rate": 0.5, "train.mask_rule": "all-mask"})
    )
    assert a.metrics["eval/mlm_loss"] == b.metrics["eval/mlm_loss"]


def test_a_trial_that_diverges_says_so_and_leaves_no_finished_checkpoint(data: Prepared, tmp_path: Path):
    wild = tiny(
        {
            "train.lr": 0.1,
            "train.clip": None,
            "train.schedule": "constant",
            "train.batch": 4,
            "model.norm": "none",
            "model.layers": 4,
        }
    )
    found = run(tmp_path, data, "200 steps", recipe=wild)
    assert found.state == "diverged"
    assert found.reason
    assert found.spent.steps < 200
    assert "eval/mlm_loss" not in found.metrics
    assert not list(TrialPaths(tmp_path).checkpoint.glob("*finished"))
    assert rows_of(tmp_path)[-1]["step"] == found.spent.steps


# --- resuming ----------------------------------------------------------------------------------------


class Crash(Exception):
    """Stands for any error in mid-training."""


def crashing_at(share: float):
    def tell(progress: Progress) -> None:
        if progress.progress >= share:
            raise Crash

    return tell


@pytest.mark.parametrize("budget", ["30 steps", "6000 tokens"])
def test_a_resumed_trial_ends_bit_equal(data: Prepared, tmp_path: Path, budget: str):
    recipe = tiny({"train.dropout": 0.1})  # so that the random state matters too
    straight = run(tmp_path / "a", data, budget, recipe=recipe)
    for share in (0.3, 0.7):
        # Read 300 times a second, this clock has the heartbeat tell, and so crash, near the share.
        with pytest.raises(Crash):
            run(tmp_path / "b", data, budget, recipe=recipe, checkpoint_seconds=0.0, now=Ticking(0.05),
                on_progress=crashing_at(share))  # fmt: skip
    resumed = run(tmp_path / "b", data, budget, recipe=recipe)
    assert fingerprint(resumed) == fingerprint(straight)
    assert resumed.metrics["eval/mlm_loss"] == straight.metrics["eval/mlm_loss"]
    assert [row["tokens"] for row in rows_of(tmp_path / "b")] == [
        row["tokens"] for row in rows_of(tmp_path / "a")
    ]
    assert [a["reason"] for a in resumed.attempts] == ["Crash: ", "Crash: ", "complete"]
    assert resumed.attempts[2]["resumed_at_seconds"] > resumed.attempts[1]["resumed_at_seconds"] > 0


def test_the_clock_goes_on_and_lost_work_is_refunded(data: Prepared, tmp_path: Path):
    with pytest.raises(Crash):
        run(tmp_path, data, "10s", now=Ticking(0.01), checkpoint_seconds=3.0, on_progress=crashing_at(0.5))
    found = run(tmp_path, data, "10s", now=Ticking(0.01))
    first, second = found.attempts
    assert 3.0 < first["charged_seconds"] < 7.0
    assert first["refunded_seconds"] == pytest.approx(first["charged_seconds"] - second["resumed_at_seconds"])
    assert first["refunded_seconds"] > 0
    assert 10.0 <= found.spent.seconds < 10.5


def test_a_start_up_that_uses_up_the_rest_still_leaves_the_average(data: Prepared, tmp_path: Path):
    recipe = tiny({"train.averaging": {"kind": "ema", "decay": 0.9}})
    given: dict[str, Any] = {"recipe": recipe, "charge": "occupied"}
    with pytest.raises(Crash):
        run(
            tmp_path,
            data,
            "10s",
            now=Ticking(0.01),
            checkpoint_seconds=0.5,
            on_progress=crashing_at(0.5),
            **given,
        )
    newest = sorted((tmp_path / "checkpoint").glob("step-*"))[-1]
    kept = load_file(newest / "tensors.safetensors")
    steps = int(newest.name.removeprefix("step-"))
    found = run(tmp_path, data, "10s", now=Ticking(0.01), occupied=20.0, **given)
    assert found.spent.steps == steps
    means = [kept[f"average.mean.{i}"] for i, _ in enumerate(found.model.parameters())]
    assert all(torch.equal(a, b) for a, b in zip(found.model.parameters(), means, strict=True))


def test_a_torn_checkpoint_costs_only_the_work_since_the_one_before(data: Prepared, tmp_path: Path):
    straight = run(tmp_path / "a", data, "30 steps")
    with pytest.raises(Crash):
        run(
            tmp_path / "b",
            data,
            "30 steps",
            checkpoint_seconds=0.0,
            now=Ticking(0.05),
            on_progress=crashing_at(0.5),
        )
    newest = sorted((tmp_path / "b/checkpoint").glob("step-*"))[-1] / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-40])
    resumed = run(tmp_path / "b", data, "30 steps")
    assert fingerprint(resumed) == fingerprint(straight)
    assert any("torn" in warning for warning in resumed.warnings)


def test_a_full_disk_stops_no_trial(data: Prepared, tmp_path: Path):
    straight = run(tmp_path / "a", data, "30 steps")
    with largest_file(12_000):
        found = run(tmp_path / "b", data, "30 steps", checkpoint_seconds=0.0)
    assert fingerprint(found) == fingerprint(straight)
    assert found.state == "complete"
    assert any("could not be written" in warning for warning in found.warnings)


def test_a_finished_trial_is_not_trained_again(data: Prepared, tmp_path: Path):
    first = run(tmp_path, data, "20 steps")
    told: list[Progress] = []
    again = run(tmp_path, data, "20 steps", on_progress=told.append)
    assert fingerprint(again) == fingerprint(first)
    assert again.metrics == first.metrics
    assert (again.spent.steps, again.spent.seconds, again.attempts) == (
        20,
        first.spent.seconds,
        first.attempts,
    )
    assert told == []
    assert len(Attempts(tmp_path / "checkpoint/attempts.json").entries) == 1


@pytest.mark.parametrize("how", [{"seed": 4}, {"recipe": tiny({"train.lr": 0.002})}])
def test_a_checkpoint_of_another_trial_is_refused(data: Prepared, tmp_path: Path, how: dict):
    run(tmp_path, data, "3 steps")
    with pytest.raises(CheckpointError, match="belongs to another"):
        run(tmp_path, data, "3 steps", **how)


# --- precision ---------------------------------------------------------------------------------------


def test_bf16_changes_the_arithmetic_and_keeps_fp32_weights(data: Prepared, tmp_path: Path):
    fp32 = run(tmp_path / "a", data, "5 steps")
    bf16 = run(tmp_path / "b", data, "5 steps", recipe=tiny({"train.precision": "bf16"}))
    assert bf16.losses != fp32.losses
    assert np.allclose(bf16.losses, fp32.losses, atol=0.05)
    assert {p.dtype for p in bf16.model.parameters()} == {torch.float32}
