"""Initialisation: what the weights are before the first step.

Every matrix is drawn from a stream of its own, seeded by the block's seed and the parameter's name, so
that arms of one block share every weight that exists in both: an added layer, bias or position scheme
changes no other tensor.
"""

from __future__ import annotations

import hashlib
import math
from typing import Annotated, Literal

import torch
from torch import nn

from ablate.knobs import Config, Knob, one_of

Spread = Annotated[float, Knob("standard deviation of the weights", 1e-3, 0.2, log=True)]


class Normal(Config):
    """The same standard deviation everywhere, 0.02 in BERT (Devlin et al. 2019)."""

    kind: Literal["normal"] = "normal"
    std: Spread = 0.02

    def spread(self, width: int, layers: int, into_residual: bool) -> float:
        """Standard deviation of a matrix; `into_residual`: its result is added to the residual stream."""
        return self.std


class DepthScaled(Normal):
    """Normal, but what is added to the stream shrinks with 1/sqrt(2·layers) (GPT-2; Megatron-LM)."""

    kind: Literal["depth-scaled"] = "depth-scaled"  # type: ignore[assignment]

    def spread(self, width: int, layers: int, into_residual: bool) -> float:
        return self.std / math.sqrt(2 * layers) if into_residual else self.std


class Small(Config):
    """sqrt(2 / 5D) everywhere (Nguyen & Salazar 2019, arXiv:1910.05895)."""

    kind: Literal["small"] = "small"

    def spread(self, width: int, layers: int, into_residual: bool) -> float:
        return math.sqrt(2 / (5 * width))


class Wang(Config):
    """Small, but 2 / (layers·sqrt(D)) for what is added to the stream (Wang & Komatsuzaki 2021, GPT-J)."""

    kind: Literal["wang"] = "wang"

    def spread(self, width: int, layers: int, into_residual: bool) -> float:
        return 2 / (layers * math.sqrt(width)) if into_residual else math.sqrt(2 / (5 * width))


InitConfig = Annotated[Normal | DepthScaled | Small | Wang, one_of]


@torch.no_grad()
def initialize(
    module: nn.Module, init: InitConfig, *, width: int, layers: int, generator: torch.Generator | None
) -> None:
    """Draw every matrix below `module`; vectors (biases 0, norms 1, scalars) keep what they were built with.

    Only the generator's seed is used, not its position, so neither it nor the default generator is
    advanced; without a generator the seed is torch's own. Drawn on the CPU: the same on every device.
    """
    seed = torch.initial_seed() if generator is None else generator.initial_seed()
    into_residual = {
        f"{name}.weight" for name, part in module.named_modules() if getattr(part, "into_residual", False)
    }
    for name, parameter in module.named_parameters():
        if parameter.ndim < 2 or parameter.is_meta:
            continue
        noise = torch.randn(parameter.shape, generator=_stream(seed, name), device="cpu")
        parameter.copy_(noise.mul_(init.spread(width, layers, name in into_residual)))


def _stream(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
