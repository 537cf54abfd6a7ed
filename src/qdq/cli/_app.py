"""The command line: names, arguments and help.  What a command does is in qdq.library."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qdq.base.errors import SpecError
from qdq.cli._exits import FAILED, USAGE, CommandGroup
from qdq.cli._explain import add_explain
from qdq.cli._lint import add_lint
from qdq.cli._mixed import add_mixed
from qdq.cli._output import print_json, print_report
from qdq.cli._progress import show_progress
from qdq.cli._qnn import add_qnn
from qdq.cli._quantize import add_quantize
from qdq.cli._server import add_commands
from qdq.cli._sweep import add_sweep

if TYPE_CHECKING:
    from qdq.frontend import InputSpec

__all__ = ["app", "main"]

app = typer.Typer(
    name="qdq",
    cls=CommandGroup,
    add_completion=False,
    rich_markup_mode=None,
    help="Quantize, compile, run, profile and compare neural networks for edge devices.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 an accuracy bound is missed, "
    "130 interrupted.",
)

_DATA = "an .h5 in the client's layout, an .npz (samples on axis 0), or a folder of .npy"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Runnable = Annotated[
    Path,
    typer.Argument(metavar="MODEL", help="The model: ONNX, .tflite, or a compiled QNN model."),
]
AnyModel = Annotated[
    Path, typer.Argument(metavar="MODEL", help="ONNX, TorchScript (.pt), .pt2 or an AIMET folder.")
]
Inputs = Annotated[Path, typer.Option("--inputs", metavar="DATA", help=f"Samples: {_DATA}.")]
Report = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Also write the report, as JSON, to this file."),
]
JobOptions = Annotated[
    str,
    typer.Option("--options", metavar="TEXT", help="Job options, such as '--name value'."),
]
Threads = Annotated[
    int, typer.Option("--threads", min=0, metavar="N", help="Threads; 0 takes all cores.")
]


def main() -> None:
    """Run the command that the shell asked for, and exit."""
    app(prog_name="qdq")


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="QDQ_DEBUG", help="Print a traceback on errors.")
    ] = False,
) -> None:
    """Print the version, or the help where no command is given."""
    del debug  # CommandGroup reads it from the words, as it must know before they are parsed.
    if version:
        from qdq.base.version import __version__

        print(f"qdq {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(USAGE)


add_quantize(app)
add_sweep(app)


@app.command()
def compile(
    model: AnyModel,
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Where to write: .onnx, .tflite, .bin, .dlc or .zip, as '--target_runtime' asks.",
        ),
    ],
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            metavar="NAME",
            help="The device to compile for; for QNN several, each with an option of its own.",
        ),
    ] = None,
    input_spec: Annotated[
        list[str] | None,
        typer.Option(
            "--input-spec",
            metavar="NAME:1x3x224x224[:float32]",
            help="Name, shape and dtype of an input; once per input, in order.",
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="DATA",
            help=f"Samples for '--quantize_full_type': {_DATA}.",
        ),
    ] = None,
    options: JobOptions = "",
    float_model: Annotated[
        Path | None,
        typer.Option(
            "--float-model",
            metavar="MODEL",
            help="The model that MODEL was quantized from, to verify the TFLite model against it.",
        ),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(
            "--samples",
            metavar="DATA",
            help=f"Verify the TFLite model on these, not on random data: {_DATA}.",
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify/--no-verify", help="Check a TFLite model against exact arithmetic."),
    ] = True,
    as_json: Json = False,
) -> None:
    """Compile a model for a target runtime."""
    from qdq import library
    from qdq.cli import _tables

    with show_progress(as_json=as_json) as progress:
        result = library.compile(
            model,
            output,
            input_specs=_specs(input_spec or []),
            device=device or None,
            options=options,
            calibration=calibration,
            float_model=float_model,
            samples=samples,
            verify=verify,
            progress=progress,
        )
    if as_json:
        print_json(result.to_dict())
    else:
        print_report(_tables.compiled(result))


def _specs(texts: list[str]) -> tuple[InputSpec, ...] | None:
    from qdq.frontend import check_specs

    try:
        return check_specs(texts) or None
    except SpecError as error:
        raise typer.BadParameter(str(error), param_hint="--input-spec") from error


@app.command()
def run(
    model: Runnable,
    *,
    inputs: Inputs,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT.npz", help="Where to write; .npz or .h5."),
    ],
    threads: Threads = 0,
    options: JobOptions = "",
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="NAME", help="The device a QNN model is to be for."),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--source", metavar="ONNX", help="The ONNX model that a DLC was made from."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a model on samples and write its outputs; QNN models on Qualcomm's HTP simulator."""
    from qdq import library
    from qdq.cli import _tables

    with show_progress(as_json=as_json) as progress:
        result = library.run(
            model,
            inputs,
            output,
            threads=threads,
            options=options,
            device=device,
            source=source,
            progress=progress,
        )
    if as_json:
        print_json(result.to_dict())
    else:
        print_report(_tables.ran(result))


@app.command()
def profile(
    model: Runnable,
    *,
    iterations: Annotated[
        int | None,
        typer.Option("--iterations", min=1, metavar="N", help="Warm runs to measure; 100."),
    ] = None,
    threads: Threads = 0,
    inputs: Annotated[
        Path | None,
        typer.Option("--inputs", metavar="DATA", help=f"Samples: {_DATA}; else random ones."),
    ] = None,
    options: JobOptions = "",
    as_json: Json = False,
) -> None:
    """Measure times and memory of a model on this machine."""
    from qdq import library
    from qdq.cli import _tables_runtime

    with show_progress(as_json=as_json) as progress:
        result = library.profile(
            model,
            iterations=iterations,
            threads=threads,
            inputs=inputs,
            options=options,
            progress=progress,
        )
    if as_json:
        print_json(result.to_dict())
    else:
        print_report(_tables_runtime.profiled(result))


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="The reference model: ONNX or .tflite.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The model to judge: ONNX or .tflite.")],
    *,
    inputs: Inputs,
    report: Report = None,
    as_json: Json = False,
) -> None:
    """Compare the outputs of two models, and their inner tensors."""
    from qdq import library
    from qdq.cli import _tables_runtime

    with show_progress(as_json=as_json) as progress:
        result = library.compare(a, b, inputs, report=report, progress=progress)
    if as_json:
        print_json(result.to_dict())
    else:
        print_report(_tables_runtime.compared(result, report))


@app.command()
def inspect(model: Runnable, *, as_json: Json = False) -> None:
    """Tell what a model is, without running it."""
    from qdq import library
    from qdq.cli import _tables

    result = library.inspect(model)
    if as_json:
        print_json(result.to_dict())
    else:
        print_report(_tables.inspected(result))


@app.command()
def doctor(*, as_json: Json = False) -> None:
    """Check whether this machine has what qdq needs."""
    from qdq.cli._doctor import examine

    found = examine()
    if as_json:
        print_json(found.to_dict())
    else:
        from qdq.cli._tables_doctor import examined

        print_report(examined(found))
    if not found.ok:
        raise typer.Exit(FAILED)


add_explain(app)
add_lint(app)
add_mixed(app)
add_qnn(app)
add_commands(app)
