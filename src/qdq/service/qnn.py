"""What jobs of QNN models ask of devices, chips and the models that others were made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qdq.base import options as grammar
from qdq.base.devices import HtpTarget, common_target, find_device, htp_target
from qdq.base.errors import OptionError, SpecError, UnsupportedError
from qdq.base.options import Options, parse_options
from qdq.base.qnn_package import check_qairt, require_qnn
from qdq.domain.qnn import QNN_RUNTIMES, qnn_facts
from qdq.domain.records import Device, Inspection, Job, Model, ModelType
from qdq.domain.states import JobKind
from qdq.ports.repository import Repository

__all__ = [
    "Origin",
    "check_chip",
    "check_qnn_compile",
    "choose_graph",
    "compile_runtime",
    "made_here",
    "origin_of",
    "require_sources",
    "runtime_of",
    "sources_of",
]

_BY_TYPE = {
    ModelType.TFLITE: "tflite",
    ModelType.QNN_CONTEXT_BINARY: "qnn_context_binary",
    ModelType.QNN_DLC: "qnn_dlc",
}
_PRECOMPILED = "precompiled_qnn_onnx"
_DLC = "qnn_dlc"


@dataclass(frozen=True, slots=True)
class Origin:
    """The model that a QNN model was compiled from, and the compile job's own settings."""

    blob: str
    options: str
    input_specs: dict[str, tuple[tuple[int, ...], str]]


def compile_runtime(options: Options, model: Model) -> str:
    """Return what a compile job makes: of a context binary its wrapper in ONNX."""
    if model.type is ModelType.QNN_CONTEXT_BINARY:
        return _PRECOMPILED
    return options.get_text("target_runtime")


def runtime_of(model: Model, repository: Repository) -> str:
    """Return what runs ``model``, as target runtimes are called, also before it is made."""
    known = _BY_TYPE.get(model.type)
    if known is not None:
        return known
    if model.inspection is not None and model.inspection.format == _PRECOMPILED:
        return _PRECOMPILED
    producer = _compile_job(model, repository)
    if producer is None or model.blob is not None:
        return "onnx"
    source = repository.get_model(producer.model_ids[0])
    options = parse_options(grammar.JobKind.COMPILE, producer.options)
    return "onnx" if source is None else compile_runtime(options, source)


def check_qnn_compile(
    runtime: str, options: Options, devices: Sequence[Device], model: Inspection
) -> HtpTarget:
    """Return the chip that a QNN compile job is for.

    Raises MissingDependencyError without the extra, OptionError for another QAIRT, UnsupportedError
    for a device without QNN, for several that no binary suits, and for a float model on a chip
    without fp16.
    """
    require_qnn()
    check_qairt(_text(options, "qairt_version"))
    target = common_target([find_device(device.name) for device in devices])
    quantizes = options.get("quantize_full_type") is not None
    if runtime != _DLC and not target.fp16 and not quantizes and _is_float(model):
        raise UnsupportedError(
            f"The model computes in float, and the NPU of {target.chipset} (Hexagon {target.arch}) "
            "has no float16",
            remedy="Quantize the model first, or choose a device with htp-supports-fp16:true",
        )
    return target


def made_here(model: Model, repository: Repository) -> Model:
    """Return the model of a job that has the bytes of an uploaded QNN model, or ``model`` itself.

    What was downloaded and uploaded again is known by its SHA-256: what was kept of it still is.
    """
    uploaded = model.producer_id is None and model.blob is not None
    if not uploaded or model.type not in (ModelType.QNN_DLC, ModelType.QNN_CONTEXT_BINARY):
        return model
    return repository.produced_model(str(model.blob)) or model


def check_chip(model: Model, device: Device, repository: Repository) -> None:
    """Raise SpecError unless a compiled model is for ``device``: the simulator would not tell.

    One that a compile job made for several devices is for each of them.  A model that is not made
    yet, and a DLC, are for no chip.
    """
    soc_model = qnn_facts(model.inspection).get("soc_model")
    if soc_model is None:
        return
    target = htp_target(find_device(device.name))
    if soc_model == target.soc_model:
        return
    made = made_here(model, repository)
    producer = repository.get_job(made.producer_id) if made.producer_id else None
    if producer is not None and device.name in {it.name for it in producer.devices}:
        return
    facts = qnn_facts(model.inspection)
    raise SpecError(
        f"'{model.name}' is compiled for {facts.get('chipset') or soc_model} (Hexagon "
        f"{facts.get('hexagon')}), and '{device.name}' has {target.chipset} ({target.arch})",
        remedy="Compile the model for this device, or choose the device that it was compiled for",
    )


def require_sources(model: Model, what: str, repository: Repository) -> None:
    """Raise UnsupportedError for a DLC that no job here made: nothing computes from it alone."""
    if model.type is ModelType.QNN_DLC and made_here(model, repository).producer_id is None:
        raise UnsupportedError(
            f"The DLC '{model.name}' is an upload, and was not compiled by this workbench, as no "
            f"job made its bytes: it cannot {what} it, as that takes the ONNX model that a DLC was "
            "made from, which is kept with the job that compiled it",
            remedy="Upload the ONNX model and compile it with --target_runtime qnn_dlc",
        )


def sources_of(model: Model, repository: Repository) -> Mapping[str, str]:
    """Return the ONNX models that were kept of a model's graphs: blobs by graph name.

    Those of a DLC, of a binary that was linked from DLCs, and of such a binary's wrapper.  Empty
    for what computes by itself, and for a foreign DLC.
    """
    model = made_here(model, repository)
    producer = repository.get_job(model.producer_id) if model.producer_id else None
    if producer is None:
        return {}
    result = producer.result or {}
    if producer.kind is JobKind.LINK:
        # In the order of the models that were linked.
        names = result.get("graphs", ())
        found: dict[str, str] = {}
        for name, model_id in zip(names, producer.model_ids, strict=False):
            linked = repository.get_model(model_id)
            kept = {} if linked is None else sources_of(linked, repository)
            found |= dict.fromkeys((str(name),), next(iter(kept.values()), ""))
        return {name: blob for name, blob in found.items() if blob}
    if "source" in result:
        names = qnn_facts(model.inspection).get("graph_names") or ("",)
        return {str(names[0]): str(result["source"])}
    wrapped = _wrapped(producer, repository)
    return {} if wrapped is None else sources_of(wrapped, repository)


def origin_of(model: Model, repository: Repository) -> Origin | None:
    """Return the ONNX model that a context binary, or its wrapper, was compiled from here.

    None where that is not known, or where the compile job itself quantized it.
    """
    producer = _compile_job(made_here(model, repository), repository)
    if producer is None:
        return None
    wrapped = _wrapped(producer, repository)
    if wrapped is not None:
        return origin_of(wrapped, repository)
    source = repository.get_model(producer.model_ids[0])
    if source is None or source.type is not ModelType.ONNX or source.blob is None:
        return None
    options = parse_options(grammar.JobKind.COMPILE, producer.options)
    if options.get_text("target_runtime") not in QNN_RUNTIMES or producer.dataset_id is not None:
        return None
    specs = {spec.name: (spec.shape, spec.dtype) for spec in producer.input_specs}
    return Origin(source.blob, producer.options, specs)


def choose_graph(sources: Mapping[str, str], options: str) -> str | None:
    """Return the blob of the graph that the options of a job choose; the first without a choice."""
    if not sources:
        return None
    parsed = parse_options(grammar.JobKind.PROFILE, options)
    name = parsed.get_pairs("qnn_options").get("context_enable_graphs")
    if name is None:
        return next(iter(sources.values()))
    if name not in sources:
        raise OptionError(
            f"--qnn_options context_enable_graphs={name}: the model has no such graph",
            remedy=f"Its graphs are {', '.join(sources)}",
        )
    return sources[name]


def _compile_job(model: Model, repository: Repository) -> Job | None:
    job = repository.get_job(model.producer_id) if model.producer_id else None
    return job if job is not None and job.kind is JobKind.COMPILE and job.model_ids else None


def _wrapped(job: Job, repository: Repository) -> Model | None:
    """Return the context binary that a compile job wrapped in ONNX."""
    source = repository.get_model(job.model_ids[0]) if job.model_ids else None
    binary = source is not None and source.type is ModelType.QNN_CONTEXT_BINARY
    return source if binary and job.kind is JobKind.COMPILE else None


def _is_float(model: Inspection) -> bool:
    """Tell whether the inspected model is known to have nothing quantized."""
    told = model.details.get("quantization")
    if isinstance(told, Mapping):
        return told.get("precision") is None
    return model.details.get("precision") == "float"


def _text(options: Options, name: str) -> str | None:
    value = options.get(name)
    return None if value is None else str(value)
