"""Length curricula: short rows first, a pure function of progress.

Shapes: B batch, T length of a row, L the length that training sees now, N predicted positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from ablate.knobs import Config, Knob, kind_of, one_of

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.recipe import Recipe

Batch = tuple["Tensor", "Tensor", "Tensor"]  # ids [B, T], flat positions [N], labels [N]


class _Curriculum(Config):
    """Lengths that double from stage to stage, as the paper's 8, 16, 32, 64, 128."""

    stages: Annotated[int, Knob("how many lengths, each twice the one before", 2, 8)] = 5
    until: Annotated[
        float,
        Knob("share of the budget after which rows are whole; stages before it are equally long", 0.05, 1.0),
    ] = 0.75

    def length(self, full: int, progress: float) -> int:
        """Tokens per row at `progress` of the budget."""
        stage = min(self.stages - 1, int(progress / self.until * (self.stages - 1) + 1e-9))
        return full >> (self.stages - 1 - stage)

    def cut(self, batch: Batch, length: int) -> Batch:
        """The batch with rows of `length` tokens, which divides the full length."""
        raise NotImplementedError

    def conflicts(self, recipe: Recipe) -> list[str]:
        train, told = recipe.train, []
        name, parts = f"train.length_curriculum {kind_of(type(self))}", 2 ** (self.stages - 1)
        if recipe.data.length % parts or recipe.data.length // parts < 4:
            told.append(
                f"{name} with {self.stages} stages halves data.length ({recipe.data.length}) "
                f"{self.stages - 1} times, and at least 4 tokens must be left; take fewer stages"
            )
        if train.compile:
            told.append(
                f"{name} changes shapes, and each would be compiled on the training clock; "
                "set train.compile: false"
            )
        return told


class Truncate(_Curriculum):
    """Only the beginning of each row; the rest of it is not read in that pass."""

    kind: Literal["truncate"] = "truncate"

    def cut(self, batch: Batch, length: int) -> Batch:
        ids_BT, positions_N, labels_N = batch
        full = ids_BT.shape[1]
        row_N, column_N = positions_N // full, positions_N % full
        kept = column_N < length
        if not kept.any():  # a micro-batch of few and short rows: the first token, as it stands
            return ids_BT[:, :length], positions_N.new_zeros(1), ids_BT[:1, 0]
        return ids_BT[:, :length], (row_N * length + column_N)[kept], labels_N[kept]


class Unfold(_Curriculum):
    """Each row as several short ones, nothing left out."""

    kind: Literal["unfold"] = "unfold"

    def cut(self, batch: Batch, length: int) -> Batch:
        ids_BT, positions_N, labels_N = batch
        return ids_BT.reshape(-1, length), positions_N, labels_N


LengthCurriculum = Annotated[Truncate | Unfold, one_of]
