"""Losses against their formulas, objectives against their definitions, and what each costs."""

import math

import pytest
import torch
from torch.nn import functional as F

from ablate.data import Prepared
from ablate.knobs import kind_of, knobs, replace
from ablate.model import parameters
from ablate.model.size import flops_per_token as of_model
from ablate.training.config import TrainConfig
from ablate.training.initial import build
from ablate.training.loss import AbsoluteError, CrossEntropy, Focal, Incorrect, SquaredError
from ablate.training.objective import flops_per_token, kept_tokens
from ablate.training.passes import Masked, Replaced
from tests.training.tiny import run, tiny, tiny_data

N, V = 7, 11
draw = torch.Generator().manual_seed(0)
logits, labels = torch.randn(N, V, generator=draw).double(), torch.randint(V, (N,), generator=draw)
p = logits.softmax(1)
of_label = p[torch.arange(N), labels]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return tiny_data(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (CrossEntropy(), -of_label.log()),
        (CrossEntropy(label_smoothing=0.2), -0.8 * of_label.log() - 0.2 * p.log().mean(1)),
        (CrossEntropy(z_loss=0.3), -of_label.log() + 0.3 * logits.exp().sum(1).log() ** 2),
        (Focal(gamma=1.5), -((1 - of_label) ** 1.5) * of_label.log()),
        (AbsoluteError(), (p - F.one_hot(labels, V)).abs().sum(1)),
        (
            SquaredError(target=4.0, weight=3.0),
            (logits**2 * (1 - F.one_hot(labels, V)) + 3 * (logits - 4) ** 2 * F.one_hot(labels, V)).mean(1),
        ),
    ],
    ids=str,
)
def test_a_loss_is_its_formula(loss, expected: torch.Tensor):
    torch.testing.assert_close(loss.of(logits, labels), expected)


@pytest.mark.parametrize(
    "loss", [CrossEntropy(z_loss=0.1), Focal(), SquaredError(), AbsoluteError()], ids=str
)
def test_a_uniform_guess_costs_what_divergence_is_judged_by(loss):
    ignorant = loss.of(torch.zeros(N, V).double(), labels)
    torch.testing.assert_close(ignorant, torch.full((N,), loss.uniform(V)).double())


def test_what_is_predicted_already_counts_nothing():
    sure = logits + 50 * F.one_hot(labels, V) * (torch.arange(N) < 3)[:, None]  # the first three are right
    right = sure.argmax(1) == labels
    assert 3 <= right.sum() < N
    found = Incorrect().of(sure, labels)
    assert not found[right].any()
    assert found.mean() == pytest.approx(F.cross_entropy(sure[~right], labels[~right]).item())
    all_right = 50.0 * F.one_hot(labels, V).double()
    assert not Incorrect().of(all_right, labels).any()


def test_every_loss_is_covered_here():
    (domain,) = (k.domain for k in knobs(TrainConfig) if k.path == "loss")
    covered = (CrossEntropy, Focal, Incorrect, SquaredError, AbsoluteError)
    assert set(domain.levels) == {kind_of(c) for c in covered}


def batch(rows: int = 4, length: int = 16) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    ids = torch.randint(5, 512, (rows, length), generator=draw)
    positions = torch.arange(rows * length)[::4]
    return ids, positions, torch.randint(5, 512, positions.shape, generator=draw)


def test_a_dense_head_has_the_same_loss_and_gradient():
    ids, positions, targets = batch()
    one, other = (build(tiny(), seed=1, vocabulary=512) for _ in range(2))
    sparse = one(ids, positions, targets)
    dense = Masked(other, CrossEntropy(), sparse=False, drop=0.0)(ids, positions, targets)
    torch.testing.assert_close(dense, sparse)
    sparse.backward(), dense.backward()
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_dropped_positions_reach_nothing_and_predict_nothing():
    ids, positions, targets = batch()
    model = build(tiny({"model.position": "learned"}), seed=1, vocabulary=512)
    objective = Masked(model, CrossEntropy(), sparse=True, drop=0.5)
    torch.manual_seed(4)
    chosen = torch.randperm(16)[: kept_tokens(16, 0.5)].sort().values
    torch.manual_seed(4)
    loss = objective(ids, positions, targets)
    hidden = model.encoder.contextual(model.encoder.embedding(ids)[:, chosen], None)
    found = []
    for position, target in zip(positions.tolist(), targets, strict=True):
        row, column = divmod(position, 16)
        if column in chosen.tolist():
            at = hidden[row, chosen.tolist().index(column)]
            found.append(F.cross_entropy(model.decoder(at, model.encoder.embedding.word.weight), target))
    assert 0 < len(found) < len(positions)
    torch.testing.assert_close(loss, torch.stack(found).mean())


def test_electra_adds_a_head_and_teaches_it_what_was_replaced():
    recipe = tiny({"train.objective": {"kind": "electra", "weight": 2.0}})
    model = build(recipe, seed=1, vocabulary=512)
    plain = build(tiny(), seed=1, vocabulary=512)
    assert sum(q.numel() for q in model.parameters()) == sum(q.numel() for q in plain.parameters()) + 17
    assert all(
        torch.equal(plain.get_parameter(n), model.get_parameter(n)) for n, _ in plain.named_parameters()
    )
    ids, positions, targets = batch()
    seen: list[torch.Tensor] = []
    model.encoder.register_forward_hook(lambda module, args, out: seen.append(args[0].clone()))
    objective = Replaced(model, CrossEntropy(), 2.0)
    loss = objective(ids, positions, targets)
    first, filled = seen
    assert torch.equal(first, ids)
    changed = (filled != ids).flatten().nonzero()[:, 0]
    assert set(changed.tolist()) <= set(positions.tolist()), "only hidden positions are filled"
    replaced = torch.zeros(ids.numel())
    replaced[positions] = (filled.flatten()[positions] != targets).float()
    verdict = model.discriminator(model.encoder(filled))[..., 0].flatten()
    expected = model(ids, positions, targets) + 2 * F.binary_cross_entropy_with_logits(verdict, replaced)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert model.discriminator.weight.grad.abs().sum() > 0
    assert model.encoder.embedding.word.weight.grad.isfinite().all()


def test_electra_samples_from_its_own_predictions():
    """A model that is sure of one word fills every gap with it."""
    model = build(tiny({"train.objective": "electra", "model.decoder_bias": True}), seed=1, vocabulary=512)
    with torch.no_grad():
        model.decoder.bias[77] = 1e4
    ids, positions, targets = batch()
    seen: list[torch.Tensor] = []
    model.encoder.register_forward_hook(lambda module, args, out: seen.append(args[0].clone()))
    Replaced(model, CrossEntropy(), 1.0)(ids, positions, targets)
    assert (seen[1].flatten()[positions] == 77).all()


def test_held_out_loss_is_the_same_task_for_every_loss(data: Prepared, tmp_path):
    """An arm that is trained by another loss is measured by cross-entropy: untrained, log V."""
    for name in ("l1", "mse", "focal"):
        trained = run(tmp_path / name, data, "0 steps", recipe=tiny({"train.loss": name}))
        assert trained.metrics["eval/mlm_loss"] == pytest.approx(math.log(512), abs=0.1)


@pytest.mark.parametrize(
    ("changes", "encoder", "predicted", "verdicts"),
    [
        ({}, 1.0, 0.25, 0),
        ({"train.sparse_prediction": False}, 1.0, 1.0, 0),
        ({"train.objective": "electra"}, 2.0, 0.25, 6 * 16),  # a product of width 16 to one number
    ],
    ids=str,
)
def test_flops_follow_the_objective(changes: dict, encoder: float, predicted: float, verdicts: float):
    recipe = tiny(changes)
    size = {"vocabulary": 512, "length": 16}
    blocks = of_model(recipe.model, **size, predicted=0.0)
    head = of_model(recipe.model, **size, predicted=1.0) - blocks
    assert flops_per_token(recipe, 512) == pytest.approx(encoder * blocks + predicted * head + verdicts)


def test_dropped_tokens_cost_nothing():
    recipe = replace(tiny(), {"train.token_drop": 0.25})
    whole, kept = flops_per_token(tiny(), 512), flops_per_token(recipe, 512)
    blocks = of_model(recipe.model, vocabulary=512, length=12, predicted=0.0)
    head = whole - of_model(recipe.model, vocabulary=512, length=16, predicted=0.0)
    assert kept == pytest.approx(blocks * 12 / 16 + head)


def test_a_plan_counts_electras_head():
    from ablate.design.freeze import _parameters

    recipe = tiny({"train.objective": "electra"})
    assert _parameters(recipe) == parameters(recipe.model, vocabulary=512, length=16) + 17


def test_dropping_under_a_position_that_measures_distance_is_refused():
    (told,) = tiny({"train.token_drop": 0.2, "model.position": "rope"}).problems()
    assert told.startswith("train.token_drop (0.2) closes the gaps that it leaves, and model.position rope")
