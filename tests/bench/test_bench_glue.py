"""The GLUE bench compares like with like: rows, steps, weights, rates; and says what it found."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from typer.testing import CliRunner

from ablate.bench import glue
from ablate.bench.errors import BenchError
from ablate.bench.glue_report import Report, Row
from ablate.bench.run import circumstances
from ablate.bench.trainer import GROUPED, PADDED
from ablate.cli import app
from ablate.evaluation import EvaluateSpec
from ablate.evaluation.batching import factor
from ablate.evaluation.encode import encode
from ablate.evaluation.finetune import Classifier
from ablate.evaluation.suite import targets
from ablate.evaluation.tasks import load, resolve
from ablate.export.write import Pretrained, read_checkpoint, write
from ablate.knobs import UnknownKnobError, replace
from ablate.model import ClassificationHead
from ablate.optim import parameter_groups
from tests.evaluation.conftest import pairs
from tests.evaluation.conftest import write as write_task
from tests.export.test_export import BERT
from tests.training.tiny import run, tiny, tiny_data

pytest.importorskip("accelerate")
CPU = torch.device("cpu")
SETTINGS = {
    "finetune.lr": 1e-2, "finetune.epochs": 3, "finetune.dropout": 0.0, "finetune.head_width": 16,
    "finetune.weight_decay": 0.01,
}  # fmt: skip


def sentences(rows: int, seed: int) -> pd.DataFrame:
    """Class 1 calls it good, class 0 bad, among words of the grammar, after one to five others."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    found = [
        " ".join([*rng.choice(["the", "dog", "king", "was", "small"], rng.integers(1, 6)), word])
        for word in np.where(labels == 1, "good", "bad")
    ]
    return pd.DataFrame({"sentence": found, "label": labels})


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A trial of BERT's architecture, and one of the crammed BERT's."""
    data = tiny_data(tmp_path_factory.mktemp("cache"))
    found = {}
    for name, changes in (("bert", BERT), ("crammed", {})):
        found[name] = tmp_path_factory.mktemp(name)
        run(found[name], data, "3 steps", recipe=tiny({**changes, **SETTINGS}))
    return found


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tasks in GLUE's shape: 72 sentences of two classes, 40 pairs of a regression."""
    root = tmp_path / "data"
    write_task(root / "glue/sst2", sentences, train=72, validation=40)
    write_task(root / "glue/stsb", pairs, train=40)
    monkeypatch.setenv("ABLATE_DATA", str(root))
    return root


@pytest.fixture(params=["bert", "crammed"])
def contest(request: pytest.FixtureRequest, checkpoints: dict[str, Path], tmp_path: Path) -> glue.Contest:
    return contest_of(read_checkpoint(checkpoints[request.param]), tmp_path)


def contest_of(pretrained: Pretrained, folder: Path) -> glue.Contest:
    return glue.Contest(pretrained, write(pretrained, folder / "exported"), CPU, (PADDED, GROUPED))


def only(task: str, most: int | None = None) -> EvaluateSpec:
    return glue.section(task, None, most)


@pytest.mark.parametrize("name", ["sst2", "stsb"])
def test_all_take_the_steps_that_the_table_says(contest: glue.Contest, name: str) -> None:
    spec = only(name, 37)
    expected = contest.row(spec)
    assert expected.train_rows == 37
    assert expected.steps == 3 * 3  # two batches of 16, one of 5
    for who in contest.names:
        taken: list[int] = []
        handle = register_optimizer_step_post_hook(lambda *given, taken=taken: taken.append(1))
        try:
            contest.run(who, spec, seed=0)
        finally:
            handle.remove()
        assert len(taken) == expected.steps, who


@pytest.mark.parametrize("name", ["sst2", "stsb"])
@pytest.mark.parametrize("padding", [PADDED, GROUPED], ids=lambda p: p.name)
def test_the_peer_has_our_rows(contest: glue.Contest, name: str, padding: glue.Padding) -> None:
    (task,) = resolve(only(name, 37))
    loaded = load(task)
    ours = encode(contest.tokenizer, loaded.train, 16)
    labels, _, _ = targets(task, loaded)
    theirs = contest.peer.rows(loaded.train, labels, padding)
    widths = {len(row) for row in theirs["input_ids"]}
    assert widths == ({16} if padding is PADDED else set(ours.lengths.tolist()))
    assert [sum(mask) for mask in theirs["attention_mask"]] == ours.lengths.tolist()
    for row, ids, length in zip(theirs["input_ids"], ours.ids, ours.lengths, strict=True):
        assert row[:length] == ids[:length].tolist()
    assert theirs["label"] == pytest.approx(labels.tolist())


def test_the_peer_is_the_same_function_before_it_trains(contest: glue.Contest) -> None:
    theirs = contest.peer.model(3, seed=0).eval()
    head = ClassificationHead(16, 3, head_width=16, dropout=0.0)
    state = theirs.state_dict()
    for ours, names in {
        "dense": ("head.dense", "bert.pooler.dense"),
        "out": ("head.out", "classifier"),
    }.items():
        for kind in ("weight", "bias"):
            value = next(state[f"{name}.{kind}"] for name in names if f"{name}.{kind}" in state)
            head.get_submodule(ours).get_parameter(kind).data.copy_(value)
    model = Classifier(contest.model.encoder, head).eval()
    ids = torch.randint(5, 512, (4, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = model(ids, torch.full((4,), 12))
        assert ours.std() > 1e-3  # logits that say something
        torch.testing.assert_close(ours, theirs(ids).logits, rtol=1e-5, atol=1e-6)
        lengths = torch.tensor([12, 9, 3, 5])
        real = torch.arange(16) < lengths[:, None]
        padded = torch.nn.functional.pad(ids, (0, 4)) * real
        found = theirs(padded, attention_mask=real.long()).logits
        torch.testing.assert_close(model(padded[:, :12], lengths), found, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_peer_learns_at_the_recipes_rates(
    checkpoints: dict[str, Path], tmp_path: Path, schedule: str
) -> None:
    changes = {
        "finetune.schedule": schedule,
        "finetune.epochs": 8,
        "finetune.warmup": 0.25,
        "finetune.clip": 0.7,
    }
    found = read_checkpoint(checkpoints["bert"])
    config = replace(found.recipe, changes).finetune
    contest = contest_of(
        Pretrained(found.checkpoint, replace(found.recipe, changes), found.model, found.tokenizer), tmp_path
    )
    (task,) = resolve(only("sst2", 40))
    loaded = load(task)
    rows = contest.peer.rows(loaded.train, loaded.train.labels, PADDED)
    trainer = contest.peer.trainer(contest.peer.model(2, 0), rows, PADDED, 0, tmp_path)
    total = 24
    trainer.create_optimizer_and_scheduler(total)
    rates = []
    for _ in range(total):
        rates.append(trainer.optimizer.param_groups[0]["lr"])
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    assert rates == pytest.approx([config.lr * factor(schedule, 0.25, step / total) for step in range(total)])
    assert isinstance(trainer.optimizer, torch.optim.AdamW)
    assert trainer.args.max_grad_norm == 0.7
    assert trainer.args.train_batch_size == config.batch
    for group in trainer.optimizer.param_groups:
        assert group["betas"] == (config.beta1, config.beta2)
        assert group["eps"] == config.eps
    head = ClassificationHead(16, 2, head_width=16)
    expected = parameter_groups(Classifier(contest.model.encoder, head), config.weight_decay)
    # Ours without segments, of which the exported BERT has one row.
    assert [_decayed(groups) for groups in (expected, trainer.optimizer.param_groups)] == [
        [(0.01, _weights(expected[0])), (0.0, _weights(expected[1]))],
        [(0.01, _weights(expected[0]) + 16), (0.0, _weights(expected[1]))],
    ]


def _weights(group: dict) -> int:
    return sum(parameter.numel() for parameter in group["params"])


def _decayed(groups: list[dict]) -> list[tuple[float, int]]:
    return [(group["weight_decay"], _weights(group)) for group in groups]


@pytest.mark.parametrize("contest", ["bert"], indirect=True)
def test_all_learn_a_separable_task(contest: glue.Contest, data: Path) -> None:
    write_task(data / "glue/sst2", sentences, train=800, validation=60)
    for who in contest.names:
        _, score = contest.run(who, only("sst2"), seed=1)
        assert score > 95, who


def test_the_command_prints_a_table_and_json_and_leaves_nothing(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, here = tmp_path / "scratch", tmp_path / "here"
    scratch.mkdir()
    here.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(here)
    command = [
        "bench",
        "glue",
        str(checkpoints["bert"]),
        "--rounds",
        "1",
        "--max-train",
        "32",
        "--set",
        "finetune.epochs=1",
    ]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[:5]] == [
        "task",
        "---",
        "sst2",
        "stsb",
        "suite",
    ]
    assert "32 examples" not in shown.stdout
    assert {line.count("|") for line in lines[:5]} == {lines[0].count("|")}
    told = CliRunner().invoke(app, [*command, "--tasks", "sst2", "--no-grouped", "--format", "json"])
    found = json.loads(told.stdout)
    (row,) = found["rows"]
    assert row["steps"] == 2
    assert row["seconds"].keys() == row["scores"].keys() == {"ablate", "padded"}
    assert found["suite"]["times"]["padded"] == row["seconds"]["padded"][0] / row["seconds"]["ablate"][0]
    assert found["finetune"]["epochs"] == 1
    assert not list(scratch.iterdir())
    assert not list(here.iterdir())


def test_the_suite_is_the_sum_of_medians() -> None:
    rows = [
        Row("a", "accuracy", 10, 5, 3, 8.0, 9.0, {"ablate": [1, 9, 2], "padded": [6, 6, 7]}, {"ablate": [50.0, 52.0, 54.0], "padded": [1.0]}),
        Row("b", "accuracy", 10, 5, 3, 8.0, 9.0, {"ablate": [3, 3, 3], "padded": [4, 4, 4]}, {"ablate": [50.0], "padded": [1.0]}),
    ]  # fmt: skip
    report = Report(
        **circumstances(torch.device("cpu"), "cpu", "fp32"), checkpoint="c", family="BERT", rounds=3, finetune={},
        longest=16, notes=[], rows=rows,
    )  # fmt: skip
    assert report.total("ablate") == 2 + 3
    assert report.times("padded") == (6 + 4) / (2 + 3)
    assert rows[0].times("padded") == 3.0
    assert rows[0].score("ablate") == "52.0 ± 2.0"
    assert rows[1].score("ablate") == "50.0"


def test_heads_are_made_equal_and_said(checkpoints: dict[str, Path]) -> None:
    found = read_checkpoint(checkpoints["bert"])
    other = glue.changed(found.recipe, {"finetune.head_width": 64, "finetune.pooler": "mean"})
    same, notes = glue.comparable(Pretrained(found.checkpoint, other, found.model, found.tokenizer))
    assert same.recipe.finetune == found.recipe.finetune
    assert notes == [
        "finetune.pooler is cls for all, as BERT has it",
        "finetune.head_width is 16 for all, as BERT has it",
    ]
    assert glue.comparable(found) == (found, [])


def test_tasks_of_a_study_are_taken_one_by_one(data: Path, tmp_path: Path) -> None:
    study = tmp_path / "s.yaml"
    study.write_text(
        "question: Q?\nbaseline: crammed-small\nbudget: 3 steps\ndesign: {factors: {model.position: [none]}}\n"
        "outcome: {metric: tasks/own, margin: 1}\n"
        "evaluate:\n  glue: {tasks: [sst2, stsb], seeds: 3, max_train: {sst2: 20}}\n  grammar: {tasks: [sentiment]}\n"
        f"  tasks: {{own: {{path: {data}/glue/sst2, text: sentence}}}}\n"
    )
    found = [task for spec in glue.one_by_one(glue.section(None, study, None)) for task in resolve(spec)]
    assert [(task.name, task.seeds, task.max_train) for task in found] == [
        ("sst2", 1, 20), ("stsb", 1, None), ("sentiment", 1, None), ("own", 1, None)
    ]  # fmt: skip
    cut = [task for spec in glue.one_by_one(glue.section("own, stsb", study, 8)) for task in resolve(spec)]
    assert [(task.name, task.max_train) for task in cut] == [("stsb", 8), ("own", 8)]
    with pytest.raises(BenchError, match="no task 'colla'; it has sst2, stsb, sentiment, own"):
        glue.section("colla", study, None)


def test_mistakes_are_told_with_the_way_out(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(BenchError, match="there is no task 'sst'; did you mean 'sst2'"):
        glue.bench(checkpoints["bert"], only("sst"))
    with pytest.raises(BenchError, match=r"--set takes PATH=VALUE, such as finetune.lr=1e-4; got 'lr'"):
        glue.assignments(["lr"])
    recipe = tiny()
    with pytest.raises(BenchError, match=r"model.layers belongs to the checkpoint"):
        glue.changed(recipe, glue.assignments(["model.layers=3"]))
    with pytest.raises(BenchError, match=r"--set finetune.epochs: .* got 0"):
        glue.changed(recipe, glue.assignments(["finetune.epochs=0"]))
    with pytest.raises(UnknownKnobError, match=r"did you mean 'finetune.lr'"):
        glue.changed(recipe, glue.assignments(["finetune.rl=1e-4"]))
    assert glue.changed(recipe, glue.assignments(["finetune.lr=1e-4"])).finetune.lr == 1e-4


def test_a_missing_package_is_one_line() -> None:
    script = (
        "import sys; sys.modules['accelerate'] = None; sys.argv = ['ablate', 'bench', 'glue', 'nowhere']\n"
        "from ablate.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "error: bench glue compares with transformers' Trainer, which"
    )
    assert "needs accelerate, and that is not installed: pip install 'ablate-bert[bench]'" in done.stderr
