"""The study file: its schema, and a loader whose errors name file, line, key and the way out.

A study file is written by hand, so everything wrong with it is found before anything starts and told at
once. What is valid is decided by the same types that build the model (`Recipe`).
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field, ValidationError

from ablate import yamltext
from ablate.budget import Budget
from ablate.design.config import BudgetText, Design
from ablate.design.values import BUDGET
from ablate.evaluation.config import EvaluateSpec
from ablate.knobs import Config, UnknownKnobError, allowed_here, get, keys_beside, knobs, replace
from ablate.recipe import PRESETS, Recipe, preset
from ablate.records.paths import told_path
from ablate.scheduling.executors import ExecutorSpec, LocalSpec, Places
from ablate.tracking.config import TrackSpec


class Outcome(Config):
    """The one quantity the study decides on, and the largest difference that would not matter."""

    model_config = ConfigDict(allow_inf_nan=False)

    metric: str = Field(pattern=r"^[a-z0-9_-]+/[A-Za-z0-9_.-]+$")
    margin: float = Field(gt=0)
    direction: Literal["maximize", "minimize"] | None = None
    spread: float | None = Field(None, gt=0)  # stated SD of within-block differences, for `plan`

    @property
    def higher_is_better(self) -> bool:
        if self.direction is not None:
            return self.direction == "maximize"
        return not (self.metric.endswith("loss") or self.metric.startswith("cost/"))


class Tradeoff(Outcome):
    """A second outcome of a search: the report shows the front between the two."""

    margin: float | None = Field(None, gt=0)  # type: ignore[assignment]


class RunSpec(Config):
    """Where trials run."""

    model_config = ConfigDict(allow_inf_nan=False)

    executor: ExecutorSpec = LocalSpec()
    workers: int | None = Field(None, ge=1, le=1024)  # trials at once
    # None: `local` takes what the machine has, `ray` and `slurm` ask for one; 1 insists, 0 trains on CPUs.
    gpus_per_trial: int | None = Field(None, ge=0, le=1)
    threads: int | None = Field(None, ge=1, le=512)  # compute threads of a trial on a CPU
    memory_gib: float | None = Field(None, gt=0)  # of a trial with all its children; beyond it is ended
    pin: bool = True  # CPU trials that run side by side, each to cores of its own
    storage: str | None = None  # None: SQLite below the run folder; or an SQLAlchemy URL
    checkpoint_seconds: float = Field(60.0, gt=0)
    peak_flops: float | None = Field(None, gt=0)  # what MFU is a share of; None: a product, measured
    rate_per_hour: float | None = Field(None, ge=0)  # money per device-hour, for `plan` and the report
    watts: float | None = Field(None, ge=0)  # drawn per device, for the energy that `plan` states

    def places(self, workers: int | None = None) -> Places:
        """What trials ask of the machines; `workers` overrides the file's."""
        return Places(
            workers or self.workers,
            self.gpus_per_trial,
            self.threads,
            self.memory_gib,
            self.pin,
            at_most=workers is None and self.gpus_per_trial is None,
        )


class StudyFile(Config):
    """What a study YAML holds."""

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    title: str = ""
    question: str = Field(min_length=1)
    baseline: str | dict[str, Any]
    budget: BudgetText
    charge: Literal["training", "occupied"] = "training"
    rules: Literal["strict", "open"] = "strict"  # strict: nothing pretrained in the pipeline, as in the paper
    design: Design
    outcome: Outcome
    tradeoff: Tradeoff | None = None
    alpha: float = Field(0.05, gt=0, lt=0.5)
    evaluate: EvaluateSpec = Field(default_factory=EvaluateSpec)
    track: TrackSpec = Field(default_factory=TrackSpec)
    run: RunSpec = RunSpec()


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong with a study file."""

    line: int
    key: str
    message: str


class StudyError(ValueError):
    """Everything wrong with a study file, one `file:line: key: message` per line."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        self.path = path
        self.problems = sorted(set(problems))
        super().__init__(
            "\n".join(f"{path}:{p.line}: {p.key + ': ' if p.key else ''}{p.message}" for p in self.problems)
        )


@dataclass(frozen=True)
class Study:
    """A study file that was read and resolved: its baseline is a whole recipe."""

    path: Path
    name: str
    file: StudyFile
    baseline: Recipe
    budget: Budget
    sha256: str
    lines: Mapping[tuple[Any, ...], int] = field(default_factory=dict, repr=False, compare=False)
    source: str = ""  # the path that reproduces it, see `told_path`

    @classmethod
    def load(cls, path: Path | str) -> Study:
        """Read a study file. Raises StudyError with everything that is wrong with it."""
        path = Path(path)
        raw, lines, digest = _read(path)
        study, found = _resolve(path, raw, lines, digest)
        if study is not None:
            from ablate.design.arms import problems  # arms need a study; their problems belong to its file

            told = problems(study) + _unproduced_outcome(study)
            found += [Problem(study.line(loc), _dotted(loc), message) for loc, message in told]
        if found or study is None:
            raise StudyError(path, found)
        return study

    def line(self, loc: tuple[Any, ...]) -> int:
        """The line of a key, or of the nearest parent that is written in the file."""
        return _line(self.lines, loc)


def _dotted(loc: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in loc)


def _line(lines: Mapping[tuple[Any, ...], int], loc: tuple[Any, ...]) -> int:
    for end in range(len(loc), -1, -1):
        if loc[:end] in lines:
            return lines[loc[:end]]
    return 1


# --- YAML with line numbers --------------------------------------------------------------------------


def _read(path: Path) -> tuple[dict[str, Any], dict[tuple[Any, ...], int], str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StudyError(path, [Problem(1, "", _missing(path))]) from None
    except IsADirectoryError:
        told = "is a folder; name the study's file, a .yaml that has `question`, `budget` and `design`"
        raise StudyError(path, [Problem(1, "", told)]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(path, [Problem(1, "", f"cannot be read as UTF-8 text: {error}")]) from error
    raw, lines = _mapping(path, text, "a study file is a mapping of keys (name, question, baseline, …)")
    return raw, lines, hashlib.sha256(text.encode()).hexdigest()


def _mapping(path: Path, text: str, rule: str) -> tuple[dict[str, Any], dict[tuple[Any, ...], int]]:
    """The keys of a file and their lines. Raises StudyError where it is no mapping, with each key once."""
    try:
        node, raw = yamltext.compose(text), yamltext.parse(text)
    except yamltext.YamlTextError as error:
        raise StudyError(path, [Problem(error.line, "", str(error))]) from error
    if not isinstance(raw, dict) or not isinstance(node, yaml.MappingNode):
        raise StudyError(path, [Problem(1, "", rule)])
    lines: dict[tuple[Any, ...], int] = {(): 1}
    found = list(_walk(node, (), lines))
    if found:
        raise StudyError(path, found)
    return raw, lines


def _missing(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else Path("studies")
    near = difflib.get_close_matches(path.name, [p.name for p in folder.glob("*.yaml")], n=1, cutoff=0.4)
    return f"there is no such file; did you mean '{folder / near[0]}'?" if near else "there is no such file"


def _walk(
    node: yaml.Node,
    loc: tuple[Any, ...],
    lines: dict[tuple[Any, ...], int],
    above: tuple[yaml.Node, ...] = (),
) -> Iterator[Problem]:
    if any(node is one for one in above):
        yield Problem(_line(lines, loc), _dotted(loc), "an alias of what it stands in; write it out")
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = yamltext.parse(key.value) if key.tag.endswith(":int") else key.value
            here = (*loc, name)
            if here in lines:
                yield Problem(
                    key.start_mark.line + 1,
                    _dotted(here),
                    f"given twice (first on line {lines[here]}); keep one",
                )
            lines[here] = key.start_mark.line + 1
            yield from _walk(value, here, lines, (*above, node))
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            lines[(*loc, i)] = value.start_mark.line + 1
            yield from _walk(value, (*loc, i), lines, (*above, node))


# --- resolving ---------------------------------------------------------------------------------------


def _resolve(
    path: Path, raw: dict[str, Any], lines: dict[tuple[Any, ...], int], digest: str
) -> tuple[Study | None, list[Problem]]:
    """The study and what is wrong with its own keys, mended so that its arms can be checked, too."""
    found: list[Problem] = []

    def tell(loc: tuple[Any, ...], message: str) -> None:
        found.append(Problem(_line(lines, loc), _dotted(loc), message))

    file: StudyFile | None = None
    try:
        file = StudyFile.model_validate(raw)
    except ValidationError as error:
        for loc, message in explain(error, StudyFile):
            tell(loc, message)
        file = _mended(raw, error)
    baseline = _baseline(raw.get("baseline"), path.parent, tell) if "baseline" in raw else None
    if file is None or baseline is None:
        return None, found
    budget = Budget.parse(file.budget)
    name, source = file.name or path.stem, told_path(path)
    return Study(path, name, file, baseline, budget, digest, lines, source), found


# What stands for a required key that is missing or wrong while the rest of the file is checked.
_STAND_INS: dict[str, Any] = {
    "question": "?",
    "baseline": "crammed-small",
    "budget": "1 steps",
    "design": {},
    "outcome": {"metric": "eval/mlm_loss", "margin": 1.0},
}


def _mended(raw: dict[str, Any], error: ValidationError) -> StudyFile | None:
    """The file as it would be without its mistakes: the nearest level, the default, or nothing instead."""
    data = copy.deepcopy(raw)
    for e in error.errors(include_url=False):
        loc = _plain_loc(e)
        holder: Any = data
        for part in loc[:-1]:
            try:
                holder = holder[part]
            except (KeyError, IndexError, TypeError):
                holder = None
        if isinstance(holder, dict):
            near = difflib.get_close_matches(str(e.get("input")), _allowed(e), n=1, cutoff=0.5)
            holder.pop(loc[-1], None)
            holder |= {loc[-1]: near[0]} if near else {}
    data["outcome"] = _STAND_INS["outcome"] | (
        data["outcome"] if isinstance(data.get("outcome"), dict) else {}
    )
    try:
        return StudyFile.model_validate(_STAND_INS | data)
    except ValidationError:
        return None  # what was told already must be mended first


def _baseline(value: Any, folder: Path, tell: Callable[[tuple[Any, ...], str], None]) -> Recipe | None:
    """The baseline recipe: a preset, a path to a recipe file, or {preset|path, set}."""
    loc: tuple[Any, ...] = ("baseline",)
    changes: dict[str, Any] = {}
    if isinstance(value, dict):
        unknown = set(value) - {"preset", "path", "set"}
        if unknown or ("preset" in value) == ("path" in value):
            tell(loc, "a baseline is a preset's name, a path, or {preset: …, set: {…}} / {path: …, set: {…}}")
            return None
        changes = value.get("set") or {}
        key = "preset" if "preset" in value else "path"
        loc, value = (*loc, key), value[key]
    if not isinstance(value, str):
        tell(loc, f"the name of a preset ({', '.join(PRESETS)}) or the path of a recipe file; got {value!r}")
        return None
    recipe = named_recipe(value, folder, loc, tell)
    if recipe is None:
        return None
    if not isinstance(changes, dict):
        tell(("baseline", "set"), f"a mapping of knob paths to values; got {changes!r}")
        return None
    # Parents first, so that {position.theta: 1e5, position: rope} works in any order, as in a group.
    for knob, level in sorted(changes.items(), key=lambda item: str(item[0]).count(".")):
        changed = try_replace(recipe, {str(knob): level}, ("baseline", "set", knob), tell)
        recipe = changed or recipe
    return recipe


def named_recipe(
    value: str, folder: Path, loc: tuple[Any, ...], tell: Callable[[tuple[Any, ...], str], None]
) -> Recipe | None:
    """A preset, or a recipe file in a folder; after telling what is wrong, the preset meant or None."""
    if value in PRESETS:
        return preset(value)
    file = folder / value
    if not value.endswith((".yaml", ".yml")):
        near = difflib.get_close_matches(value, PRESETS, n=1, cutoff=0.4)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        tell(loc, f"there is no preset '{value}'{hint} The presets are {', '.join(PRESETS)}")
        return preset(near[0]) if near else None  # the arms are checked against the one that was meant
    try:
        raw, lines = _mapping(file, file.read_text(encoding="utf-8"), _RECIPE_RULE)
        return Recipe.model_validate(raw)
    except (OSError, UnicodeDecodeError) as error:
        tell(loc, f"the recipe file {file} cannot be read: {error}")
    except StudyError as error:
        for line in str(error).splitlines():
            tell(loc, line)
    except ValidationError as error:
        for inner, message in explain(error, Recipe):
            tell(loc, f"{file}:{_line(lines, inner)}: {_dotted(inner)}: {message}")
    return None


_RECIPE_RULE = f"a recipe file is a mapping of {', '.join(Recipe.model_fields)}, each a mapping of knobs"


def try_replace(
    recipe: Recipe,
    changes: Mapping[str, Any],
    loc: tuple[Any, ...],
    tell: Callable[[tuple[Any, ...], str], None],
) -> Recipe | None:
    """The recipe with knobs set, or None after telling what is wrong."""
    changes = _spelled_out(changes)
    try:
        return replace(recipe, changes)
    except UnknownKnobError as error:
        tell(loc, str(error))
    except ValidationError as error:
        for inner, message in explain(error, Recipe):
            given = {k: v for k, v in changes.items()}
            said = f"{_dotted(inner)}: {message}" if _dotted(inner) not in given else message
            tell(loc, said)
    return None


def _spelled_out(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes with each section by its knobs: {model: {layers: 3}} sets the layers and leaves the width."""
    paths = {info.path for info in knobs(Recipe)}
    found: dict[str, Any] = {}
    for path, level in changes.items():
        section = path not in paths and any(known.startswith(f"{path}.") for known in paths)
        if section and isinstance(level, dict):
            found |= _spelled_out({f"{path}.{key}": value for key, value in level.items()})
        else:
            found[path] = level
    return found


# --- words for pydantic's errors ---------------------------------------------------------------------


def explain(error: ValidationError, root: type[Config]) -> list[tuple[tuple[Any, ...], str]]:
    """Each error as (location, message): what is allowed, what was given, the nearest name."""
    return [(_plain_loc(e), _explain(e, root)) for e in error.errors(include_url=False)]


# What pydantic puts into a location for a member of a union; people did not write those.
_MEMBER = re.compile(r"str|int|[a-z-]+\[.*\]|constrained-[a-z]+", re.DOTALL)


def _plain_loc(e: Any) -> tuple[Any, ...]:
    """The keys that lead to an error; an unknown key is always somebody's own."""
    loc = e["loc"]
    own = len(loc) - 1 if e["type"] == "extra_forbidden" else len(loc)
    return tuple(
        part
        for i, part in enumerate(loc)
        if i >= own or not (isinstance(part, str) and _MEMBER.fullmatch(part))
    )


def _explain(e: Any, root: type[Config]) -> str:
    kind, given, ctx = e["type"], e.get("input"), e.get("ctx", {})
    if kind == "extra_forbidden":
        known = keys_beside(root, e["loc"])
        return f"unknown key{allowed_here(str(e['loc'][-1]), known)}" if known else _owned(e["loc"], root)
    if kind == "missing":
        return "this key is required"
    if kind == "union_tag_invalid":
        allowed = [tag.strip(" '") for tag in ctx.get("expected_tags", "").split(",")]
        return _one_of(allowed, ctx.get("tag"))
    if kind in ("literal_error", "enum"):
        return _one_of(_allowed(e), given)
    if kind == "finite_number":
        return f"should be a finite number; got {given!r}{_INSTEAD.get(str(e['loc'][-1]), '')}"
    message = e["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{message}; got {given!r}" if "got" not in message else message


def _owned(loc: tuple[Any, ...], root: type[Config]) -> str:
    """A setting of another variant: which ones have it."""
    *parent, variant, key = map(str, loc)
    names = (info.name for info in knobs(root) if info.path == ".".join([*parent, key]))
    owners = [name.removesuffix(f"].{key}").rpartition("[")[2] for name in names]
    return f"unknown key; {variant} has no {key}, {' and '.join(owners)} has" if owners else "unknown key"


# What to write where somebody wrote infinity or nan.
_INSTEAD = {
    "margin": "; name the largest difference that would not matter",
    "spread": "; leave it out where the standard deviation is not known",
}


def _allowed(e: Any) -> list[str]:
    """The levels that pydantic's sentence names: "'a', 'b' or 'c'"."""
    expected = e.get("ctx", {}).get("expected", "") if e["type"] in ("literal_error", "enum") else ""
    return [part.strip(" '") for chunk in expected.split(" or ") for part in chunk.split(",")]


def _one_of(allowed: list[str], given: Any) -> str:
    near = difflib.get_close_matches(str(given), allowed, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"one of {', '.join(allowed)}; got {given!r}{hint}"


def _unproduced_outcome(study: Study) -> list[tuple[tuple[Any, ...], str]]:
    """An outcome that no trial of this study will measure is found now, not after the last trial."""
    known = [*ALWAYS_MEASURED, *study.file.evaluate.metrics()]
    told: list[tuple[tuple[Any, ...], str]] = []
    for key, outcome in (("outcome", study.file.outcome), ("tradeoff", study.file.tradeoff)):
        if outcome is None or outcome.metric in known:
            continue
        near = difflib.get_close_matches(outcome.metric, known, n=1, cutoff=0.4)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        rule = f"no trial of this study measures '{outcome.metric}'{hint}"
        told.append(((key, "metric"), f"{rule} Measured: {', '.join(known)}"))
    return told


ALWAYS_MEASURED = ("eval/mlm_loss", "pretrain/loss", "throughput/tokens_per_second")


def level_of(study: Study, path: str) -> Any:
    """The baseline's level of a factor (the study's budget for the factor `budget`)."""
    return str(study.budget) if path == BUDGET else get(study.baseline, path)


# --- JSON Schema -------------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """JSON Schema of study files, with every knob and its levels, so that editors complete and check them."""
    from ablate.knobs import Choice, Number
    from ablate.knobs import Variants as VariantDomain

    def levels(domain: Any) -> dict[str, Any]:
        if isinstance(domain, VariantDomain):
            return {"anyOf": [{"enum": list(domain.levels)}, {"type": "object"}]}
        if isinstance(domain, Choice):
            return {"enum": list(domain.levels)}
        if isinstance(domain, Number):
            bounds = {"minimum": domain.low, "maximum": domain.high}
            # YAML 1.1 reads 1e-3 as text, which the loader turns into the number it means.
            number = {"type": "integer" if domain.integer else "number"}
            return {
                "anyOf": [
                    number | {k: v for k, v in bounds.items() if v is not None},
                    {"type": ["string", "null"]},
                ]
            }
        return {}

    infos = knobs(Recipe)
    value = {info.path: {"description": info.knob.meaning, **levels(info.domain)} for info in infos}
    value[BUDGET] = {"description": "the budget itself as a factor; `0 steps` is an arm without pretraining"}
    found = StudyFile.model_json_schema()
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["title"] = "ablate study"
    design = found["$defs"]["Design"]["properties"]
    factors = {
        path: {"description": level["description"], "type": "array",
               "items": {k: v for k, v in level.items() if k != "description"}}
        for path, level in value.items()
    }  # fmt: skip
    design["factors"] |= {"properties": factors, "additionalProperties": False}
    design["groups"]["additionalProperties"] = {
        "type": "object",
        "properties": value,
        "additionalProperties": False,
    }
    return found
