"""The JSON Schema of `findings.json`, from the types that make it; `findings.schema.json` is its copy."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from ablate.analysis import findings
from ablate.analysis.findings import Findings

VERSION = 1  # raised when a field is renamed, removed or changes its meaning; new fields leave it


def schema() -> dict[str, Any]:
    """Every fact of a report: numbers with intervals, verdicts with reasons, and where they come from."""
    described = TypeAdapter(Findings).json_schema(mode="serialization")
    for name, part in {**described["$defs"], Findings.__name__: described}.items():
        for field, text in meanings(vars(findings)[name]).items():
            part["properties"][field]["description"] = text
    properties = {"schema": {"const": VERSION, "description": "the version of this format"}}
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **described,
        "title": "findings.json of ablate",
        "properties": {**properties, **described["properties"]},
        "required": ["schema", *described["required"]],
    }


def meanings(kind: type) -> dict[str, str]:
    """field → the docstring below it: what it means, and its unit."""
    (body,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(body.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
