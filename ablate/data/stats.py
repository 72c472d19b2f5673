"""Counts of prepared data as a table for terminals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table


def stages(manifest: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """What the training text went through: stage, documents after it, what it did."""
    count = manifest["counts"]["train"]
    found = []
    cleaning = manifest["cleaning"]
    found.append(
        ("read", cleaning[0]["documents_in"] if cleaning else count["documents_read"], _size(manifest))
    )
    for report in cleaning:
        told = [f"{n:,} {reason}" for reason, n in sorted(report["dropped"].items())]
        told += [f"{report['changed']:,} changed"] if report["changed"] else []
        found.append((report["stage"], report["documents_out"], "; ".join(told)))
    found.append(
        (
            "token ratio",
            count["documents_kept"],
            f"{count['documents_filtered']:,} above it, {count['documents_empty']:,} empty, "
            f"{count['documents_left_out']:,} left out for the shares of a mixture",
        )
    )
    found.append(
        (
            "packed",
            count["documents_kept"],
            f"{count['rows']:,} rows of {manifest['length']}, {count['tokens_packed']:,} tokens; "
            f"{count['tokens_padding']} padding, {count['tokens_truncated']} truncated, "
            f"{count['tokens_dropped']} dropped at the end; "
            f"{count['documents_across_rows']:,} documents go over the end of a row",
        )
    )
    if manifest["tokens"] != count["tokens_packed"]:
        found.append(("cut", count["documents_kept"], f"{manifest['tokens']:,} tokens kept"))
    return found


def _size(manifest: Mapping[str, Any]) -> str:
    return ", ".join(part for part in (manifest["extent"], f"licence: {manifest['licence']}") if part)


def render(manifests: Sequence[Mapping[str, Any]]) -> Group:
    """One table per corpus."""
    tables = []
    for manifest in manifests:
        source = manifest["source"]
        title = f"{source.get('name') or source['kind']}  {manifest['path']}"
        table = Table(title=title, title_justify="left", title_style="bold")
        for name, justify in (("stage", "left"), ("documents", "right"), ("", "left")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        for stage, documents, told in stages(manifest):
            table.add_row(stage, f"{documents:,}", told)
        table.caption = (
            f"vocabulary {manifest['vocabulary']:,}, order {manifest['order']}, "
            f"{manifest['validation_tokens']:,} held-out tokens, fingerprint {manifest['fingerprint']}"
        )
        tables.append(table)
    return Group(*tables)
