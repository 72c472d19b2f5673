"""Names as one line of printable text: what a table's row can carry, and what `verify` finds again."""

from __future__ import annotations

import re
import unicodedata

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(name: str) -> str:
    """The name with control characters and line separators written out: `a\\nb`, `\\x07`, `\\u2028`.

    Two names stay two names, which replacing by spaces would not keep.
    """
    return name if name.isprintable() else "".join(map(_written, name))


def _written(c: str) -> str:
    if unicodedata.category(c) not in ("Cc", "Zl", "Zp", "Cs"):
        return c
    return _NAMED.get(c) or (f"\\x{ord(c):02x}" if ord(c) < 0x100 else f"\\u{ord(c):04x}")


def one_line(text: str) -> str:
    """Prose on one line: runs of white space become a space, other control characters are written out."""
    return visible(re.sub(r"\s+", " ", text))


def in_markdown(text: str, marks: str, ampersand: str = "&") -> str:
    """Text that Markdown shows as it was written; `marks` and what `ampersand` matches would not be there."""
    text = re.sub(ampersand, "&amp;", text).replace("<", "&lt;")
    return re.sub(f"([{re.escape(marks)}])", r"\\\1", text)
