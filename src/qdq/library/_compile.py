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
from qdq.graph import save_model
from qdq.library._full_type import check_calibration, quantize_fully
from qdq.library._io_spec import IoSpec, io_specs
from qdq.library._load import import_source, protect_weights
from qdq.library._notices import NoticeKeeper
from qdq.library._sources import ModelSource, PathLike, SampleSource, check_output
from qdq.library._summary import TensorSummary, describe_tensor, find_quantization
from qdq.quantizer import QuantizationReport
from qdq.target.interface import compile_graph, read_request

__all__ = ["CompileResult", "compile"]


@dataclass(frozen=True, slots=True)
class CompileResult:
    """A compiled model in memory, where it was written, and what it was compiled for.

    ``precision`` is None for a float model; ``changes`` are the sentences of the passes.
    ``input_spec`` and ``output_spec`` add scale and zero point where callers exchange integers.
    ``report`` is that of the quantizer where ``--quantize_full_type`` ran it.
    """

    model: ir.Model
    target_runtime: str
    device: str
    options: Options
    precision: str | None
    inputs: tuple[TensorSummary, ...]
    outputs: tuple[TensorSummary, ...]
    input_spec: tuple[IoSpec, ...]
    output_spec: tuple[IoSpec, ...]
    report: QuantizationReport | None
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
            "input_spec": [asdict(spec) for spec in self.input_spec],
            "output_spec": [asdict(spec) for spec in self.output_spec],
            "report": None if self.report is None else self.report.to_dict(),
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
    calibration: SampleSource | None = None,
    progress: Progress = NO_PROGRESS,
) -> CompileResult:
    """Import ONNX, TorchScript, .pt2 or an AIMET folder and fit it to a target runtime.

    A float model is simplified; a quantized one keeps every encoding and takes the form whose
    integer kernels the runtime has.  ``calibration`` goes with ``--quantize_full_type`` and has the
    names and layout of the model as given.  ``device`` is the host, the only one of this version.
    Raises OptionError, SpecError, DatasetError, and the errors of models that cannot be read or
    are not supported.  On an error nothing is written.
    """
    parsed = parse_options(JobKind.COMPILE, options)
    request = read_request(parsed)
    check_calibration(parsed, given=calibration is not None)
    device_name = check_device(device)
    given = (model, calibration)
    target = None if output is None else check_output(output, given, suffixes=(".onnx",))
    keeper = NoticeKeeper(progress)
    if "target_runtime" not in parsed.given:
        keeper.notice("no --target_runtime given: produced ONNX")
    keeper.step("import", 1)
    graph_model = import_source(model, input_specs, progress=keeper)
    protect_weights(graph_model, target)
    report = None
    if calibration is not None:
        done = quantize_fully(graph_model, calibration, parsed, keeper)
        graph_model, report = done.model, done.report
    keeper.step("compile", 1)
    precision = find_quantization(graph_model).precision
    outcome = compile_graph(graph_model, request)
    for notice in outcome.notices:
        keeper.notice(notice)
    keeper.advance()
    if target is not None:
        save_model(graph_model, target)
    return CompileResult(
        model=graph_model,
        target_runtime=parsed.get_text("target_runtime"),
        device=device_name,
        options=parsed,
        precision=precision,
        **_describe_edges(graph_model),
        report=report,
        changes=outcome.changes,
        notices=keeper.notices,
        output=target,
    )


def _describe_edges(model: ir.Model) -> dict[str, Any]:
    inputs, outputs = model.graph.inputs, model.graph.outputs
    return {
        "inputs": tuple(describe_tensor(value) for value in inputs),
        "outputs": tuple(describe_tensor(value) for value in outputs),
        "input_spec": io_specs(model, inputs),
        "output_spec": io_specs(model, outputs),
    }
