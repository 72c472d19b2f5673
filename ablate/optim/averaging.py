"""Averages of the weights along training: what is evaluated, while training goes on with the raw weights.

The averages are kept in at least fp32. `update` is called after every optimizer step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from ablate.knobs import Config, Knob, one_of

if TYPE_CHECKING:
    from torch import Tensor


class EmaConfig(Config):
    """Exponential moving average of the weights, one update per step."""

    kind: Literal["ema"] = "ema"
    decay: Annotated[
        float,
        Knob("share of the old average that a step keeps", 0.5, 0.99999,
             paper="scripted with .99, .995, .999, no result in the text; the reference's code is wrong"),
    ] = 0.999  # fmt: skip

    def build(self, parameters: Sequence[Tensor]) -> Ema:
        """An average that starts from these weights."""
        return Ema(parameters, self.decay)


class LawaConfig(Config):
    """The mean of the latest few snapshots (Kaddour 2022, arXiv:2209.14981)."""

    kind: Literal["lawa"] = "lawa"
    snapshots: Annotated[int, Knob("how many of the latest are averaged", 2, 64, log=True)] = 10
    every: Annotated[float, Knob("share of the budget between two snapshots", 1e-4, 0.2, log=True)] = 0.01

    def build(self, parameters: Sequence[Tensor]) -> Lawa:
        """An average that starts from these weights."""
        return Lawa(parameters, self.snapshots, self.every)


class Ema:
    """decay · average + (1 - decay) · weights. The average of a constant is that constant."""

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        from torch.optim.swa_utils import get_ema_multi_avg_fn

        self.mean = copied(parameters)
        self.fold = get_ema_multi_avg_fn(decay)

    def update(self, parameters: Sequence[Tensor], progress: float) -> None:
        """Take in the weights after a step, at `progress` of the budget."""
        self.fold(self.mean, [p.detach().to(m.dtype) for p, m in zip(parameters, self.mean, strict=True)], 0)

    def weights(self) -> list[Tensor]:
        """The average, in the order of the parameters."""
        return self.mean

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {f"mean.{i}": tensor for i, tensor in enumerate(self.mean)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        for i, mean in enumerate(self.mean):
            mean.copy_(tensors[f"mean.{i}"])


class Lawa:
    """The mean of snapshots taken each time that another share of the budget is spent, the newest few."""

    def __init__(self, parameters: Sequence[Tensor], snapshots: int, every: float) -> None:
        self.taken = [copied(parameters)]
        self.snapshots, self.every, self.next = snapshots, every, every

    def update(self, parameters: Sequence[Tensor], progress: float) -> None:
        """Take a snapshot when its time has come."""
        if progress + 1e-12 < self.next:
            return
        self.taken = [*self.taken, copied(parameters)][-self.snapshots :]
        while self.next <= progress + 1e-12:
            self.next += self.every

    def weights(self) -> list[Tensor]:
        """The average, in the order of the parameters."""
        import torch

        return [torch.stack(tensors).mean(0) for tensors in zip(*self.taken, strict=True)]

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        import torch

        kept = {f"snapshot.{i}.{j}": t for i, taken in enumerate(self.taken) for j, t in enumerate(taken)}
        return {**kept, "next": torch.tensor(self.next, dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        device, size = self.taken[0][0].device, len(self.taken[0])
        count = sum(name.startswith("snapshot.") for name in tensors) // size
        self.taken = [[tensors[f"snapshot.{i}.{j}"].to(device) for j in range(size)] for i in range(count)]
        self.next = float(tensors["next"])


def copied(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Detached copies in at least fp32."""
    import torch

    return [p.detach().to(torch.promote_types(p.dtype, torch.float32), copy=True) for p in parameters]


Averaging = Ema | Lawa
AveragingConfig = Annotated[EmaConfig | LawaConfig, one_of]
