"""Fine-tuning takes the steps of plain full batches, however it cuts the work."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from ablate.evaluation.batching import epoch_batches, epoch_groups, factor, steps, window_for
from ablate.evaluation.encode import Tokens
from ablate.evaluation.finetune import Classifier, Finetuner, Rows
from ablate.knobs import replace
from ablate.model import ClassificationHead
from ablate.model.bert import Encoder
from ablate.optim import parameter_groups
from ablate.recipe import Recipe
from ablate.streams import stream
from tests.evaluation.conftest import bert

SEED, TASK, EPOCHS, CPU = 5, 77, 2, torch.device("cpu")


def rows_of_many_lengths(vocabulary: int) -> tuple[Tokens, np.ndarray]:
    """80 rows of 2 to 60 tokens whose labels go with length, so that batches stay random."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 61, 80).astype(np.int32)
    ids = rng.integers(5, vocabulary, (80, 60)) * (np.arange(60) < lengths[:, None])
    return Tokens(ids, lengths, ""), (lengths / 20.0).astype(np.float64)


def by_hand(
    encoder: Encoder, head: ClassificationHead, tokens: Tokens, labels: np.ndarray, recipe: Recipe
) -> Classifier:
    """Full batches, every position of every layer."""
    config, model = recipe.finetune, Classifier(encoder, head).train()
    optimizer = torch.optim.AdamW(
        parameter_groups(model, config.weight_decay),
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
    )
    total, step = steps(len(labels), config.batch, EPOCHS), 0
    for epoch in range(EPOCHS):
        for rows in epoch_batches(
            tokens.lengths, config.batch, stream(SEED, "finetune", TASK, 0, 1) + epoch, 1
        ):
            for group in optimizer.param_groups:
                group["lr"] = config.lr * factor(config.schedule, config.warmup, step / total)
            out = model(torch.from_numpy(tokens.ids[rows]), torch.from_numpy(tokens.lengths[rows]))
            loss = F.mse_loss(out.squeeze(1), torch.from_numpy(labels[rows].astype(np.float32)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return model


def test_groups_of_a_batch_and_the_first_position_alone_give_the_same_weights(
    recipe: Recipe, tokenizer: Tokenizer
) -> None:
    changes = {"data.length": 64, "finetune.dropout": 0.0, "finetune.epochs": EPOCHS, "finetune.lr": 1e-3}
    recipe = replace(recipe, changes)
    config, vocabulary = recipe.finetune, tokenizer.get_vocab_size()
    tokens, labels = rows_of_many_lengths(vocabulary)
    assert window_for(tokens.lengths, labels, config.batch) == 1
    groups = epoch_groups(tokens.lengths, config.batch, 0, 1, split=True)
    assert min(map(len, groups)) > 1, "no batch is cut: nothing is tested"
    tuner = Finetuner(bert(recipe, tokenizer, 0).encoder, recipe.model.width, config, bf16=False, seed=SEED)
    found = tuner.run(TASK, 0, Rows.of(tokens, CPU), labels, 1, lambda used: None)
    head = ClassificationHead(
        recipe.model.width, 1, dropout=0.0, head_width=config.head_width,
        generator=torch.Generator().manual_seed(stream(SEED, "finetune", TASK, 0, 0)),
    )  # fmt: skip
    before = {name: value.clone() for name, value in head.state_dict().items()}
    expected = by_hand(bert(recipe, tokenizer, 0).encoder, head, tokens, labels, recipe)
    assert (expected.head.dense.weight - before["dense.weight"]).abs().max() > 1e-3  # it was trained
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(
            found.state_dict()[name],
            value,
            rtol=1e-3,
            atol=2e-5,
            msg=lambda told, name=name: f"{name}: {told}",
        )
