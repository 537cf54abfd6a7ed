"""What of a model runs on the NPU, how long the compiler prepared it, and how large it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qdq.base.devices import find_device
from qdq.base.errors import UnsupportedError
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.base.qnn_files import QnnKind, qnn_kind
from qdq.base.qnn_package import require_qnn, simulator_label
from qdq.library._compile_qnn import check_chip
from qdq.library._execution import tell_units
from qdq.library._notices import NoticeKeeper
from qdq.library._qnn_source import retained_source
from qdq.library._run_qnn import compile_retained, qnn_run_options
from qdq.library._sources import PathLike
from qdq.runtime.qnn.context import ContextBinary, ContextGraph
from qdq.runtime.qnn.files import open_compiled
from qdq.runtime.qnn.session import open_context
from qdq.runtime.tensors import Array, TensorInfo
from qdq.target.qnn import QnnModel

__all__ = ["GraphPlacement", "OpPlacement", "QnnPlacement", "qnn_placement"]

_NPU = "NPU"
_NO_LATENCY = (
    "no latency is known: it needs the device itself; times of the simulator and of preparing are "
    "times of this host"
)


@dataclass(frozen=True, slots=True)
class OpPlacement:
    """An op of the compiled graph; ``op_type`` is empty where the binary does not tell it.

    ``sources`` are the ONNX nodes that it came from, where the compiler was run for this.
    """

    name: str
    op_type: str
    unit: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GraphPlacement:
    """One graph: its ops in order, how many of each type, and bytes going in and out."""

    name: str
    ops: tuple[OpPlacement, ...]
    op_counts: dict[str, int]
    io_bytes: int


@dataclass(frozen=True, slots=True)
class QnnPlacement:
    """All that is known of a compiled model without its device.

    ``prepare_us`` are microseconds of the compiler's phases on this host, empty for a binary that
    was compiled before; ``weight_bytes`` is the part of the binary that the HTP gets, weights and
    op list together.
    """

    label: str
    device: str | None
    soc_model: int
    chipset: str
    hexagon: str | None
    qairt_version: str
    graphs: tuple[GraphPlacement, ...]
    prepare_us: dict[str, int]
    binary_bytes: int
    weight_bytes: int
    vtcm_mb: int | None
    notices: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, which says that there is no latency in it."""
        return {**asdict(self), "latency_known": False}


def qnn_placement(
    model: PathLike,
    *,
    device: str | None = None,
    source: PathLike | None = None,
    options: str = "",
    progress: Progress = NO_PROGRESS,
) -> QnnPlacement:
    """Tell where the ops of a compiled QNN model run; nothing is measured.

    Of a context binary the ops are those that the simulator names when it runs each graph once, on
    zeros; a DLC's retained ``source`` is compiled for ``device``.  Raises UnsupportedError for
    other models, and the errors of ``qdq.run``.
    """
    require_qnn()
    kind = qnn_kind(model)
    if kind is None:
        raise UnsupportedError(
            f"'{model}' is no compiled QNN model", remedy="Compile it for a QNN runtime first"
        )
    keeper = NoticeKeeper(progress)
    keeper.notice(_NO_LATENCY)
    tell_units(qnn_run_options(options), keeper, qnn=True)
    if kind is not QnnKind.DLC:
        return _of_binary(Path(model), device, keeper)
    made = compile_retained(retained_source(model, source), device, keeper)
    return _of_compiled(made, device, keeper)


def _of_compiled(made: QnnModel, device: str | None, keeper: NoticeKeeper) -> QnnPlacement:
    assert made.context is not None
    graphs = []
    for graph in made.context.graphs:
        ops = tuple(
            OpPlacement(op.name, op.op_type, _NPU, op.sources)
            for op in made.ops
            if op.graph == graph.name
        )
        graphs.append(_graph(graph, ops))
    return _placement(made.context, tuple(graphs), device, keeper, made.prepare_us)


def _of_binary(path: Path, device: str | None, keeper: NoticeKeeper) -> QnnPlacement:
    graphs = []
    with open_compiled(path) as compiled:
        with open_context(compiled.binary) as session:
            context = session.context
        if device is not None:
            check_chip(context, find_device(device))
        for graph in context.graphs:
            names = _op_names(compiled.binary, graph.name, keeper)
            graphs.append(_graph(graph, tuple(OpPlacement(name, "", _NPU) for name in names)))
    return _placement(context, tuple(graphs), device, keeper, {})


def _op_names(binary: Path, graph: str, keeper: NoticeKeeper) -> tuple[str, ...]:
    with open_context(binary, graph=graph) as session:
        try:
            return session.op_names({info.name: _zeros(info) for info in session.inputs})
        except UnsupportedError as error:
            keeper.notice(f"the ops of '{graph}' are not told: {error.cause}")
            return ()


def _placement(
    context: ContextBinary,
    graphs: tuple[GraphPlacement, ...],
    device: str | None,
    keeper: NoticeKeeper,
    prepare_us: dict[str, int],
) -> QnnPlacement:
    return QnnPlacement(
        label=simulator_label(),
        device=device,
        soc_model=context.soc_model,
        chipset=context.chipset,
        hexagon=context.arch,
        qairt_version=context.qairt_version,
        graphs=graphs,
        prepare_us=prepare_us,
        binary_bytes=context.size,
        weight_bytes=context.blob_bytes,
        vtcm_mb=context.vtcm_mb,
        notices=keeper.notices,
    )


def _graph(graph: ContextGraph, ops: tuple[OpPlacement, ...]) -> GraphPlacement:
    counts = Counter(op.op_type for op in ops if op.op_type)
    size = sum(_zeros(it.info()).nbytes for it in (*graph.inputs, *graph.outputs))
    return GraphPlacement(graph.name, ops, dict(counts.most_common()), size)


def _zeros(info: TensorInfo) -> Array:
    shape = tuple(dim or 1 for dim in info.shape)
    return np.zeros(shape, np.dtype(info.dtype))
