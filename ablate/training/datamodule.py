"""Micro-batches of prepared data as tensors, addressed by the number of sequences consumed so far."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from lightning.pytorch import LightningDataModule

from ablate.data import Batches, Prepared
from ablate.recipe import Recipe
from ablate.streams import stream
from ablate.training.step import MicroBatch


class PretrainingData(LightningDataModule):
    """The endless stream of micro-batches of one block, from sequence `start` on.

    A batch is a pure function of its address, so a resumed trial sees what an uninterrupted one would have
    seen, and arms of one block share order and masks whatever their micro-batch.
    """

    def __init__(
        self,
        data: Prepared,
        recipe: Recipe,
        *,
        seed: int,
        vocabulary: int,
        start: int = 0,
        micro: int | None = None,
    ) -> None:
        super().__init__()
        train = recipe.train
        self.start, self.micro = start, micro or min(train.micro_batch or train.batch, train.batch)
        self.batches = Batches(
            data.train,
            data.order,
            order_seed=stream(seed, "order"),
            mask_seed=stream(seed, "masking"),
            mask_rate=train.mask_rate,
            mask_rule=train.mask_rule,
            vocabulary=vocabulary,
            masking=train.masking,
            continues=data.continues,
            sorted_epochs=recipe.data.sorted_passes,
        )

    def micro_batch(self, start: int, device: torch.device, size: int | None = None) -> MicroBatch:
        """The micro-batch that begins at sequence `start`, on a device."""
        ids, positions, labels = tensors(self.batches, start, size or self.micro)
        return ids.to(device), positions.to(device), labels.to(device)

    def train_dataloader(self) -> Iterator[MicroBatch]:
        # A plain iterator: batches are cut from a memory map at 50 million tokens a second, so worker
        # processes would only add start-up time.
        start = self.start
        while True:
            yield tensors(self.batches, start, self.micro)
            start += self.micro

    def transfer_batch_to_device(
        self, batch: MicroBatch, device: torch.device, dataloader_idx: int
    ) -> MicroBatch:
        """Three tensors; Lightning's own looks for more in everything that a batch could be."""
        ids, positions, labels = (tensor.to(device, non_blocking=True) for tensor in batch)
        return ids, positions, labels


def tensors(batches: Batches, start: int, size: int) -> MicroBatch:
    """Batch `start` … `start + size` as tensors: ids [B, T], flat positions [N], labels [N], all int64."""
    batch = batches.batch(start, size)
    found = [torch.from_numpy(array) for array in (batch.ids, batch.positions, batch.labels)]
    if torch.cuda.is_available():
        found = [tensor.pin_memory() for tensor in found]
    return found[0], found[1], found[2]
