"""YAML as people write it: whatever is wrong in it is one kind of error, with its line. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from yaml import Node


class YamlTextError(ValueError):
    """Text that is no YAML, with the line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _Told:
    """A value that Python refuses (2026-13-45 is a date to YAML) is an error of the file, with its place."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)  # type: ignore[misc]
        except (ValueError, AttributeError) as error:
            said = f"{error}; put text between quotes"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark) from error


class _Loader(_Told, yaml.SafeLoader):
    pass


class _FastLoader(_Told, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    pass


def parse(text: str, *, fast: bool = False) -> Any:
    """What the text says. Raises YamlTextError.

    `fast` is libyaml where there is one: two thousand levels in 0.02 s instead of 0.14 s, in other words.
    """
    return _told(lambda: yaml.load(text, _FastLoader if fast else _Loader))


def compose(text: str) -> Node | None:
    """The tree of nodes, which know their lines. Raises YamlTextError."""
    found: Node | None = _told(lambda: yaml.compose(text, Loader=yaml.SafeLoader))
    return found


def _told(read: Any) -> Any:
    try:
        return read()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or " ".join(str(error).split())
        raise YamlTextError(mark.line + 1 if mark else 1, f"not valid YAML: {what}") from error
    except RecursionError:
        raise YamlTextError(1, "not valid YAML here: it is nested too deeply") from None
