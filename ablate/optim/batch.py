"""How many sequences an optimizer step takes: a ramp over progress, or as many as the gradient is noisy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from ablate.knobs import Config, Knob, kind_of, one_of

if TYPE_CHECKING:
    from ablate.recipe import Recipe


def batch_size(progress: float, batch: int, ramp: float, micro: int) -> int:
    """Sequences in the next optimizer step, a multiple of `micro` (Cramming, section 4.3 and its code).

    Over the first `ramp` share of the budget the batch grows linearly from one micro-batch to `batch`;
    `ramp = 0` is the full batch from the start.
    """
    if ramp <= 0 or progress >= ramp:
        return batch
    # 1e-9: 0.3 · 8192 / 0.6 is 4096 sequences, not the 4095.999… of floating point.
    grown = int(progress * batch / ramp + 1e-9)
    return min((grown // micro + 1) * micro, batch)


def stages(batch: int, ramp: float, micro: int) -> list[tuple[float, int]]:
    """The same over a whole budget: shares of it, and how many micro-batches a step has in each."""
    most = max(1, batch // micro)
    if ramp <= 0 or most == 1:
        return [(1.0, most)]
    middles = [ramp * (n + 0.5) / most for n in range(most)]
    growing = [(ramp / most, batch_size(middle, batch, ramp, micro) // micro) for middle in middles]
    return [*growing, (1.0 - ramp, most)]


class _Rule(Config):
    """A rule that follows the gradient's noise, estimated from each step's first and mean gradient."""

    smoothing: Annotated[float, Knob("share of the old estimates that a step keeps", 0.0, 0.999)] = 0.9

    def build(self) -> Noise:
        """The rule along one run."""
        raise NotImplementedError

    def inert(self, recipe: Recipe) -> Iterable[str]:
        return ("train.ramp",)

    def conflicts(self, recipe: Recipe) -> list[str]:
        train, told = recipe.train, []
        name = f"train.batch_rule {kind_of(type(self))}"
        if train.micro_batch is None:
            told.append(
                f"{name} compares micro-batches, and the device may hold all of train.batch in one; "
                "set train.micro_batch"
            )
        elif train.batch < 2 * train.micro_batch:
            told.append(
                f"{name} compares micro-batches: train.batch ({train.batch}) must hold at least two of "
                f"train.micro_batch ({train.micro_batch}); take a larger batch or a smaller micro-batch"
            )
        if train.precision.kind in ("fp16", "fp16-scaled"):
            told.append(
                f"{name} reads gradients before train.precision {train.precision.kind} unscales them; "
                "take bf16 or fp32"
            )
        return told


class NoiseScale(_Rule):
    """As many sequences per step as the gradient is noisy: the simple noise scale tr(Σ) / |G|² (McCandlish et
    al. 2018, arXiv:1812.06162), between two micro-batches and `train.batch`.
    """

    kind: Literal["noise-scale"] = "noise-scale"

    def build(self) -> Noise:
        return Noise(self.smoothing)


class NormTest(_Rule):
    """Twice the batch whenever its gradient's variance exceeds theta² times its squared norm (Byrd et al.
    2012; De et al. 2017, arXiv:1610.05792), from two micro-batches up to `train.batch`.
    """

    kind: Literal["norm-test"] = "norm-test"
    theta: Annotated[float, Knob("largest ratio of noise to gradient", 0.1, 10.0, log=True)] = 1.0

    def build(self) -> Noise:
        return Doubling(self.smoothing, self.theta)


class Noise:
    """The estimates along one run, from the squared norms of a step's first and of its mean gradient."""

    def __init__(self, smoothing: float) -> None:
        self.smoothing = smoothing
        self.noise = self.signal = self.current = 0.0

    def update(self, small: float, large: float, micro: int, batch: int) -> None:
        """`small` is the squared norm of the gradient over `micro` sequences, `large` over all `batch`.

        Both expectations are |G|² + tr(Σ) / n for n sequences, which two sizes solve.
        """
        noise = (small - large) / (1 / micro - 1 / batch)
        signal = (batch * large - micro * small) / (batch - micro)
        keep = self.smoothing if self.noise or self.signal else 0.0
        self.noise = keep * self.noise + (1 - keep) * noise
        self.signal = keep * self.signal + (1 - keep) * signal

    def size(self, batch: int, micro: int) -> int:
        """Sequences of the next step, a multiple of `micro`."""
        wanted = self.noise / self.signal if self.signal > 0 else math.inf if self.noise > 0 else 0.0
        return micro * min(max(2, math.ceil(min(wanted, batch) / micro)), batch // micro)

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"noise": self.noise, "signal": self.signal, "current": self.current}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from a checkpoint."""
        self.noise, self.signal, self.current = state["noise"], state["signal"], state["current"]


class Doubling(Noise):
    """A batch that only grows, when the norm test fails."""

    def __init__(self, smoothing: float, theta: float) -> None:
        super().__init__(smoothing)
        self.theta = theta

    def size(self, batch: int, micro: int) -> int:
        if not self.current:
            self.current = 2.0 * micro
        elif self.noise / self.current > self.theta**2 * max(self.signal, 0.0):
            self.current *= 2
        self.current = min(self.current, batch)
        return int(self.current) // micro * micro


BatchRule = Annotated[NoiseScale | NormTest, one_of]
