"""The child that imports torch models; run as ``python -m qdq.frontend.torch_child spec.json``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from qdq.base.child_side import child_main
from qdq.base.errors import MissingDependencyError
from qdq.base.progress import Progress
from qdq.frontend.formats import ModelFormat
from qdq.frontend.specs import InputSpec
from qdq.frontend.torch_names import OUTPUT_FILE

__all__ = ["work"]


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Export the model of ``spec`` to OUTPUT_FILE in the working folder; the result is empty."""
    # torch and its exporters warn about themselves: deprecations, missing extras, tracing.
    warnings.simplefilter("ignore")
    model, output = Path(spec["model"]), Path(OUTPUT_FILE).resolve()
    inputs = [InputSpec(i["name"], tuple(i["shape"]), i["dtype"]) for i in spec["inputs"]]
    try:
        if ModelFormat[spec["kind"]] is ModelFormat.TORCHSCRIPT:
            from qdq.frontend.torchscript import export_torchscript

            export_torchscript(model, output, inputs=inputs, progress=progress)
        else:
            from qdq.frontend.exported_program import export_program

            export_program(model, output, progress=progress)
    except ImportError as error:
        raise MissingDependencyError(
            f"torch cannot be loaded: {error}", remedy="Run: pip install 'qdq[torch]'"
        ) from error
    return {}


if __name__ == "__main__":
    child_main(work)
