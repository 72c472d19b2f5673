"""A cost model is fitted, asked and kept without a guess or a torn file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.optim import batch_size
from ablate.speed.model import fit
from ablate.speed.saved import Machine, folder, load, save
from ablate.speed.trial import foresee
from ablate.speed.work import UnknownWorkError, work
from tests.speed.models import count, made_up, plain, small

HERE = Machine("a CPU", 1)


def amounts() -> list[dict[str, float]]:
    """The columns of recipes that differ in every size."""
    changes = [
        {"model.layers": layers, "model.width": 64 * heads, "model.heads": heads, "model.intermediate": inner,
         "data.length": length, "train.micro_batch": rows, "train.batch": rows,
         "data.tokenizer.vocabulary": vocabulary, "model.position": position, "model.activation": activation}
        for layers, heads, inner, length, rows, vocabulary, position, activation in (
            (2, 4, 1024, 128, 32, 8192, "none", "geglu"), (4, 2, 1024, 64, 16, 4096, "rope", "gelu"),
            (8, 4, 512, 32, 64, 1024, "none", "geglu"), (3, 8, 2048, 256, 8, 8192, "alibi", "geglu"),
            (6, 6, 768, 96, 24, 2048, "rope", "geglu"), (5, 3, 384, 160, 12, 512, "alibi", "gelu"),
            (12, 12, 3072, 48, 2, 16384, "none", "gelu"), (7, 5, 640, 80, 20, 6144, "rope", "geglu"),
            (9, 1, 256, 200, 40, 3072, "alibi", "geglu"), (10, 7, 896, 112, 6, 1536, "none", "geglu"),
            (1, 10, 640, 144, 28, 5120, "rope", "gelu"), (11, 9, 1152, 176, 4, 7168, "alibi", "gelu"),
        )
    ]  # fmt: skip
    return [dict(work(plain(r), count(r)).micro) for r in map(small, changes)]


def test_known_rates_are_found_again() -> None:
    rows = amounts()
    true = {
        "products": 3e-11, "scores": 2e-9, "activation geglu": 9e-9, "activation gelu": 2e-9,
        "decoder products": 5e-11, "logits": 4e-9, "position rope": 1e-8, "position alibi": 5e-9,
        "parameters": 1e-9, "step": 0.01,
    }  # fmt: skip
    kept = [{name: row.get(name, 0.0) for name in true} for row in rows]
    seconds = [sum(true[name] * row[name] for name in true) for row in kept]
    assert fit(kept, seconds) == pytest.approx(true, rel=1e-6)


def test_no_rate_is_negative() -> None:
    assert fit([{"a": 1.0, "b": 1.0}, {"a": 2.0, "b": 1.0}], [2.0, 1.0])["a"] == 0.0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"train.optimizer": "lion"}, "train.optimizer"),
        ({"train.objective": "electra"}, "train.objective"),
        ({"model.attention": "fourier"}, "model.attention"),
        ({"model.activation": "mish"}, "activation mish was not measured"),
        ({"model.layers": 96}, "model.layers 96 is far from what was measured"),
        ({"data.length": 1024}, "data.length 1024 is far"),
    ],
)
def test_what_is_not_known_is_refused_and_never_guessed(changes: dict, reason: str) -> None:
    recipe = small(changes)
    with pytest.raises(UnknownWorkError, match=reason):
        foresee(made_up(), plain(recipe), 1_000_000, {"unit": "tokens", "amount": 1e6})


def test_a_recipe_of_another_version_is_refused() -> None:
    recipe = plain(small())
    del recipe["model"]["glu_width"]
    with pytest.raises(UnknownWorkError, match="glu_width"):
        foresee(made_up(), recipe, 1_000_000, {"unit": "tokens", "amount": 1e6})
    with pytest.raises(UnknownWorkError):
        foresee(made_up(), {}, 1_000_000, {"unit": "tokens", "amount": 1e6})


# --- trials --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [("seconds", 900.0), ("tokens", 5e7), ("steps", 6000), ("flops", 1e15)])
def test_a_trial_takes_what_its_steps_take_one_by_one(budget: tuple[str, float]) -> None:
    unit, total = budget
    recipe, model = small({"train.batch": 256}), made_up()
    amount = model.work(plain(recipe), count(recipe))
    micro, update = model.micro_seconds(amount), model.update_seconds(amount)
    spent = {"seconds": 0.0, "tokens": 0.0, "steps": 0.0, "flops": 0.0}
    while spent[unit] < total:
        n = batch_size(spent[unit] / total, 256, recipe.train.ramp, 32) // 32
        spent["seconds"] += n * micro + update
        spent["tokens"] += n * amount.tokens
        spent["flops"] += n * amount.tokens * amount.flops_per_token
        spent["steps"] += 1
    found = foresee(model, plain(recipe), count(recipe), {"unit": unit, "amount": total})
    assert found.seconds == pytest.approx(spent["seconds"], rel=0.01)
    assert found.tokens == pytest.approx(spent["tokens"], rel=0.01)


# --- the file ------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path))
    return tmp_path


def test_a_saved_model_comes_back_for_its_machine_alone() -> None:
    save(made_up(), "crammed-small")
    assert load(HERE) == ([made_up()], [])
    assert load(Machine("a CPU", 2)) == ([], [])
    later = made_up(date="2026-11-29T10:00:00+00:00")
    save(later, "crammed-small")
    save(made_up(precision="bf16"), "crammed-small")
    assert [model.date[:10] for model in load(HERE)[0]] == ["2026-11-29", "2026-11-28"]


def test_speeds_of_another_torch_serve_and_say_so() -> None:
    save(made_up(versions={"torch": "1.0.0"}), "old")
    models, problems = load(HERE)
    assert len(models) == 1
    assert [problem[:40] for problem in problems] == ["speeds were measured with torch 1.0.0, t"]


def test_files_that_cannot_be_used_are_told_and_the_others_serve() -> None:
    good = save(made_up(), "good")
    torn = folder() / "torn.json"
    torn.write_bytes(good.read_bytes()[:200])
    (folder() / "newer.json").write_text(json.dumps({"schema": 99}))
    (folder() / "other.json").write_text(json.dumps({"schema": 1, "device": "x"}))
    models, problems = load(HERE)
    assert models == [made_up()]
    assert len(problems) == 3
    assert all("json" in problem and "ablate" in problem for problem in problems)
    assert any("written by a newer ablate" in problem for problem in problems)


WRITER = """
import sys
from ablate.speed.saved import save
from tests.speed.models import made_up
model = made_up(command=sys.argv[1] * 20_000)
for _ in range(60):
    save(model, "shared")
"""


def test_two_processes_that_save_the_same_leave_one_whole_file() -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, letter]) for letter in "ab"]
    seen: set[str] = set()
    while any(writer.poll() is None for writer in writers):
        models, problems = load(HERE)
        assert problems == []
        seen |= {model.command[:1] for model in models if len(set(model.command)) == 1}
        assert all(len(model.command) == 20_000 for model in models)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen <= {"a", "b"}
    assert len(list(folder().glob("*"))) == 1
