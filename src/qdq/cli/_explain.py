"""``qdq explain``: every encoding of a quantized model, and why it is so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qdq.cli._output import print_json, print_report

if TYPE_CHECKING:
    from rich.console import RenderableType

    from qdq.library import Explanation

__all__ = ["add_explain"]

# A table of more rows is not read; JSON has all of them.
_MOST_ROWS = 2000
# What models of qdq tell of themselves, without its prefix.
_KEPT = ("precision", "options", "calibration_sha256")


def add_explain(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(explain)


def explain(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A quantized model, as ONNX.")],
    *,
    tensor: Annotated[
        str | None, typer.Option("--tensor", metavar="NAME", help="Tell this tensor only.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of tables.")
    ] = False,
) -> None:
    """Tell every encoding of a quantized model, the rule that put it there, and why it is so."""
    from qdq import library

    found = library.explain(model)
    rows = [it for it in found.sites if tensor in (None, it["tensor"], it.get("owner"))]
    if tensor is not None and not rows:
        raise typer.BadParameter(
            f"no encoding of the model is of '{tensor}'", param_hint="'--tensor'"
        )
    if as_json:
        print_json(found.to_dict() | {"sites": rows})
        return
    for notice in found.notices:
        print(f"notice: {notice}", file=sys.stderr)
    print_report(_explained(found, rows))


def _explained(found: Explanation, rows: list[dict[str, Any]]) -> Iterator[RenderableType]:
    from qdq.cli._tables import plain_table

    yield from _origin(found)
    table = plain_table("tensor", "kind", "dtype", "range or scales", "rule", "why")
    for row in rows[:_MOST_ROWS]:
        encoding = row["encoding"]
        told = row["why"] if row.get("scheme") is None else f"{row['scheme']}: {row['why']}"
        table.add_row(
            row["tensor"], row["kind"], encoding["dtype"], _extent(encoding), row["rule"], told
        )
    yield table
    if len(rows) > _MOST_ROWS:
        yield f"{len(rows) - _MOST_ROWS} more encodings: --json tells all of them"
    if found.floats:
        table = plain_table("float node", "op", "reason")
        for row in found.floats[:_MOST_ROWS]:
            table.add_row(row["node"], row["op_type"], row["reason"])
        yield table


def _origin(found: Explanation) -> Iterator[RenderableType]:
    known = found.provenance
    if known is None:
        kept = {key.removeprefix("qdq."): text for key, text in found.metadata.items()}
        told = [f"{found.producer or 'producer unknown'}; no provenance: told by the graph alone"]
        told += [f"{name}: {kept[name] or 'none'}" for name in _KEPT if name in kept]
        yield "\n".join(told)
        return
    source, calibration = known["source"], known["calibration"]
    yield "\n".join(
        (
            f"{found.producer}, {known['settings']['precision']}, options: "
            f"{known['options'] or 'none'}",
            f"made of '{source['name']}' (sha256 {source['sha256']})",
            f"calibrated on {calibration['samples']} samples (sha256 {calibration['sha256']})",
        )
    )


def _extent(encoding: dict[str, Any]) -> str:
    """Return the range of one scale, or the extremes of several."""
    scale, zero_point, dtype = encoding["scale"], encoding["zero_point"], encoding["dtype"]
    if scale is None:
        return "computed"
    if isinstance(scale, list):
        return f"{len(scale)} scales, {min(scale):.4g} to {max(scale):.4g}"
    digits = int("".join(filter(str.isdigit, dtype)))
    low = 0 if dtype.startswith("u") else -(1 << (digits - 1))
    ends = (scale * (low - zero_point), scale * (low + (1 << digits) - 1 - zero_point))
    return f"{ends[0]:.5g} to {ends[1]:.5g}"
