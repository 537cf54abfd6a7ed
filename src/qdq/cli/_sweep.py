"""``qdq sweep``: several option sets side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qdq.cli._exits import FAILED
from qdq.cli._output import print_json, print_report
from qdq.cli._progress import show_progress

if TYPE_CHECKING:
    from rich.console import RenderableType

    from qdq.library import SweepResult
    from qdq.library._sweep import SweepRow

__all__ = ["add_sweep"]


def add_sweep(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(sweep)


def sweep(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The model, as ONNX.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The calibration samples.")],
    *,
    options: Annotated[
        list[str],
        typer.Option(
            "--options",
            metavar="TEXT",
            help="An option set, which may hold --weights and --activations. Once for each set.",
        ),
    ],
    weights: Annotated[str, typer.Option("--weights", help="Dtype of weights.")] = "int8",
    activations: Annotated[
        str, typer.Option("--activations", help="Dtype of activations: int8 or int16.")
    ] = "int8",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of tables.")
    ] = False,
) -> None:
    """Quantize a model with several option sets and compare them; exit 1 where one fails."""
    from qdq import library

    with show_progress(as_json=as_json) as progress:
        result = library.sweep(
            model,
            data,
            options,
            weights=weights,
            activations=activations,
            progress=progress,
        )
    if as_json:
        print_json(result.to_dict())
    else:
        print_report(_swept(result))
    if result.failed:
        raise typer.Exit(FAILED)


def _swept(result: SweepResult) -> Iterator[RenderableType]:
    from qdq.cli._tables import plain_table

    table = plain_table(
        "options", "precision", "SQNR dB", "cosine", "top-1", "weights KiB", "nodes", "s"
    )
    for row in result.rows:
        table.add_row(*_cells(row, best=row is result.best))
    yield table
    for row in result.rows:
        if row.error is not None:
            yield f"{row.options or 'defaults'}: {row.error['message']}"
    if result.best is not None:
        held = "held-out samples" if result.best.held_out else "the calibration samples"
        yield f"* the best by the SQNR of its worst output, told on {held}"


def _cells(row: SweepRow, *, best: bool) -> tuple[str, ...]:
    name = f"{row.options or 'defaults'}{' *' if best else ''}"
    if row.error is not None:
        return name, "failed", "", "", "", "", "", f"{row.seconds:.1f}"
    nodes = [f"{count} of {bits} bits" for bits, count in sorted(row.nodes_by_bits.items())]
    nodes += [f"{row.float_islands} float"] if row.float_islands else []
    return (
        name,
        row.precision,
        _number(row.worst_sqnr, 2),
        _number(_least(row, "cosine"), 5),
        _number(_least(row, "top1_agreement"), 3),
        f"{row.weight_bytes / 1024:.1f}",
        ", ".join(nodes),
        f"{row.seconds:.1f}",
    )


def _least(row: SweepRow, metric: str) -> float | None:
    known = [it[metric] for it in row.outputs.values()]
    return min((it for it in known if it is not None), default=None)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
