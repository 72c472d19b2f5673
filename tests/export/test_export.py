"""An exported folder loads in transformers alone, in a process without this package, with the same logits."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from ablate.data import Prepared
from ablate.export import export, native
from ablate.export.bundle import bundle
from ablate.export.write import ExportError
from ablate.knobs import replace
from ablate.model import Bert, ClassificationHead
from ablate.recipe import Recipe, bert_original
from tests.training.tiny import run, tiny, tiny_data

BERT = {f"model.{key}": getattr(bert_original().model, key) for key in (
    "attention", "linear_bias", "decoder_bias", "norm", "norm_placement", "final_norm", "position",
    "activation", "head",
)}  # fmt: skip

MODERN = {
    "model.position": {"kind": "rope", "theta": 500.0}, "model.first_norm": False, "model.head": "bert",
    "model.layers": 2,
}  # fmt: skip
# Arms that another class of `transformers` is, and its type.
NATIVE: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", BERT),
    "modernbert": ("modernbert", {**MODERN, "model.norm.bias": False, "model.decoder_bias": True}),
    "modernbert-biases": (
        "modernbert",
        {**MODERN, "model.linear_bias": True, "model.attention.qkv_bias": True, "model.tied": False},
    ),
    "modernbert-matched": (
        "modernbert",
        {**MODERN, "model.activation": "swiglu", "model.glu_width": "matched", "finetune.pooler": "mean"},
    ),
}

# Architectures that are kept in different ways: tables, biases on scores, gates, untied, few bits.
OWN: dict[str, dict[str, Any]] = {
    "crammed": {},
    "rope": {"model.position": "rope", "model.layers": 2},
    "alibi": {"model.position": "alibi", "model.tied": False, "model.decoder_bias": True},
    "t5-post": {"model.position": "t5", "model.norm_placement": "post", "model.head": "bert"},
    "ternary": {"train.precision": "ternary", "model.layers": 2},
    "binary-skipping": {"train.precision": {"kind": "binary", "skip_first": True}, "model.layers": 2},
    "bf16-pure": {"train.precision": "bf16-pure"},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return tiny_data(tmp_path_factory.mktemp("cache"))


def trained(recipe: Recipe, data: Prepared, folder: Path) -> Bert:
    """The model after three steps, as evaluation would use it, in fp32."""
    model = run(folder, data, "3 steps", recipe=recipe).model
    if next(model.parameters()).dtype == torch.bfloat16:  # whose tables of positions are rounded too
        exact = Bert(recipe.model, vocabulary=model.encoder.vocabulary, length=recipe.data.length)
        exact.load_state_dict(model.state_dict())
        model = exact
    return model.eval()


def rows(data: Prepared) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.from_numpy(data.validation[:3].astype(np.int64))
    real = torch.arange(ids.shape[1]) < torch.tensor([[ids.shape[1]], [9], [4]])
    return ids.masked_fill(~real, 0), real


@torch.no_grad()
def logits(model: Bert, ids: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    return model.logits(ids, torch.arange(ids.numel()), real).view(*ids.shape, -1)


def classified(classifier: Any, ours: Bert, recipe: Recipe, ids: torch.Tensor, real: torch.Tensor) -> Any:
    """What our encoder with the weights of their new head says."""
    head = ClassificationHead(
        recipe.model.width, classifier.num_labels, pooler=recipe.finetune.pooler,
        head_width=recipe.finetune.head_width,
    )  # fmt: skip
    head.load_state_dict(classifier.head.state_dict())
    return head.eval()(ours.encoder(ids, real), real)


@pytest.mark.parametrize("name", OWN)
def test_own_sources_give_the_same_logits_through_the_auto_classes(
    name: str, data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    recipe = tiny(OWN[name])
    ours = trained(recipe, data, tmp_path / "trial")
    folder = export(tmp_path / "trial", tmp_path / "exported")
    ids, real = rows(data)
    expected = logits(ours, ids, real)
    masked = AutoModelForMaskedLM.from_pretrained(folder, trust_remote_code=True)
    assert type(masked).__module__.startswith("transformers_modules"), (
        "the folder's own sources were not used"
    )
    with torch.no_grad():
        found = masked(ids, attention_mask=real.long()).logits
    torch.testing.assert_close(found[real], expected[real], rtol=1e-5, atol=1e-5)
    encoder = AutoModel.from_pretrained(folder, trust_remote_code=True)
    with torch.no_grad():
        hidden = encoder(ids, attention_mask=real.long()).last_hidden_state
        torch.testing.assert_close(hidden[real], ours.encoder(ids, real)[real], rtol=1e-5, atol=1e-5)
    classifier = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True).eval()
    with torch.no_grad():
        said = classifier(ids, attention_mask=real.long()).logits
        torch.testing.assert_close(
            said, classified(classifier, ours, recipe, ids, real), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("name", NATIVE)
def test_an_architecture_of_transformers_needs_no_sources(name: str, data: Prepared, tmp_path: Path) -> None:
    model_type, changes = NATIVE[name]
    recipe = tiny(changes)
    ours = trained(recipe, data, tmp_path / "trial")
    with torch.no_grad():  # every tensor, biases and norms too, is away from 0 and 1
        draw = torch.Generator().manual_seed(0)
        for parameter in ours.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=draw)
    theirs = native.family(recipe)
    assert theirs is not None
    theirs.convert(ours, recipe).save_pretrained(tmp_path / "moved")
    folder = export(tmp_path / "trial", tmp_path / "exported")
    assert not list(folder.glob("*.py"))
    assert json.loads((folder / "config.json").read_text())["model_type"] == model_type
    ids, real = rows(data)
    with torch.no_grad():
        found = AutoModelForMaskedLM.from_pretrained(tmp_path / "moved")(ids, attention_mask=real.long())
        expected = logits(ours, ids, real)
        torch.testing.assert_close(found.logits[real], expected[real], rtol=1e-5, atol=1e-5)
        hidden = AutoModel.from_pretrained(tmp_path / "moved")(ids, attention_mask=real.long())
        encoded = ours.encoder(ids, real)
        torch.testing.assert_close(hidden.last_hidden_state[real], encoded[real], rtol=1e-5, atol=1e-5)
    classifier = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    assert classifier(ids, attention_mask=real.long()).logits.shape == (3, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"model.first_norm": True},
        {"model.position": {"kind": "rope", "fraction": 0.5}},
        {"model.activation": "gelu"},
        {"model.attention.causal": True},
        {"model.linear_bias": True},
        {"model.head": "none"},
        {"model.final_norm": False},
    ],
    ids=str,
)
def test_what_modernbert_cannot_say_is_no_modernbert(changes: dict[str, Any]) -> None:
    recipe = tiny({**MODERN, "model.norm.bias": False})
    assert native.family(recipe) is not None
    assert native.family(replace(recipe, changes)) is None


def test_a_classifier_starts_from_the_weights_with_a_new_head_and_learns(
    data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    recipe = tiny({"finetune.pooler": "mean", "finetune.head_width": 24, "finetune.dropout": 0.0})
    ours = trained(recipe, data, tmp_path / "trial")
    folder = export(tmp_path / "trial", tmp_path / "exported")
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True, num_labels=3)
    assert model.head.dense.weight.shape == (24, 16)
    assert float(model.head.out.weight.detach().std()) == pytest.approx(0.02, rel=0.3), (
        "the new head is not initialised"
    )
    torch.testing.assert_close(model.bert.encoder.state_dict(), ours.encoder.state_dict())
    ids, real = rows(data)
    labels = torch.tensor([0, 1, 2])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = model(ids, attention_mask=real.long(), labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.1 < 1.0 < losses[0]


def test_the_tokenizer_frames_texts_as_fine_tuning_does(data: Prepared, tmp_path: Path) -> None:
    from ablate.evaluation.encode import encode
    from ablate.evaluation.tasks import Examples

    trained(tiny(), data, tmp_path / "trial")
    tokenizer = AutoTokenizer.from_pretrained(export(tmp_path / "trial", tmp_path / "exported"))
    first, second = ["the dog ran", "a king"], ["it was fast", "he liked the small horse"]
    ours = encode(data.tokenizer, Examples(first, second, np.zeros(2)), 16)
    theirs = tokenizer(first, second, padding=True)
    assert theirs["input_ids"] == ours.ids.tolist()
    assert np.sum(theirs["attention_mask"], 1).tolist() == ours.lengths.tolist()
    assert tokenizer("the dog").keys() == {"input_ids", "attention_mask"}


def test_a_process_without_this_package_loads_it(data: Prepared, tmp_path: Path) -> None:
    """One with own sources and two that are an architecture of transformers, whose import takes 8 s."""
    for name in ("crammed", "bert", "modernbert"):
        changes = OWN[name] if name in OWN else NATIVE[name][1]
        ours = trained(tiny(changes), data, tmp_path / name / "trial")
        export(tmp_path / name / "trial", tmp_path / name / "exported")
        ids, real = rows(data)
        with torch.no_grad():
            kept = {
                "ids": ids,
                "logits": logits(ours, ids, torch.ones_like(real)),
                "hidden": ours.encoder(ids),
            }
        torch.save(kept, tmp_path / name / "expected.pt")
    script = f"""
        import sys
        class Gone:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "ablate":
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        sys.meta_path.insert(0, Gone())
        import torch
        from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification
        torch.set_grad_enabled(False)
        for name in ("crammed", "bert", "modernbert"):
            folder = {str(tmp_path)!r} + "/" + name
            kept = torch.load(folder + "/expected.pt")
            load = dict(pretrained_model_name_or_path=folder + "/exported", trust_remote_code=True)
            found = AutoModelForMaskedLM.from_pretrained(**load)(kept["ids"]).logits
            torch.testing.assert_close(found, kept["logits"], rtol=1e-5, atol=1e-5)
            hidden = AutoModel.from_pretrained(**load)(kept["ids"]).last_hidden_state
            torch.testing.assert_close(hidden, kept["hidden"], rtol=1e-5, atol=1e-5)
            assert AutoModelForSequenceClassification.from_pretrained(**load)(kept["ids"]).logits.shape[0] == 3
            print(name, "same", flush=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, cwd=tmp_path,
        env={"PATH": "", "HF_HOME": str(tmp_path / "hub"), "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["crammed same", "bert same", "modernbert same"], done.stderr


def test_the_sources_need_nothing_but_torch_transformers_and_pydantic() -> None:
    imported = {
        name.split(".")[0]
        for text in bundle("ablate.export.modeling_ablate").values()
        for node in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and node.level == 0
            else []
        )
    }
    assert imported - set(sys.stdlib_module_names) == {"torch", "transformers", "pydantic", "annotated_types"}


def test_mistakes_are_told_and_leave_nothing(data: Prepared, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExportError, match="holds none; give a trial's folder"):
        export(tmp_path / "empty", tmp_path / "exported")
    trained(tiny(), data, tmp_path / "trial")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").touch()
    with pytest.raises(ExportError, match="is there already; choose another name"):
        export(tmp_path / "trial", tmp_path / "taken")
    (tmp_path / "trial/checkpoint/tokenizer.json").unlink()
    with pytest.raises(ExportError, match=r"tokenizer\.json is missing"):
        export(tmp_path / "trial", tmp_path / "exported")
    assert not (tmp_path / "exported").exists()
    assert not list(tmp_path.glob(".*"))
