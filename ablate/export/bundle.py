"""The sources that a model needs, as a flat folder of modules with relative imports.

Taken from the package itself, so that an exported model runs the very code it was trained with and a new
variant needs no second edit.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

PACKAGE = "ablate"


def bundle(root: str) -> dict[str, str]:
    """File name → text, for a module of the package and all that it imports from the package."""
    found: dict[str, str] = {}
    waiting = [root]
    while waiting:
        module = waiting.pop()
        if _file(module) in found:
            continue
        text, needs = _relative(_source(module))
        found[_file(module)] = text
        waiting += needs
    return found


def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    assert spec.origin is not None, module
    return Path(spec.origin).read_text(encoding="utf-8")


def _file(module: str) -> str:
    return f"{_flat(module)}.py"


def _flat(module: str) -> str:
    """`ablate.model.bert` → `model_bert`; the modelling file keeps its own name, by which it is asked for."""
    parts = module.split(".")[1:]
    return parts[-1] if parts[0] == "export" else "_".join(parts)


def _relative(text: str) -> tuple[str, list[str]]:
    """A module's text with relative imports and without those for type checkers; the modules it needs."""
    lines = text.splitlines(keepends=True)
    tree = ast.parse(text)
    blocks = [node for node in tree.body if isinstance(node, ast.If) and _for_checkers(node)]
    for block in blocks:
        assert block.end_lineno is not None
        for i in range(block.lineno - 1, block.end_lineno):
            lines[i] = ""
    skipped = {id(inner) for block in blocks for inner in ast.walk(block)}
    needs: list[str] = []
    for node in ast.walk(tree):
        if id(node) in skipped or not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        if node.module.split(".")[0] == PACKAGE:
            old = f"from {node.module} import"
            assert old in lines[node.lineno - 1], f"an import that cannot be moved: {lines[node.lineno - 1]}"
            lines[node.lineno - 1] = lines[node.lineno - 1].replace(old, f"from .{_flat(node.module)} import")
            needs.append(node.module)
    return "".join(lines), needs


def _for_checkers(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
