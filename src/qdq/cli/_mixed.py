"""``qdq sensitivity`` and ``qdq pareto``: what sites and widths do to accuracy, without a model.

Both are quantize jobs with an option; options of their own, such as ``--rounding``, go with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qdq.cli._output import print_json, print_report
from qdq.cli._progress import show_progress

if TYPE_CHECKING:
    from rich.console import RenderableType

    from qdq.library import QuantizeResult

__all__ = ["add_mixed"]

_SHOWN = 30
_MEGA = 1e6
_DB = ".2f"

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="The float model, as ONNX.")]
Data = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="Samples: .h5, .npz (samples on axis 0) or .npy folder."),
]
Weights = Annotated[str, typer.Option("--weights", help="Dtype of weights.")]
Activations = Annotated[str, typer.Option("--activations", help="Dtype of activations.")]
JobOptions = Annotated[
    str, typer.Option("--options", metavar="TEXT", help="Job options, such as '--name value'.")
]
Reports = Annotated[
    list[Path],
    typer.Option(
        "--report",
        metavar="FILE",
        help="Also write the report: a page for .html, else JSON. May be repeated.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


def add_mixed(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command()(sensitivity)
    app.command()(pareto)


def sensitivity(
    model: Model,
    data: Data,
    *,
    weights: Weights = "int8",
    activations: Activations = "int8",
    options: JobOptions = "",
    report: Reports = [],  # noqa: B006 - Typer copies it
    as_json: Json = False,
) -> None:
    """Tell what every quantized site does to the outputs, alone and left out."""
    result = _quantize(
        model,
        data,
        weights=weights,
        activations=activations,
        options=f"{options} --sensitivity",
        report=report,
        as_json=as_json,
    )
    found = result.report.sensitivity
    assert found is not None
    if as_json:
        print_json(found.to_dict())
    else:
        print_report(_sensitivity_tables(result))


def pareto(
    model: Model,
    data: Data,
    *,
    weights: Weights = "int8",
    activations: Activations = "int8",
    options: JobOptions = "",
    report: Reports = [],  # noqa: B006 - Typer copies it
    as_json: Json = False,
) -> None:
    """Tell accuracy against bits, size and latency here, from all 8 to all 16 bits."""
    result = _quantize(
        model,
        data,
        weights=weights,
        activations=activations,
        options=f"{options} --pareto",
        report=report,
        as_json=as_json,
    )
    if as_json:
        print_json({"points": result.report.to_dict()["pareto"]})
    else:
        print_report(_curve_tables(result))


def _quantize(
    model: Path,
    data: Path,
    *,
    weights: str,
    activations: str,
    options: str,
    report: list[Path],
    as_json: bool,
) -> QuantizeResult:
    from qdq import library

    with show_progress(as_json=as_json) as progress:
        return library.quantize(
            model,
            data,
            weights=weights,
            activations=activations,
            options=options,
            report=tuple(report),
            progress=progress,
        )


def _sensitivity_tables(result: QuantizeResult) -> Iterator[RenderableType]:
    from qdq.cli._tables import number, plain_table, written

    found = result.report.sensitivity
    assert found is not None
    split = "gate" if found.held_out else "calibration"
    table = plain_table("site", "kind", "op", "share", "alone dB", "without dB")
    worst = sorted(found.sites, key=lambda site: -site.share)
    for site in worst[:_SHOWN]:
        mark = "" if site.measured else " *"
        table.add_row(
            site.site,
            site.kind,
            site.op_type,
            f"{100 * site.share:.2f} %",
            number(site.alone.sqnr_db, _DB),
            f"{number(site.without.sqnr_db, _DB)}{mark}",
        )
    yield (
        f"{len(worst)} sites on {found.samples} {split} samples, everything quantized: "
        f"{number(found.everything.sqnr_db, _DB)} dB; the work of {found.passes:.1f} float passes"
    )
    yield table
    if len(worst) > _SHOWN:
        yield f"and {len(worst) - _SHOWN} more (--json has all)"
    yield "* follows from the shares, as errors of sites add up; the others are measured"
    yield from written(*result.report_files)


def _curve_tables(result: QuantizeResult) -> Iterator[RenderableType]:
    from qdq.cli._tables import number, plain_table, written

    sizes = ("activation Mbit", "MAC Mbit", "weights MB")
    table = plain_table("layers at 16 bits", *sizes, "latency ms", "SQNR dB", "")
    for point in result.report.curve or ():
        cost = point.cost
        table.add_row(
            str(len(point.lifted)),
            *(
                f"{value / _MEGA:.4g}"
                for value in (cost.activation_bits, cost.mac_bits, cost.weight_bytes)
            ),
            "-" if point.latency_ms is None else f"{point.latency_ms:.3g}",
            number(point.scores.sqnr_db, _DB),
            "" if point.on_front else "beaten",
        )
    yield table
    yield "Latency: ONNX Runtime on one thread of this machine, 16-bit ops in floats."
    yield from written(*result.report_files)
