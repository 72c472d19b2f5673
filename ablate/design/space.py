"""The space of a search: which knobs are drawn, from which narrower domains, and back from a recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ablate.design.config import Range
from ablate.knobs import (
    Choice,
    Domain,
    Number,
    UnknownKnobError,
    Variants,
    get,
    knobs,
    plain,
    replace,
    searchable,
    show,
    suggest,
)
from ablate.recipe import Recipe

Loc = tuple[Any, ...]
Tell = Callable[[Loc, str], None]
Space = dict[str, Domain]


def read_space(given: Mapping[str, Any], recipe: Recipe, loc: Loc, tell: Tell) -> Space:
    """The domains of a space as written in a study file; what is wrong with it is told."""
    found: Space = {}
    infos = {info.path: info for info in knobs(Recipe)}
    for path, spec in given.items():
        here = (*loc, path)
        if path not in infos:
            tell(here, str(UnknownKnobError(path, infos)))
            continue
        domain = _domain(spec, infos[path].domain, here, tell)
        if isinstance(domain, Choice) and not _levels_fit(recipe, path, domain, given, here, tell):
            continue
        if domain is not None:
            found[path] = domain
    return found


def _domain(spec: Any, own: Domain, loc: Loc, tell: Tell) -> Domain | None:
    if isinstance(spec, list):
        return Choice(tuple(spec))
    if isinstance(spec, Range):
        if not isinstance(own, Number):
            tell(loc, f"a range belongs to a number; this knob is one of {own}: list its levels")
            return None
        below = own.low is not None and spec.low < own.low
        if below or (own.high is not None and spec.high > own.high):
            tell(loc, f"the range must lie within {own}; got {spec.low:g} … {spec.high:g}")
            return None
        if own.integer and (spec.low % 1 or spec.high % 1):
            tell(loc, f"this knob is an integer; got {spec.low:g} … {spec.high:g}")
            return None
        return Number(own.integer, spec.low, spec.high, own.log if spec.log is None else spec.log)
    if not searchable(own):
        tell(loc, f"`all` needs a bounded domain, this knob is {own}: give a range or a list of levels")
        return None
    return own


def _levels_fit(
    recipe: Recipe, path: str, domain: Choice, given: Mapping[str, Any], loc: Loc, tell: Tell
) -> bool:
    """Whether every listed level is one; a conditional knob is tried where its variant may be present."""
    parent = path.rsplit(".", 1)[0]
    listed = given.get(parent)
    places = [recipe]
    for level in listed if isinstance(listed, list) else _kinds(parent):
        try:
            places.append(replace(recipe, {parent: level}))
        except (ValidationError, UnknownKnobError):
            continue
    fits = True
    for i, level in enumerate(domain.levels):
        problem = ""
        for place in places:
            try:
                replace(place, {path: level})
            except UnknownKnobError:
                continue
            except ValidationError as error:
                from ablate.study import explain

                problem = problem or explain(error, Recipe)[0][1]
            else:
                problem = ""
                break
        if problem:
            tell((*loc, i), problem)
            fits = False
    return fits


def _kinds(path: str) -> Sequence[str | None]:
    """The variants that may stand at a path."""
    own = next((info.domain for info in knobs(Recipe) if info.path == path), None)
    return own.levels if isinstance(own, Variants) else ()


def spelled(space: Space) -> dict[str, Any]:
    """The space as plain data for `study.json`; `respelled` reads it back."""
    return {path: _spell(domain) for path, domain in space.items()}


def _spell(domain: Domain) -> Any:
    if isinstance(domain, Number):
        return {"low": domain.low, "high": domain.high, "log": domain.log, "integer": domain.integer}
    return {"levels": list(domain.levels)} if isinstance(domain, Choice) else "all"


def respelled(data: Mapping[str, Any]) -> Space:
    """A space from `study.json`."""
    infos = {info.path: info for info in knobs(Recipe)}
    found: Space = {}
    for path, spec in data.items():
        if spec == "all":
            found[path] = infos[path].domain
        elif "levels" in spec:
            found[path] = Choice(tuple(spec["levels"]))
        else:
            found[path] = Number(spec["integer"], spec["low"], spec["high"], spec["log"])
    return found


def has(recipe: Recipe, path: str) -> bool:
    """Whether the knob exists in this arm: theta of rope is nothing to tune where positions are learned."""
    try:
        get(recipe, path)
    except UnknownKnobError:
        return False
    return True


# --- from recipes to parameters ------------------------------------------------------------------------


class _Fixed:
    """Answers `suggest` with the values that a recipe has; remembers name, value and domain."""

    def __init__(self, recipe: Recipe, names: Mapping[str, str], space: Space) -> None:
        self.recipe, self.paths, self.space = recipe, names, space
        self.found: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        value = self._value(name)
        path, domain = self.paths[name], self.space.get(self.paths[name])
        if isinstance(domain, Choice):
            value = _level(self.recipe, path, domain, value)
        elif hasattr(value, "kind"):
            value = value.kind
        if value not in choices:
            raise OutsideError(f"{name} is {show(value)}")
        return self._keep(name, value)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return int(self._number(name, low, high))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return float(self._number(name, low, high))

    def _number(self, name: str, low: float, high: float) -> Any:
        value = self._value(name)
        if value is None or not low <= value <= high:
            raise OutsideError(f"{name} is {show(value)}")
        return self._keep(name, value)

    def _value(self, name: str) -> Any:
        return get(self.recipe, self.paths[name])

    def _keep(self, name: str, value: Any) -> Any:
        self.found[name] = value
        return value


class OutsideError(ValueError):
    """A recipe that the space does not contain."""


def _level(recipe: Recipe, path: str, domain: Choice, value: Any) -> Any:
    """The listed level that the recipe has: exactly, or by the name of its variant, whose own settings may
    be searched too."""
    for level in domain.levels:
        try:
            if replace(recipe, {path: level}) == recipe:
                return plain(level)
        except (ValidationError, UnknownKnobError):
            continue
    kind = getattr(value, "kind", None)
    return kind if kind is not None and kind in domain.levels else value


def parameters_in(space: Space, recipe: Recipe, base: Recipe) -> dict[str, Any]:
    """What a sampler would have had to draw from the space, starting at `base`, to give the recipe.

    Raises OutsideError when the space does not hold it, or when it differs from `base` elsewhere too.
    """
    names = {info.name: info.path for info in knobs(Recipe)}
    fixed = _Fixed(recipe, names, space)
    try:
        again = suggest(fixed, base, space)
    except UnknownKnobError as error:
        raise OutsideError(str(error)) from None
    if again != recipe:
        raise OutsideError("it differs in knobs that are not searched")
    return fixed.found


# --- every point of a grid -------------------------------------------------------------------------------


class _Walk:
    """Answers `suggest` along one path of the tree of choices; `step` moves to the next path."""

    def __init__(self) -> None:
        self.taken: list[int] = []  # the choice at each depth of the current path
        self.widths: list[int] = []
        self.params: dict[str, Any] = {}
        self._depth = 0

    def restart(self) -> None:
        self._depth, self.params, self.widths = 0, {}, []

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        if self._depth == len(self.taken):
            self.taken.append(0)
        value = list(choices)[self.taken[self._depth]]
        self.widths.append(len(choices))
        self._depth += 1
        self.params[name] = value
        return value

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return int(self.suggest_categorical(name, range(low, high + 1)))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        raise ValueError(f"a grid needs levels for {name}, not a range")

    def step(self) -> bool:
        """To the next path; False after the last."""
        self.taken = self.taken[: len(self.widths)]
        while self.taken and self.taken[-1] + 1 >= self.widths[len(self.taken) - 1]:
            self.taken.pop()
        if not self.taken:
            return False
        self.taken[-1] += 1
        return True


def grid(space: Space, base: Recipe) -> Iterator[dict[str, Any]]:
    """The parameters of every point of a finite space; conditional ones only where they exist.

    Raises ValueError for a range of floats.
    """
    walk = _Walk()
    while True:
        walk.restart()
        suggest(walk, base, space)
        yield dict(walk.params)
        if not walk.step():
            return


def endless(space: Space) -> list[str]:
    """The paths that a grid cannot enumerate: ranges of floats."""
    return [path for path, d in space.items() if isinstance(d, Number) and not d.integer]
