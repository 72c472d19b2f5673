"""Fine-tuning one encoder on one task: plain torch, because a step of a few milliseconds is all overhead.

B batch rows, T tokens of the batch's own width, D encoder width, K outputs.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ablate.evaluation.batching import epoch_groups, factor, steps, width, window_for
from ablate.evaluation.config import FinetuneConfig
from ablate.evaluation.encode import Tokens
from ablate.model import ClassificationHead, set_dropout
from ablate.model.bert import Encoder
from ablate.optim import parameter_groups
from ablate.streams import stream

PREDICT_BATCH = 128
_HEAD, _ORDER, _DROPOUT = 0, 1, 2  # sub-streams of one fine-tuning run


class Classifier(nn.Module):
    """An encoder with a classification head: ids [B, T], lengths [B] → outputs [B, K], in float32."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, ids_BT: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
        mask_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device) < lengths_B[:, None]
        out_BK: torch.Tensor = self.head(self.encoder(ids_BT, mask_BT), mask_BT)
        return out_BK.float()


@dataclass(frozen=True)
class Rows:
    """A tokenised split on the device; host lengths choose each batch's width without a synchronisation."""

    ids: torch.Tensor  # [N, L], as small an integer as the vocabulary allows
    lengths: torch.Tensor  # [N]
    host_lengths: np.ndarray

    @classmethod
    def of(cls, tokens: Tokens, device: torch.device) -> Rows:
        # uint16 tensors cannot be indexed; the whole of GLUE is 0.5 GB as int32, one task at a time.
        ids = torch.from_numpy(tokens.ids.astype(np.int32)).to(device)
        return cls(ids, torch.from_numpy(tokens.lengths).to(device), tokens.lengths)

    def batch(self, rows: torch.Tensor, longest: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids [B, T] and lengths [B] of some rows, cut to the batch's width."""
        # CPUs gain nothing from alignment: exact widths save 17 % of a step on CoLA (mean length 11).
        wide = width(longest, self.ids.shape[1], 1 if self.ids.device.type == "cpu" else 8)
        return self.ids[:, :wide].index_select(0, rows).long(), self.lengths.index_select(0, rows)


class Finetuner:
    """Fine-tunes copies of one pretrained encoder; every run has the same weights and its own streams."""

    def __init__(
        self, encoder: Encoder, width: int, config: FinetuneConfig, *, bf16: bool, seed: int
    ) -> None:
        self._start = {name: value.detach().clone() for name, value in encoder.state_dict().items()}
        self._encoder = copy.deepcopy(encoder).requires_grad_(True)
        if config.pooler == "cls":
            self._encoder.keep_first()
        self._config, self._seed = config, seed
        self.device = next(encoder.parameters()).device
        self._autocast = lambda: torch.autocast(self.device.type, torch.bfloat16, enabled=bf16)
        self._width = width

    def run(
        self,
        task: int,
        repeat: int,
        train: Rows,
        labels: np.ndarray,
        outputs: int,
        tick: Callable[[int], None],
    ) -> Classifier:
        """Train on one task with the `repeat`-th fine-tuning seed. Raises FloatingPointError on divergence.

        `tick` is called after every step with the rows it used. A regression's labels come standardised.
        """
        streams = [stream(self._seed, "finetune", task, repeat, part) for part in (_HEAD, _ORDER, _DROPOUT)]
        model = self._fresh(outputs, streams[_HEAD])
        optimizer = self._optimizer(model)
        targets = torch.from_numpy(labels.astype(np.float32 if outputs == 1 else np.int64)).to(self.device)
        loss_of = F.mse_loss if outputs == 1 else F.cross_entropy
        window = window_for(train.host_lengths, labels, self._config.batch)
        total, step = steps(len(labels), self._config.batch, self._config.epochs), 0
        with self._private_randomness(streams[_DROPOUT]):
            for epoch in range(self._config.epochs):
                summed = torch.zeros((), device=self.device)
                for batch in self._batches(train, streams[_ORDER] + epoch, window):
                    self._set_lr(optimizer, step / total)
                    optimizer.zero_grad(set_to_none=True)
                    size = sum(len(rows) for rows, _ in batch)
                    for rows, longest in batch:
                        with self._autocast():
                            out = model(*train.batch(rows, longest))
                        labels_of = targets.index_select(0, rows)
                        mean = loss_of(out.squeeze(1) if outputs == 1 else out, labels_of)
                        loss = mean * (len(rows) / size)
                        loss.backward()
                        summed += loss.detach()
                    if self._config.clip is not None:
                        nn.utils.clip_grad_norm_(model.parameters(), self._config.clip)
                    optimizer.step()
                    step += 1
                    tick(size)
                if not torch.isfinite(summed):  # once per epoch: a check per step would wait for the device
                    raise FloatingPointError(f"the fine-tuning loss is not finite in epoch {epoch + 1}")
        return model

    @torch.inference_mode()
    def predict(self, model: Classifier, data: Rows) -> np.ndarray:
        """Outputs [N, K] in the order of the rows."""
        model.eval()
        order = np.argsort(data.host_lengths, kind="stable")
        found = []
        for start in range(0, len(order), PREDICT_BATCH):
            rows = order[start : start + PREDICT_BATCH]
            with self._autocast():
                found.append(model(*data.batch(_to(rows, self.device), int(data.host_lengths[rows].max()))))
        outputs = torch.cat(found).cpu().numpy()
        restored = np.empty_like(outputs)
        restored[order] = outputs
        return restored

    def _fresh(self, outputs: int, seed: int) -> Classifier:
        self._encoder.load_state_dict(self._start)
        config = self._config
        head = ClassificationHead(
            self._width, outputs, pooler=config.pooler, dropout=config.head_dropout,
            head_width=config.head_width, generator=torch.Generator().manual_seed(seed),
        ).to(self.device)  # fmt: skip
        set_dropout(self._encoder, *config.dropouts)
        return Classifier(self._encoder, head).train()

    def _optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        config = self._config
        return torch.optim.AdamW(
            parameter_groups(model, config.weight_decay), lr=config.lr, betas=(config.beta1, config.beta2),
            eps=config.eps, fused=True,
        )  # fmt: skip

    def _set_lr(self, optimizer: torch.optim.Optimizer, progress: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self._config.lr * factor(self._config.schedule, self._config.warmup, progress)

    def _batches(self, train: Rows, seed: int, window: int) -> Iterator[list[tuple[torch.Tensor, int]]]:
        """One epoch: each batch in groups of like lengths, as rows on the device and their longest length."""
        # A GPU takes a batch at once: steps of so few tokens are latency there.
        split = self.device.type == "cpu"
        groups = epoch_groups(train.host_lengths, self._config.batch, seed, window, split=split)
        flat = [rows for batch in groups for rows in batch]
        # One transfer per epoch; each group is a view of it.
        order = _to(np.concatenate(flat), self.device).split([len(rows) for rows in flat])
        longest = [int(train.host_lengths[rows].max()) for rows in flat]
        found = zip(order, longest, strict=True)
        return ([next(found) for _ in batch] for batch in groups)

    @contextlib.contextmanager
    def _private_randomness(self, seed: int) -> Iterator[None]:
        """Dropout draws from the global generator: seed it for this run, and give it back untouched."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            yield


def _to(rows: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(rows).to(device)
