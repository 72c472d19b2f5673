"""The original BERT architecture with Hugging Face's weights gives Hugging Face's numbers."""

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM

from ablate.knobs import replace
from ablate.model import Bert, ModelConfig

V, T, D, HEADS, LAYERS, F = 60, 16, 32, 4, 2, 64
CONFIG = replace(
    ModelConfig(),
    {
        "layers": LAYERS, "width": D, "heads": HEADS, "intermediate": F,
        "attention.qkv_bias": True, "linear_bias": True, "decoder_bias": True, "norm_placement": "post",
        "final_norm": False, "position": "learned", "activation": "gelu", "head": "bert",
    },
)  # fmt: skip


def copied(theirs: dict[str, Tensor], *, gradient: bool = False) -> dict[str, Tensor]:
    """Hugging Face's tensors under our names; the vector of segment 0 is added to every position.

    As gradients nothing is added: the sum's gradient is each summand's.
    """
    found: dict[str, Tensor] = {
        "encoder.embedding.word.weight": theirs["bert.embeddings.word_embeddings.weight"],
        "encoder.embedding.position.weight": theirs["bert.embeddings.position_embeddings.weight"]
        + (0 if gradient else theirs["bert.embeddings.token_type_embeddings.weight"][0]),
        "decoder.bias": theirs["cls.predictions.bias"],
    }
    for kind in ("weight", "bias"):
        found[f"encoder.embedding.norm.{kind}"] = theirs[f"bert.embeddings.LayerNorm.{kind}"]
        found[f"transform.dense.{kind}"] = theirs[f"cls.predictions.transform.dense.{kind}"]
        found[f"transform.norm.{kind}"] = theirs[f"cls.predictions.transform.LayerNorm.{kind}"]
        for i in range(LAYERS):
            ours, layer = f"encoder.blocks.{i}", f"bert.encoder.layer.{i}"
            found[f"{ours}.attention.sublayer.qkv.{kind}"] = torch.cat(
                [theirs[f"{layer}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            )
            for here, there in {
                "attention.sublayer.out": "attention.output.dense",
                "attention.norm": "attention.output.LayerNorm",
                "feedforward.sublayer.up": "intermediate.dense",
                "feedforward.sublayer.down": "output.dense",
                "feedforward.norm": "output.LayerNorm",
            }.items():
                found[f"{ours}.{here}.{kind}"] = theirs[f"{layer}.{there}.{kind}"]
    return found


@pytest.fixture(scope="module")
def pair() -> tuple[Bert, BertForMaskedLM]:
    theirs = BertForMaskedLM(
        BertConfig(
            vocab_size=V, hidden_size=D, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
            intermediate_size=F, max_position_embeddings=T, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0, attn_implementation="eager",
        )
    ).double()  # fmt: skip
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():  # every tensor, biases and norms too, is away from 0 and 1
        for parameter in theirs.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype)
    ours = Bert(CONFIG, vocabulary=V, length=T).double()
    ours.load_state_dict(copied(dict(theirs.named_parameters())))
    return ours, theirs


IDS = torch.randint(5, V, (3, T), generator=torch.Generator().manual_seed(1))
REAL = torch.arange(T) < torch.tensor([[T], [11], [4]])


def test_logits_with_padding_are_hugging_faces(pair: tuple[Bert, BertForMaskedLM]):
    ours, theirs = pair
    positions = REAL.flatten().nonzero()[:, 0]
    expected = theirs(IDS, attention_mask=REAL.long()).logits.flatten(0, 1)[positions]
    torch.testing.assert_close(ours.logits(IDS, positions, REAL), expected, rtol=1e-9, atol=1e-9)


def test_loss_and_gradients_are_hugging_faces(pair: tuple[Bert, BertForMaskedLM]):
    ours, theirs = pair
    positions = torch.tensor([1, 5, 17, 30, 40])
    labels = torch.tensor([7, 8, 9, 10, 7])
    dense = torch.full((3 * T,), -100).index_put((positions,), labels).view(3, T)
    loss, expected = ours(IDS, positions, labels), theirs(IDS, labels=dense).loss
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    ours.zero_grad(), theirs.zero_grad()
    loss.backward(), expected.backward()
    gradients = copied({name: p.grad for name, p in theirs.named_parameters()}, gradient=True)
    assert gradients.keys() == dict(ours.named_parameters()).keys()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-9, atol=1e-12, msg=name)
