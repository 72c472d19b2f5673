"""An inspection for a terminal, and as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ablate.data.inspection import Inspection, Step

if TYPE_CHECKING:
    from rich.console import RenderableType

BAR = 40  # characters of the longest bar of a histogram
SHOWN = 3  # examples dropped per stage in a terminal; the page has all


def share(part: float, whole: float) -> str:
    """A share in percent, with more digits near none and near all; a share of nothing is a dash."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if part in (0, whole) or 10 <= percent <= 99:
        return f"{percent:.0f} %"
    return f"{percent:.2g} %" if percent < 10 else f"{min(percent, 99.99):.4g} %"


def reasons(step: Step) -> str:
    """Why documents were dropped, commonest first."""
    return "; ".join(f"{why}: {count:,}" for why, count in sorted(step.why.items(), key=lambda i: -i[1]))


def told(step: Step) -> str:
    """What else a stage says of itself."""
    return "; ".join(f"{key.replace('_', ' ')}: {_number(value)}" for key, value in step.told.items())


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def bars(counts: Mapping[Any, int]) -> list[tuple[str, int, float]]:
    """(label, count, share of the largest) of a histogram."""
    most = max(counts.values(), default=1)
    return [(f"{key:,}" if isinstance(key, int) else key, n, n / most) for key, n in counts.items()]


def one_line(text: str, characters: int) -> str:
    """The beginning of a text on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= characters else flat[: characters - 1] + "…"


# --- terminal ----------------------------------------------------------------------------------------


def terminal(found: Sequence[Inspection]) -> RenderableType:
    """All inspections, one below the other, and a table of them first where there are several."""
    from rich.console import Group

    blocks: list[RenderableType] = [_compared(found)] if len(found) > 1 else []
    for one in found:
        blocks += _sections(one)
    return Group(*blocks)


def _table(title: str, *columns: str, left: Sequence[int] = (0,)) -> Any:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i in left else "right")
    return table


def _compared(found: Sequence[Inspection]) -> RenderableType:
    table = _table("Levels", "", "documents read", "kept", "", "tokens", "rows", "overlapping examples")
    for one in found:
        read = one.steps[0].documents_in
        overlapping = sum(overlap.touched for overlap in one.overlaps)
        table.add_row(
            _plain(one.name), f"{read:,}", f"{one.documents:,}", share(one.documents, read),
            f"{one.tokens:,}", f"{one.rows:,}", f"{overlapping:,}" if one.overlaps else "not looked for",
        )  # fmt: skip
    return table


def _sections(one: Inspection) -> list[RenderableType]:
    from rich.markup import escape

    title = f"{one.name}: {one.source} ({one.licence}), {one.tokenizer}, {one.vocabulary:,} tokens"
    stages = _table(
        title, "stage", "documents in", "out", "", "characters out", "why, and what else", left=(0, 5)
    )
    for step in one.steps:
        why = "; ".join(filter(None, (reasons(step), told(step))))
        characters = "" if step.characters_out is None else f"{step.characters_out:,}"
        stages.add_row(
            step.name, f"{step.documents_in:,}", f"{step.documents_out:,}",
            share(step.documents_out, step.documents_in), characters, escape(why),
        )  # fmt: skip
    blocks: list[RenderableType] = [stages]
    if one.overlaps:
        blocks.append(_overlap_table(one))
    blocks += _examples(one)
    lengths = _table("Documents by length", "tokens from", "documents", "", left=(2,))
    for label, count, part in bars(one.lengths):
        lengths.add_row(label, f"{count:,}", "█" * round(BAR * part) or "▏")
    return [*blocks, lengths, escape(packing(one)), *(f"! {escape(line)}" for line in one.warnings), ""]


def packing(one: Inspection) -> str:
    """How documents fill rows, in a sentence."""
    return (
        f"{one.tokens:,} tokens in {one.rows:,} rows of {one.length}; {share(one.packed, 1)} of the places "
        f"filled; {one.across_rows:,} of {one.documents:,} documents run on into the next row; "
        f"{one.truncated_tokens:,} tokens truncated, {one.dropped_tokens:,} left in the last partial row"
    )


def _overlap_table(one: Inspection) -> RenderableType:
    table = _table(
        "Overlap", "evaluation set", "examples", "touched", "", "documents", "too short to look for"
    )
    for line in one.overlaps:
        table.add_row(
            _plain(line.name), f"{line.examples:,}", f"{line.touched:,}", share(line.touched, line.examples),
            f"{line.documents:,}", f"{line.too_short:,}",
        )  # fmt: skip
    return table


def _examples(one: Inspection) -> list[RenderableType]:
    table = _table("Dropped, for example", "stage", "why", "document", left=(0, 1, 2))
    for report in one.reports:
        for example in report["dropped_examples"][:SHOWN]:
            table.add_row(report["stage"], _plain(example["reason"]), _plain(one_line(example["text"], 110)))
    return [table] if table.row_count else []


def _plain(text: str) -> Any:
    """Text of a corpus, which may hold brackets that would be markup."""
    from rich.text import Text

    return Text(text)


# --- page --------------------------------------------------------------------------------------------


def page(found: Sequence[Inspection], title: str) -> str:
    """One HTML file that loads nothing."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loaders = [PackageLoader("ablate.data"), PackageLoader("ablate.report")]  # the reports' style sheet
    env = Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    env.filters |= {"reasons": reasons, "told": told, "bars": bars, "packing": packing}
    env.globals["share"] = share
    return env.get_template("inspection.html.j2").render(found=found, title=title)
