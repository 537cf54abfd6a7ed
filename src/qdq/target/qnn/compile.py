"""From an ONNX graph to a context binary or a DLC, compiled in a process of its own."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from qdq.base.child import run_child
from qdq.base.devices import HtpTarget
from qdq.base.errors import ChildCrashError, InternalError, UnsupportedError
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.base.qnn_package import require_qnn
from qdq.graph import save_model
from qdq.runtime.qnn.context import ContextBinary, context_from
from qdq.target.qnn.compile_child import CONTEXT_NAME, DLC_FOLDER, PROFILE_NAME
from qdq.target.qnn.op_trace import PlacedOp, read_trace
from qdq.target.qnn.request import QnnRequest

__all__ = ["QnnModel", "QnnSource", "compile_files", "compile_qnn"]

_MODULE = "qdq.target.qnn.compile_child"
_SECONDS = 6 * 3600.0
# In front of the wrapper's graph the provider runs ONNX Runtime's own optimisations.
_MODEL = "model.onnx"
_TIMED = "SUB-EVENT"


@dataclass(frozen=True, slots=True)
class QnnSource:
    """An ONNX file to compile, and the name of its graph in the result."""

    path: Path
    graph_name: str


@dataclass(frozen=True, slots=True)
class QnnModel:
    """A compiled model: ``data`` is a context binary, described by ``context``, or else a DLC.

    ``ops`` are the QNN ops and the ONNX nodes each came from; ``prepare_us`` what the compiler's
    phases took on this host, in microseconds; ``seconds`` is the compiler's whole time.
    """

    data: bytes
    graph_names: tuple[str, ...]
    context: ContextBinary | None
    ops: tuple[PlacedOp, ...]
    prepare_us: dict[str, int]
    seconds: float


def compile_qnn(
    model: ir.Model,
    target: HtpTarget,
    request: QnnRequest,
    *,
    graph_name: str,
    dlc: bool = False,
    quantized: bool,
    progress: Progress = NO_PROGRESS,
) -> QnnModel:
    """Compile ``model``, a graph in the form of target onnx, for one chip.

    Raises MissingDependencyError, UnsupportedError that names the node and op that the compiler
    refuses, or a float model for a chip without float16; and ChildCrashError, ChildMemoryError or
    ChildTimeoutError where the compiler's process ends otherwise.
    """
    require_qnn()
    if not quantized and not target.fp16:
        raise UnsupportedError(
            f"The model computes in float, and the NPU of {target.chipset} (Hexagon {target.arch}) "
            "has no float16",
            remedy="Quantize the model first, or choose a chip with htp-supports-fp16:true",
        )
    with tempfile.TemporaryDirectory(prefix="qdq-qnn-") as folder:
        path = Path(folder, _MODEL)
        save_model(model, path)
        source = QnnSource(path, graph_name)
        return compile_files((source,), target, request, dlc=dlc, progress=progress)


def compile_files(
    sources: Sequence[QnnSource],
    target: HtpTarget,
    request: QnnRequest,
    *,
    dlc: bool = False,
    progress: Progress = NO_PROGRESS,
) -> QnnModel:
    """Compile ONNX files, each one graph, into one context; errors as ``compile_qnn``'s."""
    names = [source.graph_name for source in sources]
    with tempfile.TemporaryDirectory(prefix="qdq-qnn-") as folder:
        workdir = Path(folder)
        output = workdir / "output"
        output.mkdir()
        try:
            told = run_child(
                _MODULE,
                {
                    "models": [_linked(it.path, workdir, i) for i, it in enumerate(sources)],
                    "graph_names": names,
                    "output": "output",
                    "soc_model": target.soc_model,
                    "options": _options(target, request),
                    "dlc": dlc,
                },
                timeout_s=_SECONDS,
                workdir=workdir,
                progress=progress,
            )
        except ChildCrashError as error:
            raise ChildCrashError(
                f"Qualcomm's HTP compiler died on this model: {error.cause}",
                remedy="Compile for another target runtime, or with other --qnn_options; the "
                "compiler is Qualcomm's, and its last words are in the log",
            ) from error
        return _collect(output, names, target, told, dlc=dlc)


def _linked(path: Path, workdir: Path, index: int) -> str:
    """Return the model's path seen from ``workdir``: always the same, as the bytes depend on it."""
    place = workdir / f"model_{index}"
    place.symlink_to(path.resolve().parent, target_is_directory=True)
    return str(Path(place.name, path.name))


def _options(target: HtpTarget, request: QnnRequest) -> dict[str, str]:
    return {
        **request.provider_options(),
        # What is float computes in float16 on chips that have it, as the HTP has no float32.
        "enable_htp_fp16_precision": "1" if target.fp16 else "0",
    }


def _collect(
    output: Path, names: Sequence[str], target: HtpTarget, told: Mapping[str, Any], *, dlc: bool
) -> QnnModel:
    seconds = float(told["seconds"])
    folders = [output / str(index) for index in range(len(names))]
    ops = tuple(
        replace(op, graph=name)
        for name, folder in zip(names, folders, strict=True)
        for op in read_trace(folder).placed
    )
    if dlc:
        files = sorted((folders[0] / DLC_FOLDER).glob("*.dlc"))
        if len(files) != 1:
            raise InternalError(f"The compiler wrote {len(files)} DLC files for one model")
        return QnnModel(files[0].read_bytes(), tuple(names), None, ops, {}, seconds)
    binary = output / CONTEXT_NAME
    if told["context"] is None:
        raise InternalError("The compiler ended well and wrote no context binary")
    context = context_from(told["context"])
    _check(context, names, target)
    return QnnModel(
        binary.read_bytes(), tuple(names), context, ops, _prepare_times(folders[0]), seconds
    )


def _check(context: ContextBinary, names: Sequence[str], target: HtpTarget) -> None:
    if context.soc_model != target.soc_model:
        raise InternalError(
            f"The binary reads back as for the chip {context.soc_model}, not {target.soc_model}"
        )
    made = sorted(graph.name for graph in context.graphs)
    if made != sorted(names):
        raise InternalError(f"The binary reads back with the graphs {made}, not {sorted(names)}")


def _prepare_times(folder: Path) -> dict[str, int]:
    """Read what the phases took from the provider's profile; host time, no device's."""
    times: dict[str, int] = {}
    try:
        text = (folder / PROFILE_NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return times
    for row in csv.DictReader(text.splitlines()):
        event: dict[str, Any] = row
        if event.get("Event Level") == _TIMED and event.get("Unit of Measurement") == "US":
            name, time = str(event.get("Event Identifier")), str(event.get("Time"))
            if time.isdigit():
                times[name] = times.get(name, 0) + int(time)
    return times
