"""What a knob is: a field of a config whose type is its domain.

A config is a frozen pydantic model. Every field that carries a `Knob` is a knob; the field's type says
which levels exist (`bool`, `Literal`, bounded numbers, or a union of config classes told apart by `kind`).
Everything else in the platform that needs to know what can vary (the search space, `ablate knobs`,
the records, the conformance tests) reads it from here, so adding a variant edits one file.

This module is pure: it imports neither torch nor optuna.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, GroupedMetadata, Le
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator

C = TypeVar("C", bound="Config")


class Config(BaseModel):
    """A frozen value with typed fields; unknown keys are refused. Derive with `replace`, never assign."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def short(self) -> str:
        """A variant as short as it can be: its name, and the settings that leave its defaults."""
        own = {
            key: getattr(self, key)
            for key, field in type(self).model_fields.items()
            if key != "kind" and getattr(self, key) != field.get_default(call_default_factory=True)
        }
        return show({"kind": getattr(self, "kind", type(self).__name__), **own})

    @property
    def breaks_strict(self) -> str | None:
        """Why it breaks `rules: strict` (nothing pretrained anywhere in the pipeline); None: it does not."""
        return None

    # What a config knows about its neighbours. `recipe` is the whole that this config is part of.

    def conflicts(self, recipe: Any) -> list[str]:
        """Why `recipe` cannot be built or run; each line names the knobs and the way out."""
        return []

    def cautions(self, recipe: Any) -> list[str]:
        """Couplings that `recipe` should mind, each with its reason and source; it can be run as it is."""
        return []

    def inert(self, recipe: Any) -> Iterable[str]:
        """Paths of knobs that change nothing in `recipe`, because of what this config chooses."""
        return ()

    def same(self, recipe: Any) -> Mapping[str, Any]:
        """Knobs of this config whose value does in `recipe` just what another does: path → that other."""
        return {}


@dataclass(frozen=True)
class Knob(GroupedMetadata):
    """Metadata of a knob, written inside `Annotated[...]`. Numeric bounds are validated.

    The crammed and the BERT value are not repeated here: they are read from the presets.
    """

    meaning: str
    low: float | None = None
    high: float | None = None
    log: bool = False  # search on a logarithmic scale
    paper: str = ""  # where the paper speaks of it and what it found
    cost: str = ""  # what a level costs or saves
    speed_only: bool = False  # promises the same result, only faster or slower

    def __iter__(self) -> Iterator[Any]:
        if self.low is not None:
            yield Ge(self.low)
        if self.high is not None:
            yield Le(self.high)


class _NamesInSchema:
    """Lets the JSON Schema of a variant accept its bare name, so that editors do not mark it red."""

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        schema = handler(core_schema)
        names = sorted(schema.get("discriminator", {}).get("mapping", {}))
        return {"anyOf": [{"enum": names}, schema]} if names else schema


class OneOf(GroupedMetadata):
    """Marks a union of config classes told apart by `kind`; a bare name stands for `{kind: name}`."""

    def __iter__(self) -> Iterator[Any]:
        yield Discriminator("kind")
        yield BeforeValidator(lambda value: {"kind": value} if isinstance(value, str) else value)
        yield _NamesInSchema()


one_of = OneOf()


# --- domains -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """One of a few levels."""

    levels: tuple[Any, ...]

    def __str__(self) -> str:
        return " · ".join(show(level) for level in self.levels)


@dataclass(frozen=True)
class Number:
    """An integer or float between bounds (either may be open); or none, which is set but never drawn."""

    integer: bool
    low: float | None
    high: float | None
    log: bool = False
    optional: bool = False

    def __str__(self) -> str:
        low = "-∞" if self.low is None else show(self.low)
        high = "∞" if self.high is None else show(self.high)
        none = "none · " if self.optional else ""
        return f"{none}{'int' if self.integer else 'float'} {low} … {high}{' (log)' if self.log else ''}"


@dataclass(frozen=True)
class Variants:
    """One of several config classes, each with settings of its own; or none of them."""

    classes: tuple[type[Config], ...]
    optional: bool = False

    @property
    def levels(self) -> tuple[str | None, ...]:
        return (*((None,) if self.optional else ()), *(kind_of(c) for c in self.classes))

    def __str__(self) -> str:
        return " · ".join(show(level) for level in self.levels)


@dataclass(frozen=True)
class Free:
    """Any value of a type (a path, a name): can be set, cannot be searched."""

    name: str

    def __str__(self) -> str:
        return self.name


Domain = Choice | Number | Variants | Free


@dataclass(frozen=True)
class KnobInfo:
    """A knob found in a config type.

    `path` is plain (`model.position.theta`), `name` is qualified by the variants it lives in
    (`model.position[rope].theta`), which is what Optuna, records and tables show.
    """

    path: str
    name: str
    domain: Domain
    knob: Knob
    default: Any


def kind_of(cls: type[Config]) -> str:
    """The name a variant has in YAML."""
    return str(get_args(cls.model_fields["kind"].annotation)[0])


def is_variant(cls: Any) -> bool:
    """Whether a config class is one member of a union: its `kind` can have one value only."""
    if not (isinstance(cls, type) and issubclass(cls, Config)) or "kind" not in cls.model_fields:
        return False
    return len(get_args(cls.model_fields["kind"].annotation)) == 1


def doc_of(cls: type) -> str:
    """First line of a class's docstring."""
    return (cls.__doc__ or "").strip().splitlines()[0] if cls.__doc__ else ""


def _strip(annotation: Any) -> tuple[Any, bool]:
    """The type without `Annotated` and `| None`, and whether None was allowed."""
    optional = False
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            members = [m for m in get_args(annotation) if m is not type(None)]
            if len(members) == len(get_args(annotation)):
                return annotation, optional
            optional = True
            annotation = members[0] if len(members) == 1 else Union[tuple(members)]  # noqa: UP007
        else:
            return annotation, optional


def domain_of(annotation: Any, knob: Knob | None = None) -> Domain:
    """The domain that a type and its bounds describe."""
    annotation, optional = _strip(annotation)
    none = (None,) if optional else ()
    if annotation is bool:
        return Choice((False, True))
    if get_origin(annotation) is Literal:
        return Choice((*get_args(annotation), *none))
    if annotation in (int, float):
        low, high, log = (knob.low, knob.high, knob.log) if knob else (None, None, False)
        return Number(annotation is int, low, high, log, optional)
    if get_origin(annotation) in (Union, types.UnionType):
        members = [_strip(m)[0] for m in get_args(annotation)]
        if all(isinstance(m, type) and issubclass(m, Config) for m in members):
            return Variants(tuple(members), optional)
    if is_variant(annotation):
        return Variants((annotation,), optional)
    return Free(getattr(annotation, "__name__", str(annotation)))


def knobs(cls: type[Config], path: str = "", name: str = "") -> list[KnobInfo]:
    """Every knob below a config type, depth first, conditional ones qualified by their variant."""
    return list(_knobs(cls, path, name))


# Types do not change, and a plan asks hundreds of times; resolving their annotations takes 50 ms a time.
@functools.cache
def _knobs(cls: type[Config], path: str, name: str) -> tuple[KnobInfo, ...]:
    found: list[KnobInfo] = []
    hints = typing.get_type_hints(cls, include_extras=True)
    for key, field in cls.model_fields.items():
        if key == "kind":
            continue
        here, there = (f"{path}.{key}", f"{name}.{key}") if path else (key, key)
        annotation = hints[key]
        knob = _knob_in(annotation) or next((m for m in field.metadata if isinstance(m, Knob)), None)
        bare, _ = _strip(annotation)
        domain = domain_of(annotation, knob)
        if isinstance(domain, Variants):
            if knob:
                found.append(
                    KnobInfo(here, there, domain, knob, field.get_default(call_default_factory=True))
                )
            for member in domain.classes:
                found += knobs(member, here, f"{there}[{kind_of(member)}]")
        elif isinstance(bare, type) and issubclass(bare, Config):
            found += knobs(bare, here, there)
        elif knob:
            found.append(KnobInfo(here, there, domain, knob, field.get_default(call_default_factory=True)))
    return tuple(found)


def keys_beside(root: type[Config], location: Iterable[str | int]) -> list[str]:
    """The keys that may stand where `location` (as in a pydantic error) does, the variant's name aside."""
    here: Any = root
    for part in list(location)[:-1]:
        if isinstance(here, Variants):
            here = next((c for c in here.classes if kind_of(c) == part), None)
        elif isinstance(here, type) and issubclass(here, Config) and part in here.model_fields:
            annotation = here.model_fields[str(part)].annotation
            domain = domain_of(annotation)
            here = domain if isinstance(domain, Variants) else _strip(annotation)[0]
        elif not (isinstance(part, int) or here is dict):
            return []
    if isinstance(here, type) and issubclass(here, Config):
        return [key for key in here.model_fields if key != "kind"]
    return []


def _knob_in(annotation: Any) -> Knob | None:
    while get_origin(annotation) is Annotated:
        for meta in annotation.__metadata__:
            if isinstance(meta, Knob):
                return meta
        annotation = get_args(annotation)[0]
    return None


# --- values ------------------------------------------------------------------------------------------


class UnknownKnobError(ValueError):
    """A path that names no knob; carries the nearest valid one."""

    def __init__(self, path: str, known: Iterable[str]) -> None:
        known = sorted(set(known))
        # A right last word under a wrong parent is the commonest slip.
        near = [k for k in known if k.rsplit(".", 1)[-1] == path.rsplit(".", 1)[-1]][:1]
        near = near or difflib.get_close_matches(path, known, n=1, cutoff=0.5)
        hint = f"; did you mean '{near[0]}'?" if near else f"; the keys here are {', '.join(known)}"
        super().__init__(f"there is no knob '{path}'{hint}")
        self.path = path
        self.nearest = near[0] if near else None


def allowed_here(given: str, known: Iterable[str]) -> str:
    """What to say after an unknown key: the nearest one, and all."""
    known = list(known)
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    return (f"; did you mean '{near[0]}'?" if near else ".") + f" Allowed here: {', '.join(known)}"


def get(config: Config, path: str) -> Any:
    """The value at a knob path. Raises UnknownKnobError."""
    value: Any = config
    for i, key in enumerate(path.split(".")):
        if not isinstance(value, Config) or key not in type(value).model_fields:
            raise UnknownKnobError(path, _paths(config, ".".join(path.split(".")[:i])))
        value = getattr(value, key)
    return value


def qualified(config: Config, path: str) -> str:
    """The name that `path` has in this config: `model.position.theta` → `model.position[rope].theta`."""
    node: Any = config
    name, keys = "", path.split(".")
    for i, key in enumerate(keys):
        name, node = f"{name}.{key}" if name else key, getattr(node, key, None)
        if i + 1 < len(keys) and is_variant(type(node)):
            name += f"[{kind_of(type(node))}]"
    return name


def _paths(config: Config, prefix: str) -> list[str]:
    return sorted({k.path for k in knobs(type(config))}) or [prefix]


def replace(config: C, changes: Mapping[str, Any]) -> C:
    """A copy with some knobs set, validated as a whole.

    A change to a variant's kind starts from that variant's defaults; a plain path such as
    `model.position.theta` works when the variant present has it.
    Raises UnknownKnobError for a path that names no knob, pydantic.ValidationError for a wrong value.
    """
    data = config.model_dump()
    # Parents first, so that {position: rope, position.theta: 1e5} works in any order.
    for path, value in sorted(changes.items(), key=lambda item: item[0].count(".")):
        keys = path.split(".")
        node: Any = data
        for key in keys[:-1]:
            if isinstance(node, dict) and isinstance(node.get(key), str):
                node[key] = {"kind": node[key]}  # a variant named just before by another change
            if not isinstance(node, dict) or key not in node:
                raise UnknownKnobError(path, _paths(config, path))
            node = node[key]
        # A variant's own settings may be absent from the dump when its kind was changed just now.
        known = isinstance(node, dict) and (keys[-1] in node or "kind" in node)
        if not known or not any(k.path == path or k.path.startswith(path + ".") for k in knobs(type(config))):
            raise UnknownKnobError(path, _paths(config, path))
        plain = value.model_dump() if isinstance(value, BaseModel) else value
        old = node.get(keys[-1])
        # {buckets: 64} without a kind amends the variant that is there.
        if isinstance(plain, dict) and isinstance(old, dict) and "kind" in old and "kind" not in plain:
            plain = {**old, **plain}
        node[keys[-1]] = plain
    return type(config).model_validate(data)


def parts(config: Config) -> Iterator[Config]:
    """A config and every config inside it, depth first."""
    yield config
    for key in type(config).model_fields:
        value = getattr(config, key)
        if isinstance(value, Config):
            yield from parts(value)


def breaches(config: Config, path: str = "") -> dict[str, str]:
    """What breaks `rules: strict` below a config: path → why. A part that says so speaks for all in it."""
    if config.breaks_strict is not None:
        return {path: config.breaks_strict}
    found: dict[str, str] = {}
    for key in type(config).model_fields:
        value = getattr(config, key)
        if isinstance(value, Config):
            found |= breaches(value, f"{path}.{key}" if path else key)
    return found


def differences(a: Config, b: Config, path: str = "") -> dict[str, tuple[Any, Any]]:
    """The proof that two configs differ in what is claimed and in nothing else: path → (a, b).

    Where two variants differ in kind the whole variants are given at the parent path.
    """
    if a == b:
        return {}
    if type(a) is not type(b):
        return {path: (a, b)}
    found: dict[str, tuple[Any, Any]] = {}
    for key in type(a).model_fields:
        left, right = getattr(a, key), getattr(b, key)
        here = f"{path}.{key}" if path else key
        if isinstance(left, Config) and isinstance(right, Config):
            found |= differences(left, right, here)
        elif left != right:
            found[here] = (left, right)
    return found


def show(value: Any) -> str:
    """A level as people write it: `rope`, `rope(theta=500000)`, `false`, `0.001`."""
    if isinstance(value, BaseModel):
        return show(value.model_dump())
    if isinstance(value, Mapping) and "kind" in value:
        cls_defaults = {k: v for k, v in value.items() if k != "kind"}
        inner = ", ".join(f"{k}={show(v)}" for k, v in cls_defaults.items())
        return f"{value['kind']}({inner})" if inner else str(value["kind"])
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={show(v)}" for k, v in value.items())
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(show(v) for v in value)
    return str(value)


def label(value: Any) -> str:
    """A level as short as it can be, for names of arms and axes."""
    return value.short() if isinstance(value, Config) else show(value)


def canonical(value: Any) -> Any:
    """Plain data in which two configs are equal exactly when they mean the same, for hashing.

    Defaults are left out, so a knob added later does not change the identity of finished trials;
    a variant keeps its kind even where that is the class's default.
    """
    if isinstance(value, Config):
        kept = {}
        for key, field in type(value).model_fields.items():
            item = getattr(value, key)
            if key == "kind" or item != field.get_default(call_default_factory=True):
                kept[key] = canonical(item)
        return kept
    if isinstance(value, Mapping):
        return {str(k): canonical(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(v) for v in value]
    return value


# --- the search space --------------------------------------------------------------------------------


class Suggests(Protocol):
    """The part of an Optuna trial that drawing needs."""

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...
    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...


def searchable(domain: Domain) -> bool:
    """Whether a sampler can draw from the domain."""
    if isinstance(domain, Number):
        return domain.low is not None and domain.high is not None
    return not isinstance(domain, Free)


def suggest(trial: Suggests, config: C, vary: Iterable[str] | Mapping[str, Domain]) -> C:
    """Draw the named knobs from their domains, or from the narrower ones given, through an Optuna trial.

    Define-by-run: names are qualified by variant, so a variant's own settings are separate dimensions that
    exist only where it was chosen; one that is asked for by path is drawn only where its variant is.
    Raises UnknownKnobError, and ValueError for a knob that cannot be searched.
    """
    infos = {info.name: info for info in knobs(type(config))}
    paths = {info.path for info in infos.values()}
    for path in sorted(vary, key=lambda path: path.count(".")):  # parents first
        if path not in paths:
            raise UnknownKnobError(path, paths)
        info = infos.get(qualified(config, path))
        if info is not None:
            domain = vary[path] if isinstance(vary, Mapping) else info.domain
            config = replace(config, {path: _draw(trial, dataclasses.replace(info, domain=domain))})
    return config


def _draw(trial: Suggests, info: KnobInfo) -> Any:
    domain = info.domain
    if not searchable(domain):
        raise ValueError(f"knob '{info.path}' ({domain}) has no bounded domain; give its levels as factors")
    if isinstance(domain, Choice):
        drawn = trial.suggest_categorical(info.name, [plain(level) for level in domain.levels])
        return next(level for level in domain.levels if plain(level) == drawn)
    if isinstance(domain, Number):
        assert domain.low is not None
        assert domain.high is not None
        if domain.integer:
            return trial.suggest_int(info.name, int(domain.low), int(domain.high), log=domain.log)
        return trial.suggest_float(info.name, domain.low, domain.high, log=domain.log)
    assert isinstance(domain, Variants)
    kind = trial.suggest_categorical(info.name, list(domain.levels))
    if kind is None:
        return None
    member = next(c for c in domain.classes if kind_of(c) == kind)
    inside: dict[str, Any] = {"kind": kind}
    for inner in knobs(member, info.path, f"{info.name}[{kind}]"):
        if searchable(inner.domain) and inner.path.count(".") == info.path.count(".") + 1:
            inside[inner.path.rsplit(".", 1)[-1]] = _draw(trial, inner)
    return inside


def plain(level: Any) -> Any:
    """A level as Optuna stores a category: itself where it is plain, else as people write it."""
    return level if level is None or isinstance(level, bool | int | float | str) else show(level)


def parameters(config: Config, paths: Iterable[str]) -> dict[str, Any]:
    """The Optuna parameters that `suggest` would have to draw to give `config`: qualified name → value."""
    infos = {info.name: info for info in knobs(type(config))}
    found: dict[str, Any] = {}
    for path in paths:
        info = infos.get(qualified(config, path))
        if info is None or not searchable(info.domain):
            continue  # a setting of a variant that is not there
        value = get(config, path)
        if isinstance(value, Config):
            kind = kind_of(type(value))
            found[info.name] = kind
            for inner in knobs(type(value), path, f"{info.name}[{kind}]"):
                if searchable(inner.domain) and inner.path.count(".") == path.count(".") + 1:
                    found[inner.name] = get(config, inner.path)
        else:
            found[info.name] = value
    return found
