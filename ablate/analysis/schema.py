"""The JSON Schema of `findings.json`, from the types that make it; `findings.schema.json` is its copy."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from ablate.analysis.findings import Findings

VERSION = 1  # raised when a field is renamed, removed or changes its meaning; new fields leave it


def schema() -> dict[str, Any]:
    """Every fact of a report: numbers with intervals, verdicts with reasons, and where they come from."""
    described = TypeAdapter(Findings).json_schema(mode="serialization")
    properties = {"schema": {"const": VERSION, "description": "the version of this format"}}
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **described,
        "title": "findings.json of ablate",
        "properties": {**properties, **described["properties"]},
        "required": ["schema", *described["required"]],
    }
