"""``qdq quantize``: what to quantize, how, and which parts otherwise."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from qdq.cli._output import print_json, print_report
from qdq.cli._progress import show_progress

__all__ = ["add_quantize"]

_DATA = "an .h5 in the client's layout, an .npz (samples on axis 0), or a folder of .npy"


def add_quantize(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(quantize)


def quantize(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The model, as ONNX.")],
    *,
    calibration: Annotated[
        Path | None, typer.Option("--calibration", metavar="DATA", help=f"Samples: {_DATA}.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT.onnx", help="Where to write the model."),
    ] = None,
    weights: Annotated[str, typer.Option("--weights", help="Dtype of weights.")] = "int8",
    activations: Annotated[
        str, typer.Option("--activations", help="Dtype of activations: int8 or int16.")
    ] = "int8",
    options: Annotated[
        str,
        typer.Option("--options", metavar="TEXT", help="Job options, such as '--name value'."),
    ] = "",
    override: Annotated[
        list[str],
        typer.Option(
            "--override",
            metavar="REGEX=int16|int8|float",
            help="The width of the nodes whose whole name matches. May be repeated.",
        ),
    ] = [],  # noqa: B006 - Typer copies it
    exclude_nodes: Annotated[
        list[str],
        typer.Option(
            "--exclude_nodes",
            metavar="REGEX",
            help="Nodes that stay float, by whole name. May be repeated.",
        ),
    ] = [],  # noqa: B006
    exclude_op_types: Annotated[
        str | None,
        typer.Option("--exclude_op_types", metavar="A,B", help="Op types that stay float."),
    ] = None,
    value_range: Annotated[
        list[str],
        typer.Option(
            "--range",
            metavar="TENSOR=LOW,HIGH",
            help="The range of a tensor, instead of the calibrated one. May be repeated.",
        ),
    ] = [],  # noqa: B006
    per_channel: Annotated[
        str | None,
        typer.Option("--per_channel", metavar="true|false", help="A weight scale per channel."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry_run",
            "--dry-run",
            help="Only tell what expressions match and what would be placed; no data needed.",
        ),
    ] = False,
    report: Annotated[
        list[Path],
        typer.Option(
            "--report",
            metavar="FILE",
            help="Also write the report: a page for .html, else JSON. May be repeated.",
        ),
    ] = [],  # noqa: B006
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume",
            help="Go on from what a killed run had finished; it is kept beside OUT.",
        ),
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of tables.")
    ] = False,
) -> None:
    """Quantize a float ONNX model; the result holds Q/DQ pairs."""
    from qdq import library
    from qdq.cli import _tables, _tables_plan

    text = _with_levers(
        options,
        override=override,
        exclude_nodes=exclude_nodes,
        exclude_op_types=[] if exclude_op_types is None else [exclude_op_types],
        range=value_range,
        per_channel=[] if per_channel is None else [per_channel],
    )
    if dry_run:
        preview = library.plan_quantization(
            model, weights=weights, activations=activations, options=text
        )
        if as_json:
            print_json(preview.to_dict())
        else:
            print_report(_tables_plan.planned(preview))
        return
    data, target = _needed(calibration, "--calibration"), _needed(output, "--output")
    with show_progress(as_json=as_json) as progress:
        result = library.quantize(
            model,
            data,
            target,
            weights=weights,
            activations=activations,
            options=text,
            report=tuple(report),
            resume=target.with_name(f".{target.name}.stages") if resume else None,
            progress=progress,
        )
    if as_json:
        print_json(result.to_dict())
    else:
        print_report(_tables.quantized(result))


def _with_levers(options: str, **levers: list[str]) -> str:
    """Return the option string with what was given as arguments of the command."""
    words = [f"--{name} {_quoted(value)}" for name, values in levers.items() for value in values]
    return " ".join([options, *words]).strip()


def _quoted(value: str) -> str:
    """Quote as the grammar of option strings reads it, where a backslash is a character."""
    return shlex.quote(value)


def _needed(path: Path | None, name: str) -> Path:
    if path is None:
        raise typer.BadParameter("It is needed unless --dry_run is given", param_hint=f"'{name}'")
    return path
