"""Initialisation: what the weights are before the first step.

Every matrix is drawn from a stream of its own, seeded by the block's seed and the parameter's name, so
that arms of one block share every weight that exists in both: an added layer, bias or position scheme
changes no other tensor.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from torch import Tensor, nn

from ablate.knobs import Config, Knob, one_of
from ablate.model.linear import Linear

if TYPE_CHECKING:
    from ablate.recipe import Recipe

Spread = Annotated[float, Knob("standard deviation of the weights", 1e-3, 0.2, log=True)]

# Tables are looked up, not multiplied: fans mean nothing there, and BERT's spread stays.
TABLE_STD = 0.02


@dataclass(frozen=True)
class Matrix:
    """What an initialisation may know of a matrix; `parts` are stacked along its rows, as q, k and v are."""

    rows: int  # of one part: the outputs
    columns: int  # the inputs
    parts: int
    table: bool  # looked up by index
    into_residual: bool  # its result is added to the residual stream
    feedforward: bool
    width: int
    layers: int

    @property
    def xavier(self) -> float:
        """Keeps variance through the product and back (Glorot & Bengio 2010)."""
        return math.sqrt(2 / (self.rows + self.columns))


class Init(Config):
    """A rule for the spread of each matrix, or for the numbers themselves."""

    def spread(self, matrix: Matrix) -> float:
        """Standard deviation of a matrix."""
        raise NotImplementedError

    def fill(self, noise: Tensor, matrix: Matrix) -> Tensor:
        """The matrix, from standard normal noise of its shape."""
        return noise.mul_(self.spread(matrix))


class Normal(Init):
    """The same standard deviation everywhere, 0.02 in BERT (Devlin et al. 2019)."""

    kind: Literal["normal"] = "normal"
    std: Spread = 0.02

    def spread(self, matrix: Matrix) -> float:
        return self.std


class DepthScaled(Init):
    """Normal, but what is added to the stream shrinks with 1/sqrt(2·layers) (GPT-2; Megatron-LM)."""

    kind: Literal["depth-scaled"] = "depth-scaled"
    std: Spread = 0.02

    def spread(self, matrix: Matrix) -> float:
        return self.std / math.sqrt(2 * matrix.layers) if matrix.into_residual else self.std


class Small(Init):
    """sqrt(2 / 5D) everywhere (Nguyen & Salazar 2019, arXiv:1910.05895)."""

    kind: Literal["small"] = "small"

    def spread(self, matrix: Matrix) -> float:
        return math.sqrt(2 / (5 * matrix.width))


class Megatron(Init):
    """sqrt(1 / 3D) everywhere (Smith et al. 2022, Megatron-Turing NLG, arXiv:2201.11990)."""

    kind: Literal["megatron"] = "megatron"

    def spread(self, matrix: Matrix) -> float:
        return math.sqrt(1 / (3 * matrix.width))


class Wang(Init):
    """Small, but 2 / (layers·sqrt(D)) for what is added to the stream (Wang & Komatsuzaki 2021, GPT-J)."""

    kind: Literal["wang"] = "wang"

    def spread(self, matrix: Matrix) -> float:
        if matrix.into_residual:
            return 2 / (matrix.layers * math.sqrt(matrix.width))
        return math.sqrt(2 / (5 * matrix.width))


class Xavier(Init):
    """sqrt(2 / (inputs + outputs)); tables as in BERT (Glorot & Bengio 2010)."""

    kind: Literal["xavier"] = "xavier"

    def spread(self, matrix: Matrix) -> float:
        return TABLE_STD if matrix.table else matrix.xavier


class DeepNormInit(Init):
    """Xavier; feed-forward, values and attention output smaller by (8·layers)^(-1/4) (Wang et al. 2022,
    arXiv:2203.00555, encoder). Belongs to `model.deepnorm`.
    """

    kind: Literal["deepnorm"] = "deepnorm"

    def fill(self, noise: Tensor, matrix: Matrix) -> Tensor:
        if matrix.table:
            return noise.mul_(TABLE_STD)
        beta = (8 * matrix.layers) ** -0.25
        filled = noise.mul_(matrix.xavier)
        if matrix.feedforward or matrix.into_residual:
            filled.mul_(beta)
        elif matrix.parts == 3:
            filled[2 * matrix.rows :].mul_(beta)
        return filled

    def cautions(self, recipe: Recipe) -> list[str]:
        if recipe.model.deepnorm:
            return []
        return [
            "model.init deepnorm without model.deepnorm: the smaller weights are half of the method, made "
            "for a stream that is scaled up (Wang et al. 2022); set model.deepnorm and norm_placement post"
        ]


class Orthogonal(Init):
    """Orthonormal rows or columns, whichever are fewer (Saxe et al. 2014); tables as in BERT."""

    kind: Literal["orthogonal"] = "orthogonal"
    scaled: Annotated[
        bool,
        Knob(
            "times sqrt(outputs / inputs), what train.optimizer agd starts from",
            paper="the reference's agd-orthogonal, no result",
        ),
    ] = False

    def fill(self, noise: Tensor, matrix: Matrix) -> Tensor:
        if matrix.table:
            return noise.mul_(TABLE_STD)
        filled = torch.cat([_orthonormal(part) for part in noise.chunk(matrix.parts)])
        return filled.mul_(math.sqrt(matrix.rows / matrix.columns)) if self.scaled else filled


def _orthonormal(noise: Tensor) -> Tensor:
    tall = noise if noise.shape[0] >= noise.shape[1] else noise.T
    q, r = torch.linalg.qr(tall)
    q = q * r.diagonal().sign()  # uniform over rotations, not only those that the algorithm prefers
    return q if tall is noise else q.T


InitConfig = Annotated[
    Normal | DepthScaled | Small | Megatron | Wang | Xavier | DeepNormInit | Orthogonal, one_of
]


@torch.no_grad()
def initialize(
    module: nn.Module, init: InitConfig, *, width: int, layers: int, generator: torch.Generator | None
) -> None:
    """Draw every matrix below `module`; vectors (biases 0, norms 1, scalars) keep what they were built with.

    Only the generator's seed is used, not its position, so neither it nor the default generator is
    advanced; without a generator the seed is torch's own. Drawn on the CPU: the same on every device.
    """
    seed = torch.initial_seed() if generator is None else generator.initial_seed()
    owners = dict(module.named_modules())
    for name, parameter in module.named_parameters():
        if parameter.ndim < 2 or parameter.is_meta:
            continue
        owner = owners[name.rpartition(".")[0]]
        parts = getattr(owner, "parts", 1)
        matrix = Matrix(
            rows=parameter.shape[0] // parts,
            columns=parameter.shape[1],
            parts=parts,
            table=not isinstance(owner, Linear),
            into_residual=getattr(owner, "into_residual", False),
            feedforward=".feedforward." in name,
            width=width,
            layers=layers,
        )
        noise = torch.randn(parameter.shape, generator=_stream(seed, name), device="cpu")
        parameter.copy_(init.fill(noise, matrix))


def _stream(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
