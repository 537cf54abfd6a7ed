"""From any model to one that a target runtime runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from qdq.base.machine import check_device
from qdq.base.options import JobKind, Options, parse_options
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.frontend import InputSpecs
from qdq.graph import check_supported, save_model
from qdq.library._load import import_source, protect_weights
from qdq.library._notices import NoticeKeeper
from qdq.library._sources import ModelSource, PathLike, check_output
from qdq.library._summary import TensorSummary, describe_tensor, find_quantization
from qdq.target.onnx import compile_onnx

__all__ = ["CompileResult", "compile"]


@dataclass(frozen=True, slots=True)
class CompileResult:
    """A compiled model in memory, where it was written, and what it was compiled for.

    ``precision`` is None for a float model; ``changes`` are the sentences of the passes.
    """

    model: ir.Model
    target_runtime: str
    device: str
    options: Options
    precision: str | None
    inputs: tuple[TensorSummary, ...]
    outputs: tuple[TensorSummary, ...]
    changes: tuple[str, ...]
    notices: tuple[str, ...]
    output: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, without the model."""
        return {
            "output": None if self.output is None else str(self.output),
            "target_runtime": self.target_runtime,
            "device": self.device,
            "options": self.options.to_text(),
            "precision": self.precision or "float",
            "inputs": [asdict(tensor) for tensor in self.inputs],
            "outputs": [asdict(tensor) for tensor in self.outputs],
            "changes": list(self.changes),
            "notices": list(self.notices),
        }


def compile(
    model: ModelSource,
    output: PathLike | None = None,
    *,
    input_specs: InputSpecs | None = None,
    device: str | None = None,
    options: str = "",
    progress: Progress = NO_PROGRESS,
) -> CompileResult:
    """Import ONNX, TorchScript or .pt2 and fit it to a target runtime.

    A float model is simplified; a quantized one keeps every encoding and takes the form whose
    integer kernels the runtime has.  ``device`` is the host, the only one of this version.  Raises
    OptionError, SpecError, and the errors of models that cannot be read or are not supported.  On
    an error nothing is written.
    """
    parsed = parse_options(JobKind.COMPILE, options)
    device_name = check_device(device)
    target = None if output is None else check_output(output, (model,), suffixes=(".onnx",))
    keeper = NoticeKeeper(progress)
    if "target_runtime" not in parsed.given:
        keeper.notice("no --target_runtime given: produced ONNX")
    keeper.step("import", 1)
    imported = import_source(model, input_specs, progress=keeper)
    protect_weights(imported, target)
    keeper.step("compile", 1)
    precision = find_quantization(imported).precision
    done = compile_onnx(imported)
    check_supported(done.model)
    keeper.advance()
    if target is not None:
        save_model(done.model, target)
    return CompileResult(
        model=done.model,
        target_runtime=parsed.get_text("target_runtime"),
        device=device_name,
        options=parsed,
        precision=precision,
        inputs=tuple(describe_tensor(value) for value in done.model.graph.inputs),
        outputs=tuple(describe_tensor(value) for value in done.model.graph.outputs),
        changes=tuple(str(note) for note in done.notes if note.applied),
        notices=keeper.notices,
        output=target,
    )
