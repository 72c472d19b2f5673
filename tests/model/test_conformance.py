"""What every variant of the model must do."""

import pytest
import torch

from ablate.knobs import differences, replace
from ablate.model import Bert, ModelConfig, flops_per_token, parameters, set_dropout
from tests.model.variants import ARMS, LENGTH, SPEED_ONLY, TINY, VOCABULARY, batch, build

every_arm = pytest.mark.parametrize("config", [TINY, *(arm for _, arm in ARMS.values())], ids=["base", *ARMS])


@every_arm
def test_output_keeps_its_shape_and_gradients_are_finite(config: ModelConfig):
    ids, positions, labels = batch()
    model = build(config).eval()  # with every block in it
    assert model.encoder(ids).shape == (*ids.shape, config.width)
    assert model.logits(ids, positions).shape == (len(positions), VOCABULARY)
    loss = model(ids, positions, labels)
    assert loss.shape == ()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@every_arm
def test_the_first_position_alone_is_what_it_is_among_all(config: ModelConfig):
    ids, _, _ = batch()
    real = torch.arange(LENGTH) < torch.tensor([[LENGTH], [9], [3]])
    model = build(config).double().eval()
    expected = model.encoder(ids, real)[:, 0]
    model.encoder.keep_first()
    found = model.encoder(ids, real)
    torch.testing.assert_close(found[:, 0], expected)
    assert found.shape[1] == (1 if config.stack.kind == "plain" else LENGTH)


@every_arm
def test_bf16_autocast_stays_close_to_fp32(config: ModelConfig):
    ids, positions, labels = batch()
    model = build(config)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(ids, positions, labels)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(model(ids, positions, labels).item(), rel=0.03)


@every_arm
def test_a_seed_determines_the_weights_whatever_the_default_generator(config: ModelConfig):
    torch.manual_seed(1)
    first = build(config).state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = build(config).state_dict()
    assert torch.equal(torch.get_rng_state(), before), "building must not advance the default generator"
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@every_arm
def test_the_size_from_the_config_is_the_size_of_the_module(config: ModelConfig):
    built = sum(p.numel() for p in build(config).parameters())
    assert parameters(config, vocabulary=VOCABULARY, length=LENGTH) == built
    assert flops_per_token(config, vocabulary=VOCABULARY, length=LENGTH, predicted=0.25) > 0


@every_arm
def test_padding_does_not_reach_real_tokens(config: ModelConfig):
    ids, _, _ = batch()
    real = torch.arange(LENGTH) < torch.tensor([[LENGTH], [9], [3]])
    model = build(config).double().eval()
    once = model.encoder(ids.masked_fill(~real, 0), real)[real]
    again = model.encoder(ids.masked_fill(~real, 11), real)[real]
    assert torch.equal(once, again)
    # A shorter row gives what the padded one gave.
    alone = model.encoder(ids[2:, :3])[0]
    torch.testing.assert_close(once[-3:], alone, rtol=1e-9, atol=1e-12)


@every_arm
def test_a_row_of_nothing_but_padding_stays_finite(config: ModelConfig):
    ids, _, _ = batch(1)
    assert build(config).encoder(ids, torch.zeros(ids.shape, dtype=torch.bool)).isfinite().all()


@every_arm
def test_dropout_acts_in_training_only(config: ModelConfig):
    ids, positions, _ = batch()
    plain, dropped = build(config), build(config, dropout=0.5)
    assert torch.equal(plain.eval().logits(ids, positions), dropped.eval().logits(ids, positions))
    dropped.train()
    assert not torch.equal(dropped.logits(ids, positions), dropped.logits(ids, positions))
    set_dropout(dropped, 0.0)
    plain.train()
    torch.manual_seed(0)  # blocks that are left out at random are the same ones then
    without = dropped.logits(ids, positions)
    torch.manual_seed(0)
    assert torch.equal(without, plain.logits(ids, positions))


def fingerprint(config: ModelConfig, louder: float = 1.0) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    ids, positions, _ = batch()
    model: Bert = build(config).double()
    with torch.no_grad():
        for matrix in (p for p in model.parameters() if p.ndim > 1):
            matrix *= louder
    return dict(model.named_parameters()), model.logits(ids, positions)


# In double precision there is nothing to round.
BITING = [name for name in ARMS if name not in SPEED_ONLY and "fp32" not in name]


@pytest.mark.parametrize("name", BITING)
def test_every_level_bites(name: str):
    sibling, arm = ARMS[name]
    assert len(differences(sibling, arm)) == 1
    (here, logits), (there, others) = fingerprint(sibling), fingerprint(arm)
    same_weights = here.keys() == there.keys() and all(
        here[k].shape == there[k].shape and torch.equal(here[k], there[k]) for k in here
    )
    assert not (same_weights and torch.equal(logits, others)), f"{name} changes nothing"


@pytest.mark.parametrize("path", ["position", "activation", "norm", "norm_placement", "head", "init"])
def test_no_two_levels_of_a_choice_are_the_same_function(path: str):
    arms = [TINY] + [arm for name, (_, arm) in ARMS.items() if name.split("=")[0] == path]
    # Some activations differ beyond an input of 6 alone, which matrices of the usual size do not give.
    outputs = [fingerprint(arm, louder=100.0 if path == "activation" else 1.0)[1] for arm in arms]
    for i, one in enumerate(outputs):
        assert not any(torch.equal(one, other) for other in outputs[:i])


def test_a_row_longer_than_the_encoder_is_refused():
    with pytest.raises(ValueError, match="rows of 17 tokens do not fit an encoder built for 16"):
        build(TINY).encoder(batch(1, LENGTH + 1)[0])


@pytest.mark.slow
@pytest.mark.parametrize("position", ["scaled-sinusoidal", "rope", "t5"])
def test_the_model_compiles_into_one_graph_and_computes_the_same(position: str):
    ids, positions, labels = batch()
    model = build(replace(TINY, {"position": position}))
    compiled = torch.compile(model, fullgraph=True, dynamic=False)
    loss = model(ids, positions, labels)
    torch.testing.assert_close(compiled(ids, positions, labels), loss, rtol=1e-5, atol=1e-6)
