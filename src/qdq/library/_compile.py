"""From any model to one that a target runtime runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from qdq.base.compute_units import check_units, unused_units
from qdq.base.errors import OptionError
from qdq.base.machine import check_device
from qdq.base.options import JobKind, Options, parse_options
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.base.qnn_files import QnnKind, qnn_kind
from qdq.frontend import InputSpecs
from qdq.graph import save_model
from qdq.library._full_type import check_calibration, quantize_fully
from qdq.library._io_spec import IoSpec, io_specs
from qdq.library._load import import_source, protect_weights
from qdq.library._notices import NoticeKeeper
from qdq.library._sources import ModelSource, PathLike, SampleSource, check_output, path_of
from qdq.library._summary import TensorSummary, describe_tensor, find_quantization
from qdq.library._verify_sources import check_verify_sources, float_source
from qdq.target.interface import InterfaceRequest, compile_graph, read_request
from qdq.target.qnn import RUNTIMES, read_qnn_request

if TYPE_CHECKING:
    from qdq.library._compile_qnn import QnnJob
    from qdq.quantizer import QuantizationReport
    from qdq.target.qnn import QnnModel
    from qdq.target.tflite import TfliteModel
    from qdq.target.tflite.verify import Verification

__all__ = ["CompileResult", "compile"]

# What a file is called, by target runtime.
_SUFFIXES = {"onnx": ".onnx", "tflite": ".tflite"}


@dataclass(frozen=True, slots=True)
class CompileResult:
    """A compiled model in memory, where it was written, and what it was compiled for.

    ``model`` is a graph, or for the runtime ``tflite`` a TfliteModel, for those of QNN a QnnModel,
    and None where a binary was only wrapped; ``verification`` tells how near TFLite computes to its
    source.  ``qnn`` is what was read back from a QNN binary, and ``source`` the ONNX model that is
    kept beside a DLC.  ``precision`` is None for a float model; ``changes``
    are the sentences of the passes.
    ``input_spec`` and ``output_spec`` add scale and zero point where callers exchange integers.
    ``report`` is that of the quantizer where ``--quantize_full_type`` ran it.
    """

    model: ir.Model | TfliteModel | QnnModel | None
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
    verification: Verification | None = None
    qnn: dict[str, Any] | None = None
    source: Path | None = None

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
            "verification": None if self.verification is None else self.verification.to_dict(),
            "qnn": self.qnn,
            "source": None if self.source is None else str(self.source),
        }


def compile(
    model: ModelSource,
    output: PathLike | None = None,
    *,
    input_specs: InputSpecs | None = None,
    device: str | Sequence[str] | None = None,
    options: str = "",
    calibration: SampleSource | None = None,
    float_model: ModelSource | None = None,
    samples: SampleSource | None = None,
    verify: bool = True,
    progress: Progress = NO_PROGRESS,
) -> CompileResult:
    """Import ONNX, TorchScript, .pt2 or an AIMET folder and compile it for a target runtime.

    A float model is simplified; a quantized one keeps every encoding and takes the form whose
    integer kernels the runtime has.  ``calibration`` goes with ``--quantize_full_type`` and has the
    names and layout of the model as given.  ``device`` is the host, or for QNN one or several
    of the catalogue.  A QNN context binary without options is put into an ONNX model.
    A TFLite model is verified, each integer op against exact arithmetic and the whole against its
    source, unless ``verify`` is false: on ``samples`` instead of random data, and a quantized one
    against the ``float_model`` it was made of, where these are known.  Raises OptionError,
    SpecError, DatasetError, VerificationError, OutputError, MissingDependencyError where a package
    of the target is absent, and the errors of models that cannot be read or are not supported.  On
    an error nothing is written.
    """
    parsed = parse_options(JobKind.COMPILE, options)
    binary = _binary_source(model)
    if binary is not None:
        extras = (input_specs, calibration, float_model, samples)
        return _wrap(binary, device, output, parsed, wrong=any(it is not None for it in extras))
    request = read_request(parsed)
    check_units(parsed, qnn=parsed.get_text("target_runtime") in RUNTIMES)
    check_calibration(parsed, given=calibration is not None)
    given = (model, calibration, float_model, samples)
    runtime = parsed.get_text("target_runtime")
    check_verify_sources(
        runtime, float_model=float_model, samples=samples, calibration=calibration, verify=verify
    )
    job: QnnJob | None = None
    if runtime in RUNTIMES:
        from qdq.library._compile_qnn import plan_qnn

        job = plan_qnn(runtime, parsed, device, output, given)
        device_name, target = job.device_names, job.output
    else:
        read_qnn_request(parsed, runtime=runtime)
        device_name = check_device(_one_device(device))
        suffix = _SUFFIXES[runtime]
        target = None if output is None else check_output(output, given, suffixes=(suffix,))
    keeper = NoticeKeeper(progress)
    if "target_runtime" not in parsed.given:
        keeper.notice("no --target_runtime given: produced ONNX")
    told = unused_units(parsed, qnn=job is not None)
    if told is not None:
        keeper.notice(told)
    keeper.step("import", 1)
    graph_model = import_source(model, input_specs, progress=keeper)
    protect_weights(graph_model, target)
    report, reference = None, None
    if calibration is not None:
        reference = graph_model.clone() if verify else None
        done = quantize_fully(graph_model, calibration, parsed, keeper)
        graph_model, report = done.model, done.report
    precision = find_quantization(graph_model).precision
    if float_model is not None:
        quantized = precision is not None
        reference = float_source(float_model, input_specs, graph_model, quantized=quantized)
    made: dict[str, Any]
    if runtime == "tflite":
        from qdq.library._compile_tflite import compile_for_tflite, source_sha256

        made = compile_for_tflite(
            graph_model,
            request,
            target,
            quantized=precision is not None,
            float_model=reference,
            samples=calibration if samples is None else samples,
            sha256=source_sha256(model),
            verify=verify,
            progress=keeper,
        )
    elif job is not None:
        from qdq.library._compile_qnn import compile_for_qnn

        made = compile_for_qnn(graph_model, job, request, precision=precision, progress=keeper)
    else:
        made = _compile_onnx(graph_model, request, target, keeper)
    return CompileResult(
        target_runtime=runtime,
        device=device_name,
        options=parsed,
        precision=precision,
        report=report,
        notices=keeper.notices,
        output=target,
        **made,
    )


def _binary_source(model: ModelSource) -> Path | None:
    path = path_of(model)
    return path if path is not None and qnn_kind(path) is QnnKind.CONTEXT_BINARY else None


def _wrap(
    path: Path,
    device: str | Sequence[str] | None,
    output: PathLike | None,
    options: Options,
    *,
    wrong: bool,
) -> CompileResult:
    runtime = "precompiled_qnn_onnx"
    asked = options.get("target_runtime") if "target_runtime" in options.given else runtime
    if wrong or asked != runtime or options.given - {"target_runtime"}:
        raise OptionError(
            f"'{path.name}' is compiled already: it can only be put into an ONNX model",
            remedy="Give no options, input specs or calibration data",
        )
    from qdq.library._compile_qnn import edges_of, wrap_binary

    context, target, name = wrap_binary(path, device, output)
    return CompileResult(
        model=None,
        target_runtime=runtime,
        device=name,
        options=options,
        precision=None,
        report=None,
        changes=("put into an ONNX model",),
        notices=(),
        output=target,
        qnn={"kind": runtime, **context.to_dict()},
        **edges_of(context),
    )


def _one_device(device: str | Sequence[str] | None) -> str | None:
    if device is None or isinstance(device, str):
        return device
    names = list(device)
    return ", ".join(names) if names else None


def _compile_onnx(
    model: ir.Model, request: InterfaceRequest, target: Path | None, progress: Progress
) -> dict[str, Any]:
    progress.step("compile", 1)
    outcome = compile_graph(model, request)
    for notice in outcome.notices:
        progress.notice(notice)
    progress.advance()
    if target is not None:
        save_model(model, target)
    return {"model": model, "changes": outcome.changes, **_describe_edges(model)}


def _describe_edges(model: ir.Model) -> dict[str, Any]:
    inputs, outputs = model.graph.inputs, model.graph.outputs
    return {
        "inputs": tuple(describe_tensor(value) for value in inputs),
        "outputs": tuple(describe_tensor(value) for value in outputs),
        "input_spec": io_specs(model, inputs),
        "output_spec": io_specs(model, outputs),
    }
