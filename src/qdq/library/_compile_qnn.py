"""The steps of compiling for QNN: choose the chip, fit the graph, compile, read back, write."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from qdq.base.devices import CatalogueDevice, HtpTarget, common_target, find_device
from qdq.base.errors import OptionError, SpecError
from qdq.base.options import Options
from qdq.base.progress import Progress
from qdq.base.qnn_package import PACKAGE, check_qairt, provider_version, require_qnn
from qdq.library._io_spec import IoSpec, io_specs
from qdq.library._lint import tell_findings
from qdq.library._qnn_output import check_qnn_output, write_dlc, write_qnn
from qdq.library._sources import PathLike, check_output
from qdq.library._summary import TensorSummary
from qdq.runtime.qnn.context import ContextBinary, ContextTensor, read_context
from qdq.runtime.qnn.wrapper import make_wrapper
from qdq.target.interface import InterfaceRequest, compile_graph
from qdq.target.qnn import (
    RUNTIMES,
    QnnModel,
    QnnRequest,
    compile_qnn,
    default_graph_name,
    read_qnn_request,
)
from qdq.target.qnn.channel_scales import BoundChannelScales
from qdq.target.qnn.prepare import prepare_for_htp

__all__ = ["QnnJob", "binary_specs", "compile_for_qnn", "edges_of", "plan_qnn", "wrap_binary"]

_FLOAT = "float16"


@dataclass(frozen=True, slots=True)
class QnnJob:
    """What is compiled for QNN, decided before any work: chip, settings, and where it goes."""

    runtime: str
    devices: tuple[CatalogueDevice, ...]
    target: HtpTarget
    request: QnnRequest
    output: Path | None

    @property
    def device_names(self) -> str:
        """The devices' names, as one text."""
        return ", ".join(device.name for device in self.devices)

    @property
    def is_dlc(self) -> bool:
        """Whether a DLC is made, which no chip has compiled yet."""
        return self.runtime == "qnn_dlc"


def plan_qnn(
    runtime: str,
    options: Options,
    device: str | Sequence[str] | None,
    output: PathLike | None,
    inputs: Sequence[object],
) -> QnnJob:
    """Check what is asked of QNN.

    Raises MissingDependencyError without the extra, OptionError, OutputError, SpecError for a
    device that is not known, UnsupportedError for one without QNN or several that no binary suits.
    """
    require_qnn()
    request = read_qnn_request(options, runtime=runtime)
    devices = find_devices(device, runtime)
    target = common_target(devices)
    suffixes = RUNTIMES[runtime]
    place = None if output is None else Path(output)
    if place is not None and suffixes[0] == ".onnx":
        check_qnn_output(place)
    checked = None if place is None else check_output(place, inputs, suffixes=suffixes)
    return QnnJob(runtime, devices, target, request, checked)


def find_devices(device: str | Sequence[str] | None, runtime: str) -> tuple[CatalogueDevice, ...]:
    """Return the named devices; OptionError where none is named."""
    names = [device] if isinstance(device, str) else list(device or ())
    if not names:
        raise OptionError(
            f"--target_runtime {runtime} needs a device, for whose chip the compiler works",
            remedy="Name one (--device 'Samsung Galaxy S24'); 'qdq devices' lists them",
        )
    return tuple(find_device(name) for name in names)


def compile_for_qnn(
    model: ir.Model,
    job: QnnJob,
    interface: InterfaceRequest,
    *,
    precision: str | None,
    progress: Progress,
) -> dict[str, Any]:
    """Compile ``model``, which is used up, and write it; return fields of ``CompileResult``.

    Errors are those of ``compile_graph`` and ``compile_qnn``.
    """
    outcome = compile_graph(model, interface)
    for notice in outcome.notices:
        progress.notice(notice)
    notes = prepare_for_htp(model, job.target)
    changes = (*outcome.changes, *notes)
    bounded = sum(note.startswith(BoundChannelScales.name) for note in notes)
    if bounded:
        progress.notice(
            f"{bounded} depthwise Convs: channels with far smaller weights than their neighbours "
            "take a coarser weight scale, without which the HTP overflows"
        )
    tell_findings(model, f"htp-{job.target.arch}", progress)
    _tell_devices(job, progress)
    progress.step("compile", 1)
    made = compile_qnn(
        model,
        job.target,
        job.request,
        graph_name=job.request.graph_name or default_graph_name(model.graph.name),
        dlc=job.is_dlc,
        quantized=precision is not None,
        progress=progress,
    )
    source = None
    if job.is_dlc and job.output is not None:
        source = write_dlc(made, model, job.output)
    elif job.output is not None and made.context is not None:
        write_qnn(made.data, _wrapper(job.runtime, made.context), job.output)
    return {
        "model": made,
        "changes": changes,
        "source": source,
        "qnn": _describe(made, job, precision),
        **(edges_of(made.context) if made.context else _graph_edges(model)),
    }


def wrap_binary(
    path: Path, device: str | Sequence[str] | None, output: PathLike | None
) -> tuple[ContextBinary, Path | None, str]:
    """Put a context binary into an ONNX model; return it, where that was written, and its device.

    Raises SpecError where a device is named whose chip the binary is not for.
    """
    require_qnn()
    context = read_context(path)
    name = context.chipset
    if device:
        devices = find_devices(device, "precompiled_qnn_onnx")
        for it in devices:
            check_chip(context, it)
        name = ", ".join(it.name for it in devices)
    target = None
    if output is not None:
        check_qnn_output(Path(output))
        target = check_output(output, (path,), suffixes=RUNTIMES["precompiled_qnn_onnx"])
        write_qnn(path.read_bytes(), make_wrapper(context), target)
    return context, target, name


def check_chip(context: ContextBinary, device: CatalogueDevice) -> None:
    """Raise SpecError unless the binary is for the chip of ``device``: nothing else would."""
    target = common_target((device,))
    if context.soc_model != target.soc_model:
        raise SpecError(
            f"The context binary is for {context.chipset} ({context.arch}), and '{device.name}' "
            f"has {target.chipset} ({target.arch})",
            remedy="Compile the model for this device",
        )


def edges_of(context: ContextBinary) -> dict[str, Any]:
    """Return inputs and outputs of the first graph in the forms that ``CompileResult`` has."""
    graph = context.graph()
    sides: dict[str, Any] = {}
    for side, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        specs = binary_specs(tensors)
        sides[f"{side}s"] = tuple(TensorSummary(it.name, it.dtype, it.shape) for it in specs)
        sides[f"{side}_spec"] = specs
    return sides


def binary_specs(tensors: Sequence[ContextTensor]) -> tuple[IoSpec, ...]:
    """Return specs of a compiled graph's inputs or outputs."""
    return tuple(IoSpec(it.name, it.dtype, it.shape, it.scale, it.zero_point) for it in tensors)


def _graph_edges(model: ir.Model) -> dict[str, Any]:
    sides: dict[str, Any] = {}
    for side, values in (("input", model.graph.inputs), ("output", model.graph.outputs)):
        specs = io_specs(model, values)
        sides[f"{side}s"] = tuple(TensorSummary(it.name, it.dtype, it.shape) for it in specs)
        sides[f"{side}_spec"] = specs
    return sides


def _wrapper(runtime: str, context: ContextBinary) -> bytes | None:
    return make_wrapper(context) if runtime == "precompiled_qnn_onnx" else None


def _tell_devices(job: QnnJob, progress: Progress) -> None:
    if len(job.devices) > 1 and not job.is_dlc:
        progress.notice(
            f"one binary for {len(job.devices)} devices: compiled for {job.target.chipset} "
            f"(Hexagon {job.target.arch}), the oldest of their chips"
        )


def _describe(made: QnnModel, job: QnnJob, precision: str | None) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": job.runtime, "precision": precision or _FLOAT}
    if made.context is not None:
        told |= made.context.to_dict()
    else:
        told |= dlc_facts(made.data, made.graph_names)
    return {
        **told,
        "op_counts": dict(Counter(op.op_type for op in made.ops).most_common()),
        "prepare_us": made.prepare_us,
        "compile_seconds": round(made.seconds, 3),
    }


def dlc_facts(data: bytes, graph_names: Sequence[str]) -> dict[str, Any]:
    """Return of a DLC what a context binary's description has; it is for no chip yet."""
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        **dict.fromkeys(("soc_model", "chipset", "hexagon", "vtcm_mb", "optimization_level")),
        "backend": "HTP",
        "graph_names": list(graph_names),
        "qairt_version": check_qairt(None),
        "build_id": None,
        "core_api": None,
        "provider": f"{PACKAGE} {provider_version()}",
        "graphs": [],
    }
