"""Learning-rate schedules: pure functions of progress = spent / budget, as factors of the peak.

A schedule is a shape over [0, 1]. Warm-up squeezes the shape into what follows it and leads linearly
from 0 to its first value; cool-down leaves the shape where it stands and leads linearly to 0.
The shapes are those of the reference's budget schedulers (Cramming, appendix B), which for linear, cosine,
constant, inverse-sqrt, ramp and inv-cosine treat warm-up and cool-down in just this way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from ablate.knobs import Config, Knob, one_of


class Schedule(Config):
    """A shape over the budget with optional warm-up."""

    warmup: Annotated[
        float,
        Knob(
            "share of the budget over which the rate first rises from 0",
            0.0,
            0.5,
            paper="Architecture: pre-norm allows less warm-up; the crammed recipe has none",
        ),
    ] = 0.0

    def factor(self, progress: float) -> float:
        """The rate at `progress` (clipped to [0, 1]) as a share of the peak."""
        f = min(1.0, max(0.0, progress))
        if f < self.warmup:
            return self.shape(0.0) * f / self.warmup
        return self.shape(self._inner(f))

    def shape(self, f: float) -> float:
        """The factor at f in [0, 1], warm-up and cool-down aside."""
        raise NotImplementedError

    def _inner(self, f: float) -> float:
        return (f - self.warmup) / (1 - self.warmup)

    def simpler(self) -> list[Schedule]:
        """Schedules of fewer settings that this one may be equal to."""
        return []

    def same(self, recipe: Any) -> Mapping[str, Any]:
        for other in self.simpler():
            if all(abs(self.factor(i / 1000) - other.factor(i / 1000)) < 1e-9 for i in range(1001)):
                return {"train.schedule": other}
        return {}


class Cooling(Schedule):
    """A shape that a cool-down can cut short."""

    cooldown: Annotated[
        float, Knob("share of the budget over which the rate finally falls linearly to 0", 0.0, 0.5)
    ] = 0.0

    def factor(self, progress: float) -> float:
        f = min(1.0, max(0.0, progress))
        if f > 1 - self.cooldown:
            return self.shape(self._inner(1 - self.cooldown)) * (1 - f) / self.cooldown
        return super().factor(f)

    @property
    def straight(self) -> float:
        """Share of the shape that ends it as a straight line down to 0: a cool-down within it is no other."""
        return 0.0

    def inert(self, recipe: Any) -> Iterable[str]:
        if 0 < self.cooldown <= self.straight * (1 - self.warmup):
            yield "train.schedule.cooldown"


class Triangle2(Cooling):
    """A quarter of the peak, up to it at 75 %, then down to 0: the crammed BERT's schedule."""

    kind: Literal["triangle2"] = "triangle2"

    @property
    def straight(self) -> float:
        return 0.25

    def shape(self, f: float) -> float:
        return min(0.25 + f, 4 * (1 - f))


class Triangle1(Cooling):
    """Half of the peak, up to it at 75 %, then down to 0."""

    kind: Literal["triangle1"] = "triangle1"

    @property
    def straight(self) -> float:
        return 0.25

    def shape(self, f: float) -> float:
        return min(0.5 + 2 / 3 * f, 4 * (1 - f))


class OneCycle(Schedule):
    """From 0 up to the peak at half of the budget and down again (Smith & Topin 2018, simplified)."""

    kind: Literal["one-cycle"] = "one-cycle"

    def shape(self, f: float) -> float:
        return min(2 * f, 2 - 2 * f)


class MultiCycle(Cooling):
    """Several one-cycles after another."""

    kind: Literal["multi-cycle"] = "multi-cycle"
    cycles: Annotated[int, Knob("how many rises and falls", 2, 64, log=True)] = 8

    @property
    def straight(self) -> float:
        return 0.5 / self.cycles

    def shape(self, f: float) -> float:
        within = (f * self.cycles) % 1.0
        return min(2 * within, 2 - 2 * within)


class Cosine(Cooling):
    """Half a cosine from the peak to 0 (Loshchilov & Hutter 2017)."""

    kind: Literal["cosine"] = "cosine"

    def shape(self, f: float) -> float:
        return 0.5 * (1 + math.cos(math.pi * f))


class CosineAnnealing(Cooling):
    """Half cosines with warm restarts (SGDR, Loshchilov & Hutter 2017)."""

    kind: Literal["cosine-annealing"] = "cosine-annealing"
    cycles: Annotated[int, Knob("how many falls", 2, 64, log=True)] = 4

    def shape(self, f: float) -> float:
        # The end of the budget ends the last fall; the reference jumps to the peak there.
        within = 1.0 if f == 1 else (f * self.cycles) % 1.0
        return 0.5 * (1 + math.cos(math.pi * within))


class Linear(Schedule):
    """A straight line from the peak to 0, with warm-up the original BERT's."""

    kind: Literal["linear"] = "linear"

    def shape(self, f: float) -> float:
        return 1 - f


class Polynomial(Cooling):
    """A power of the remaining budget."""

    kind: Literal["polynomial"] = "polynomial"
    power: Annotated[float, Knob("exponent of the remaining share", 0.25, 4.0, log=True)] = 2.0

    @property
    def straight(self) -> float:
        return 1.0 if self.power == 1 else 0.0

    def shape(self, f: float) -> float:
        return float((1 - f) ** self.power)

    def simpler(self) -> list[Schedule]:
        return [Linear(warmup=self.warmup)]


class InverseSqrt(Cooling):
    """After warm-up, falls with the square root of the progress made (Vaswani et al. 2017)."""

    kind: Literal["inverse-sqrt"] = "inverse-sqrt"
    warmup: Annotated[
        float,
        Knob(
            "share of the budget over which the rate rises; sets the scale of the fall", 1e-4, 0.5, log=True
        ),
    ] = 0.05

    def shape(self, f: float) -> float:
        return math.sqrt(self.warmup / (self.warmup + f * (1 - self.warmup)))


class Constant(Cooling):
    """The peak throughout; with warm-up and cool-down a trapezoid."""

    kind: Literal["constant"] = "constant"

    def shape(self, f: float) -> float:
        return 1.0


class Ramp(Cooling):
    """Rises linearly from 0 to the end, where only a cool-down brings it back."""

    kind: Literal["ramp"] = "ramp"

    def shape(self, f: float) -> float:
        return f


class InverseCosine(Cooling):
    """Half a cosine from 0 up to the peak, where only a cool-down brings it back."""

    kind: Literal["inv-cosine"] = "inv-cosine"

    def shape(self, f: float) -> float:
        return 0.5 * (1 + math.cos(math.pi * (1 - f)))


class Dive(Cooling):
    """The peak until a last share of the budget, then straight down to 0. The reference's own crashes."""

    kind: Literal["dive"] = "dive"
    falloff: Annotated[
        float,
        Knob("share of the budget in which the rate falls; the reference has 0.75, 0.5, 0.25", 0.01, 1.0),
    ] = 0.5

    @property
    def straight(self) -> float:
        return self.falloff

    def shape(self, f: float) -> float:
        return min(1.0, (1 - f) / self.falloff)

    def simpler(self) -> list[Schedule]:
        fall = max(self.cooldown, self.falloff * (1 - self.warmup))
        trapezoid = [Constant(warmup=self.warmup, cooldown=fall)] if fall <= 0.5 else []
        return [Linear(warmup=self.warmup), *trapezoid]


class WarmupStableDecay(Cooling):
    """Short warm-up, the peak, then 1 - sqrt down to 0 (Hägele et al. 2024, arXiv:2405.18392)."""

    kind: Literal["wsd"] = "wsd"
    warmup: Annotated[float, Knob("share of the budget over which the rate first rises from 0", 0.0, 0.5)] = (
        0.02
    )
    decay: Annotated[float, Knob("share of the budget after warm-up in which the rate falls", 0.01, 1.0)] = (
        0.2
    )

    def shape(self, f: float) -> float:
        return 1 - math.sqrt(max(0.0, f - (1 - self.decay)) / self.decay)


ScheduleConfig = Annotated[
    Triangle2
    | Triangle1
    | OneCycle
    | MultiCycle
    | Cosine
    | CosineAnnealing
    | Linear
    | Polynomial
    | InverseSqrt
    | Constant
    | Ramp
    | InverseCosine
    | Dive
    | WarmupStableDecay,
    one_of,
]
