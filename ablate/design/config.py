"""The `design:` section of a study file: which arms, on how many blocks. No torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from ablate.budget import Budget
from ablate.knobs import Config, allowed_here, one_of

C = TypeVar("C", bound=Config)

Kind = Literal["one-factor", "cumulative", "factorial", "fractional", "search"]

# Which keys belong to which kind; the others (kind, requires, blocks, seed) belong to all.
KEYS: dict[str, tuple[Kind, ...]] = {
    "factors": ("one-factor", "factorial", "fractional"),
    "groups": ("one-factor", "cumulative", "factorial", "fractional"),
    "steps": ("cumulative",),
    "back": ("cumulative",),
    "resolution": ("fractional",),
    "probe": ("one-factor",),
    "replicates": ("one-factor", "cumulative", "factorial", "fractional"),
    "tune": ("one-factor", "cumulative", "factorial", "fractional"),
    "space": ("search",),
    "sampler": ("search",),
    "trials": ("search",),
    "pruner": ("search",),
    "prior": ("search",),
    "confirm": ("search",),
}


def _budget(value: Any) -> Any:
    Budget.parse(value)
    return value


BudgetText = Annotated[str | int, BeforeValidator(_budget)]


# --- search ------------------------------------------------------------------------------------------


class Tpe(Config):
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate and grouped by condition."""

    kind: Literal["tpe"] = "tpe"
    startup: int = Field(10, ge=0, le=1000)  # random trials before the model speaks
    multivariate: bool = True


class Gp(Config):
    """Gaussian process with expected improvement; for few, mostly numeric dimensions."""

    kind: Literal["gp"] = "gp"
    startup: int = Field(10, ge=0, le=1000)


class Qmc(Config):
    """A Sobol or Halton sequence (Bousquet et al. 2017): even coverage, no model."""

    kind: Literal["qmc"] = "qmc"
    sequence: Literal["sobol", "halton"] = "sobol"
    scramble: bool = True


class CmaEs(Config):
    """Covariance matrix adaptation; numeric dimensions, the others at random."""

    kind: Literal["cmaes"] = "cmaes"


class Nsga2(Config):
    """NSGA-II (Deb et al. 2002), for two outcomes."""

    kind: Literal["nsga2"] = "nsga2"
    population: int = Field(20, ge=2, le=1000)


class Random(Config):
    """Independent draws."""

    kind: Literal["random"] = "random"


class Grid(Config):
    """Every combination of the given levels, conditional ones only where they exist."""

    kind: Literal["grid"] = "grid"


Sampler = Annotated[Tpe | Gp | Qmc | CmaEs | Nsga2 | Random | Grid, one_of]


class SuccessiveHalving(Config):
    """Asynchronous successive halving (Li et al. 2020) on the pretraining loss, by share of the budget."""

    kind: Literal["successive-halving"] = "successive-halving"
    first: float = Field(0.1, ge=0.01, le=0.5)  # share of the budget at the first rung
    factor: int = Field(3, ge=2, le=10)  # one in so many goes on, and trains so many times longer


class Wilcoxon(Config):
    """Stops an arm after some blocks when it is worse than the best one on the same blocks (signed rank)."""

    kind: Literal["wilcoxon"] = "wilcoxon"
    threshold: float = Field(0.1, gt=0, lt=1)
    first: int = Field(2, ge=1, le=100)  # blocks before anything is stopped


Pruner = Annotated[SuccessiveHalving | Wilcoxon, one_of]


class Range(Config):
    """Bounds of a number; scale and type are the knob's unless stated."""

    low: float
    high: float
    log: bool | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low must be below high; got {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range must lie above 0; got {self.low:g}")
        return self


def _read(cls: type[C], value: dict[Any, Any]) -> C:
    """A mapping as a config, where a validator hides the type from whoever would name the allowed keys."""
    for key in value:
        if key not in cls.model_fields:
            raise ValueError(f"unknown key '{key}'{allowed_here(str(key), cls.model_fields)}")
    return cls.model_validate(value)


def _dimension(value: Any) -> Any:
    """`all` (or nothing): the knob's whole domain; a list: levels; {low, high}: a range."""
    if value is None or value == "all":
        return "all"
    if isinstance(value, list):
        if not value:
            raise ValueError("a list of levels needs at least one")
        return value
    if isinstance(value, dict):
        return _read(Range, value)
    if isinstance(value, Range):
        return value
    raise ValueError(f"`all`, a list of levels, or {{low: …, high: …, log: …}}; got {value!r}")


Dimension = Annotated[Any, BeforeValidator(_dimension)]
Space = dict[str, Dimension]


class Confirm(Config):
    """The best arms of a search again, on blocks that the search has not seen."""

    top: int = Field(1, ge=1, le=20)
    blocks: int = Field(5, ge=2, le=1000)


class Tune(Config):
    """Nuisance knobs, searched for every arm alike before the arms are compared."""

    knobs: Space
    trials: int = Field(8, ge=2, le=1000)  # per arm
    sampler: Sampler = Field(default_factory=Tpe)
    blocks: int = Field(1, ge=1, le=100)  # of their own, never those of the comparison
    budget: BudgetText | None = None  # the study's when left out


def _tune(value: Any) -> Any:
    return {"knobs": dict.fromkeys(map(str, value), "all")} if isinstance(value, list) else value


# --- blocks and probe --------------------------------------------------------------------------------


class Elastic(Config):
    """Blocks added only where a verdict is still open, with error control over the looks."""

    min: int = Field(3, ge=2, le=1000)
    max: int = Field(ge=3, le=1000)
    until: Literal["settled"] = "settled"

    @model_validator(mode="after")
    def _ordered(self) -> Elastic:
        if not self.min < self.max:
            raise ValueError(f"min must be below max; got {self.min} and {self.max}")
        return self


class Probe(Config):
    """A few fractional-factorial arms beside a one-factor design, to see where its effects do not add up."""

    factors: list[str] = Field(default_factory=list)  # all factors and groups when empty
    blocks: int = Field(2, ge=1, le=1000)
    resolution: Literal[3, 4, 5] = 3


def _probe(value: Any) -> Any:
    return {} if value is True else None if value is False else value


def _blocks(value: Any) -> Any:
    if isinstance(value, dict):
        return _read(Elastic, value)
    if isinstance(value, bool) or not isinstance(value, int | Elastic):
        raise ValueError(f"a number of blocks, or {{min: 3, max: 12, until: settled}}; got {value!r}")
    if isinstance(value, int) and not 1 <= value <= 1000:
        raise ValueError(f"between 1 and 1000 blocks; got {value}")
    return value


class Design(Config):
    """Which arms, on how many blocks."""

    kind: Kind = "one-factor"
    factors: dict[str, list[Any]] = Field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = Field(default_factory=dict)
    steps: list[str | dict[str, Any]] = Field(default_factory=list)  # cumulative: applied one after another
    back: bool = False  # cumulative: also take the steps away again, in the same order
    resolution: Literal[3, 4, 5] = 4  # fractional
    probe: Annotated[Probe | None, BeforeValidator(_probe)] = None
    replicates: int = Field(1, ge=1, le=5)  # of the baseline in every block; a second one is an A/A contrast
    tune: Annotated[Tune | None, BeforeValidator(_tune)] = None
    space: Space = Field(default_factory=dict)
    sampler: Sampler = Field(default_factory=Tpe)
    trials: int | None = Field(None, ge=1, le=100_000)
    pruner: Pruner | None = None
    prior: list[str] = Field(default_factory=list)  # run folders whose records a search starts from
    confirm: Confirm | None = None
    requires: dict[str, dict[str, Any]] = Field(default_factory=dict)
    blocks: Annotated[int | Elastic, BeforeValidator(_blocks)] = 5
    seed: int = Field(0, ge=0)  # of the first block; the others follow

    @property
    def first_blocks(self) -> int:
        """Blocks that every arm runs on."""
        return self.blocks.min if isinstance(self.blocks, Elastic) else self.blocks

    @property
    def most_blocks(self) -> int:
        """Blocks that an arm may run on."""
        return self.blocks.max if isinstance(self.blocks, Elastic) else self.blocks
