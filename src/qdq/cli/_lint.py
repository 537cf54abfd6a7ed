"""``qdq lint``: what will stop or slow a compiler, told before it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qdq.cli._exits import FAILED
from qdq.cli._output import print_json, print_report

if TYPE_CHECKING:
    from rich.console import RenderableType

    from qdq.library import LintResult

__all__ = ["add_lint"]

_DEFAULT = "htp-v73"


def add_lint(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(lint)


def lint(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The model, as ONNX.")],
    *,
    target: Annotated[
        str,
        typer.Option(
            "--target",
            metavar="NAME",
            help="htp-v68, v69, v73, v75, v79 or v81; tflite or ort-x86.",
        ),
    ] = _DEFAULT,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of tables.")
    ] = False,
) -> None:
    """Tell what a target refuses or runs badly in a model; exit 1 where it refuses."""
    from qdq import library

    result = library.lint(model, target=target)
    if as_json:
        print_json(result.to_dict())
    else:
        print_report(_linted(result))
    if result.errors:
        raise typer.Exit(FAILED)


def _linted(result: LintResult) -> Iterator[RenderableType]:
    for finding in result.findings:
        yield f"{finding.severity} [{finding.rule}] {finding.sentence()}"
    yield (
        f"{result.errors} errors, {result.warnings} warnings for {result.target} "
        f"(measured with {result.measured_with})"
    )
