"""The commands on compiled QNN models: names, arguments and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qdq.cli._output import print_json, print_report
from qdq.cli._progress import show_progress

__all__ = ["add_qnn"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
JobOptions = Annotated[
    str, typer.Option("--options", metavar="TEXT", help="Job options, such as '--name value'.")
]


def add_qnn(app: typer.Typer) -> None:
    """Add ``link`` and ``placement``."""
    app.command()(link)
    app.command()(placement)


def link(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL...", help="DLCs that qdq made, with their .source.onnx; or ONNX models."
        ),
    ],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT.bin", help="Where to write the binary.")
    ],
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="The device to compile for.")
    ],
    options: JobOptions = "",
    as_json: Json = False,
) -> None:
    """Link models into one QNN context binary of several graphs with shared weights."""
    from qdq import library
    from qdq.cli import _tables_qnn

    with show_progress(as_json=as_json) as progress:
        result = library.link(models, output, device=device, options=options, progress=progress)
    if as_json:
        print_json(result.to_dict())
    else:
        print_report(_tables_qnn.linked(result))


def placement(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A .bin, a precompiled folder or a .dlc.")
    ],
    *,
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help="The device it is for.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell which ops of a compiled QNN model run on the NPU, and its sizes; never a latency."""
    from qdq import library
    from qdq.cli import _tables_qnn

    with show_progress(as_json=as_json) as progress:
        result = library.qnn_placement(model, device=device, progress=progress)
    if as_json:
        print_json(result.to_dict())
    else:
        print_report(_tables_qnn.placed(result))
