"""Sizes against the reference's, Hugging Face's, a closed form and torch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForMaskedLM

from ablate.knobs import replace
from ablate.model import Bert, ModelConfig, flops_per_token, parameters
from ablate.model.attention import FourierMixing
from tests.model.variants import ARMS, TINY

BERT = replace(
    ModelConfig(),
    {
        "layers": 12, "attention.qkv_bias": True, "linear_bias": True, "decoder_bias": True,
        "norm_placement": "post", "final_norm": False, "position": "learned", "activation": "gelu", "head": "bert",
    },
)  # fmt: skip


def test_crammed_bert_has_the_references_parameters():
    total = parameters(ModelConfig(), vocabulary=32768, length=128)
    assert total == 119_589_889
    assert total - 32768 * 768 == 94_424_065


def test_the_first_papers_head_adds_one_bias_free_linear_layer():
    linear = replace(ModelConfig(), {"head": "linear"})
    assert parameters(linear, vocabulary=32768, length=128) == 119_589_889 + 589_824


def test_bert_has_hugging_faces_parameters_less_the_segment_embeddings():
    with torch.device("meta"):
        theirs = BertForMaskedLM(BertConfig())
    # Two segment vectors of 768: there are no segments here; segment 0 folds into the positions.
    assert parameters(BERT, vocabulary=30522, length=512) == theirs.num_parameters() - 2 * 768


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_parameters_are_those_of_the_closed_form(layers: int, activation: str, tied: bool, bias: bool):
    D, F, V, T = 32, 48, 100, 20
    after = F // 2 if activation == "swiglu" else F
    block = 4 * D * D + D * F + after * D + bias * (3 * D + D + F + D) + 2 * 2 * D
    expected = V * D + T * D + layers * block + 2 * 2 * D + (not tied) * V * D + bias * V
    config = replace(
        TINY,
        {
            "layers": layers, "width": D, "intermediate": F, "activation": activation, "tied": tied,
            "attention.qkv_bias": bias, "linear_bias": bias, "decoder_bias": bias, "position": "learned",
        },
    )  # fmt: skip
    assert parameters(config, vocabulary=V, length=T) == expected


# Recomputed products are no progress, and a block that is left out at random costs its share on average.
COUNTED = [name for name in ARMS if not name.startswith(("checkpointing", "layer_drop"))]


@pytest.mark.parametrize("name", ["base", *COUNTED])
def test_flops_are_those_that_torch_counts(name: str):
    config = TINY if name == "base" else ARMS[name][1]
    rows, length, predicted = 2, 16, 4
    with torch.device("cpu" if "fourier" in name else "meta"):  # complex numbers have no meta kernels
        model = Bert(config, vocabulary=64, length=length)
        ids = torch.zeros(rows, length, dtype=torch.long)
        positions = labels = torch.zeros(rows * predicted, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(ids, positions, labels).backward()
    ours = flops_per_token(config, vocabulary=64, length=length, predicted=predicted / length)
    # torch counts products alone.
    transforms = [part for part in model.modules() if isinstance(part, FourierMixing)]
    ours -= 6 * sum(part.macs_per_token(length) for part in transforms)
    assert counter.get_total_flops() == pytest.approx(rows * length * ours, rel=1e-12)


def test_a_block_that_is_left_out_at_random_costs_its_share():
    """Chances of 0.2 and 0.4 leave 1.4 of two blocks."""
    size = {"vocabulary": 64, "length": 16, "predicted": 0.0}
    none, one, two = (flops_per_token(replace(TINY, {"layers": n}), **size) for n in (1, 2, 3))
    assert two - one == one - none
    block = one - none
    dropped = flops_per_token(replace(TINY, {"layers": 2, "layer_drop": 0.4}), **size)
    assert dropped == pytest.approx(one - 0.6 * block)


def test_crammed_bert_costs_623_megaflop_per_token():
    cost = flops_per_token(ModelConfig(), vocabulary=32768, length=128, predicted=0.25)
    assert cost == pytest.approx(6 * (94_371_840 + 25_165_824 / 4) + 12 * 16 * 128 * 768)
