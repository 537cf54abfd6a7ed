"""The steps of target ``tflite``, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from qdq.base.errors import SpecError
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.base.version import __version__
from qdq.graph import Note, PassOutcome
from qdq.target.interface import InterfaceRequest
from qdq.target.interface.output_names import RenameOutputs
from qdq.target.interface.truncate_io import TruncateIo
from qdq.target.interface.truncate_tensors import TruncateTensors
from qdq.target.tflite import layout
from qdq.target.tflite.absorb import absorb
from qdq.target.tflite.assemble import assemble
from qdq.target.tflite.decide import Decision, decide
from qdq.target.tflite.edges import quantize_edges
from qdq.target.tflite.emit import Metadata, check_fits, emit
from qdq.target.tflite.ir import Node, Value
from qdq.target.tflite.join import join_biases
from qdq.target.tflite.lower import ADMITS
from qdq.target.tflite.prepare import prepare
from qdq.target.tflite.program import Program, Tensor
from qdq.target.tflite.translate import translate
from qdq.target.tflite.view import View

__all__ = ["TensorSpec", "TfliteModel", "compile_tflite"]

_RANKS = (3, 4, 5)
_TOLD = 8


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output as callers see it; scale and zero point where it holds integers."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True, slots=True)
class TfliteModel:
    """The file's bytes and what is known of it.

    ``provenance[i]`` names the ONNX nodes of operator ``i``; ``changes`` are sentences of the
    passes, ``notices`` what a user should know: float islands, edges that stay float.
    """

    data: bytes
    provenance: tuple[tuple[str, ...], ...]
    input_spec: tuple[TensorSpec, ...]
    output_spec: tuple[TensorSpec, ...]
    changes: tuple[str, ...]
    notices: tuple[str, ...]


def compile_tflite(
    model: ir.Model,
    request: InterfaceRequest | None = None,
    *,
    source_sha256: str = "",
    progress: Progress = NO_PROGRESS,
) -> TfliteModel:
    """Convert ``model``, which is changed on the way, to TFLite.

    Every scale stays as it is; a quantized op without an integer kernel stays float, with a
    notice.  Raises UnsupportedError naming the node for what TFLite or this version lacks,
    SpecError for names in ``request`` that do not fit, and the errors of ``prepare``.
    """
    request = InterfaceRequest() if request is None else request
    progress.step("prepare", 1)
    changes = _interface_steps(model, request)
    prepare(model)
    progress.advance()
    progress.step("convert", 1)
    translated, encoded = translate(model)
    graph = join_biases(translated, View(translated, encoded))
    view = View(graph, encoded)
    decisions = decide(graph, view, ADMITS)
    absorbed = absorb(graph, view, decisions)
    notices = [*_island_notices(decisions), *_dropped_notices(absorbed.dropped)]
    lowered = absorbed.graph
    if request.quantize_io:
        edged = quantize_edges(lowered, request.quantize_io_type)
        lowered = edged.graph
        notices.extend(edged.notices)
    check_fits(lowered)
    program = assemble(
        lowered,
        _channels_last(lowered.inputs, request.channels_last_inputs, "input"),
        _channels_last(lowered.outputs, request.channels_last_outputs, "output"),
    )
    progress.advance()
    progress.step("write", 1)
    data = emit(program, Metadata("qdq", __version__, source_sha256))
    for notice in notices:
        progress.notice(notice)
    progress.advance()
    return _described(program, data, changes, tuple(notices))


def _interface_steps(model: ir.Model, request: InterfaceRequest) -> tuple[str, ...]:
    """Run the steps that rewrite ONNX as well as they rewrite anything."""
    notes: list[Note] = []
    steps = (
        RenameOutputs(request.output_names) if request.output_names else None,
        TruncateIo() if request.truncate_io else None,
        TruncateTensors() if request.truncate_tensors else None,
    )
    for step in steps:
        if step is not None:
            outcome = step(model)
            assert isinstance(outcome, PassOutcome)
            notes.extend(note for note in outcome.notes if note.applied)
    return tuple(str(note) for note in notes)


def _channels_last(
    values: Sequence[tuple[str, Value]], names: Sequence[str], what: str
) -> dict[str, layout.Perm]:
    known = dict(values)
    for name in names:
        if name not in known:
            raise SpecError(
                f"--force_channel_last_{what} names '{name}', which is no {what} of the model",
                remedy=f"The {what}s are {', '.join(repr(n) for n in known)}",
            )
        if known[name].rank not in _RANKS:
            raise SpecError(
                f"The {what} '{name}' has rank {known[name].rank}, and only tensors of rank "
                f"{', '.join(map(str, _RANKS))} have channels",
                remedy="Leave it out",
            )
    return {name: layout.channels_last(known[name].rank) for name in names}


def _island_notices(decisions: dict[Node, Decision]) -> list[str]:
    by_reason: dict[tuple[str, str], list[str]] = {}
    for node, decision in decisions.items():
        if decision.why:
            by_reason.setdefault((node.op_type, decision.why), []).append(node.name)
    return [
        f"{op_type} {_told(names)} {'computes' if len(names) == 1 else 'compute'} in float32 "
        f"between integers: {why}"
        for (op_type, why), names in by_reason.items()
    ]


def _dropped_notices(dropped: Sequence[tuple[str, str]]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for name, why in dropped:
        by_reason.setdefault(why, []).append(name)
    return [
        f"{_told(names)} {'stays' if len(names) == 1 else 'stay'} float32, rounded as the model "
        f"does: {why}"
        for why, names in by_reason.items()
    ]


def _told(names: list[str]) -> str:
    text = ", ".join(f"'{name}'" for name in names[:_TOLD])
    return text if len(names) <= _TOLD else f"{text} and {len(names) - _TOLD} more"


def _described(
    program: Program, data: bytes, changes: tuple[str, ...], notices: tuple[str, ...]
) -> TfliteModel:
    return TfliteModel(
        data,
        tuple(operator.sources for operator in program.operators),
        tuple(_spec(name, tensor) for name, tensor in program.inputs),
        tuple(_spec(name, tensor) for name, tensor in program.outputs),
        changes,
        notices,
    )


def _spec(name: str, tensor: Tensor) -> TensorSpec:
    encoding = tensor.encoding
    if encoding is None:
        return TensorSpec(name, tensor.dtype, tensor.shape)
    return TensorSpec(
        name, tensor.dtype, tensor.shape, encoding.scale[0], int(encoding.zero_point[0])
    )
