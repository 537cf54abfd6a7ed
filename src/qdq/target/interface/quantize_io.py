"""``--quantize_io``: inputs and outputs of a quantized model become integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qdq.graph import GraphPass, NoteLog, add_initializer, fresh_name
from qdq.target.interface.edges import (
    add_after_input,
    add_before_output,
    graph_inputs,
    is_passed_through,
)
from qdq.target.interface.marks import io_encoding, mark_encoding
from qdq.target.onnx.encodings import encoding_of

__all__ = ["QuantizeIo"]

_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
_BITS = {"int8": 8, "uint8": 8, "int16": 16, "uint16": 16}


@dataclass(frozen=True, slots=True)
class _Edge:
    """A per-tensor encoding as it stands at an edge: numpy scalars and the dtype's name."""

    scale: np.generic
    zero_point: int
    dtype: str

    def shifted(self, dtype: str | None) -> _Edge:
        """Return the same grid in another integer type of the same width, if that was asked for."""
        if dtype is None or dtype == self.dtype or _BITS[dtype] != _BITS[self.dtype]:
            return self
        half = 1 << (_BITS[dtype] - 1)
        shift = half if self.dtype.startswith("i") else -half
        return _Edge(self.scale, self.zero_point + shift, dtype)


class QuantizeIo(GraphPass):
    """Remove the Q behind inputs and the DQ in front of outputs; callers exchange integers.

    ``dtype`` is the integer type to use where its width is that of the encoding: the zero point
    shifts, the values stay the same exactly.  Inputs and outputs that no Q or DQ stands at stay
    as they are, with a remark.
    """

    name = "quantize_io"

    def __init__(self, dtype: str | None = None) -> None:
        self._dtype = dtype

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Turn each float input and output that has an encoding."""
        modified = _mark_integers(model)
        for value in graph_inputs(model.graph):
            if value.dtype in _FLOATS:
                modified |= self._turn_input(model, value, log)
        for index, value in enumerate(tuple(model.graph.outputs)):
            if value.dtype in _FLOATS:
                modified |= self._turn_output(model, index, log)
        return modified

    def _turn_input(self, model: ir.Model, value: ir.Value, log: NoteLog) -> bool:
        quantizers = _quantizers(value)
        if not quantizers or is_passed_through(value):
            why = "it is an output as well" if quantizers else "no QuantizeLinear reads it"
            log.remark(f"input '{value.name}' stays float: {why}")
            return False
        own = next(iter(quantizers.values()))
        edge = own.shifted(self._dtype)
        self._tell(value, edge, log)
        replaced = [
            node
            for node, found in quantizers.items()
            if edge == own == found and not node.outputs[0].is_graph_output()
        ]
        _feed_integers(model.graph, value, edge, replaced)
        value.type = ir.TensorType(ir.DataType[edge.dtype.upper()])
        mark_encoding(model, str(value.name), float(edge.scale), edge.zero_point)
        log.remark(f"input '{value.name}' takes {edge.dtype}", applied=True)
        return True

    def _turn_output(self, model: ir.Model, index: int, log: NoteLog) -> bool:
        value = model.graph.outputs[index]
        producer = value.producer()
        own = None if producer is None else _edge(producer)
        if producer is None or own is None or producer.op_type != "DequantizeLinear":
            log.remark(f"output '{value.name}' stays float: no DequantizeLinear makes it")
            return False
        edge = own.shifted(self._dtype)
        self._tell(value, edge, log)
        if edge != own:
            # A Q of its own behind the DQ: the kernels in front keep the type they run fast in.
            output = add_before_output(
                model.graph,
                index,
                "QuantizeLinear",
                suffix="dequantized",
                parameters=_parameters(model.graph, str(value.name), edge),
            )
        else:
            output = _take_integers(model.graph, index, producer)
        output.type = ir.TensorType(ir.DataType[edge.dtype.upper()])
        mark_encoding(model, str(output.name), float(edge.scale), edge.zero_point)
        log.remark(f"output '{output.name}' gives {edge.dtype}", applied=True)
        return True

    def _tell(self, value: ir.Value, edge: _Edge, log: NoteLog) -> None:
        if self._dtype is not None and edge.dtype != self._dtype:
            log.remark(
                f"'{value.name}' becomes {edge.dtype}, not {self._dtype}: its encoding has "
                f"{_BITS[edge.dtype]} bits"
            )


def _mark_integers(model: ir.Model) -> bool:
    """Note the encodings of inputs and outputs that were integers before; return whether any."""
    found: dict[str, _Edge] = {}
    for value in graph_inputs(model.graph):
        edges = {_edge(node) for node, index in value.uses() if _is_node(node, "Dequantize", index)}
        edge = edges.pop() if len(edges) == 1 else None
        if edge is not None:
            found[str(value.name)] = edge
    for value in model.graph.outputs:
        producer = value.producer()
        edge = _edge(producer) if producer and _is_node(producer, "Quantize") else None
        if edge is not None:
            found[str(value.name)] = edge
    fresh = {name: edge for name, edge in found.items() if io_encoding(model, name) is None}
    for name, edge in fresh.items():
        mark_encoding(model, name, float(edge.scale), edge.zero_point)
    return bool(fresh)


def _is_node(node: ir.Node, verb: str, index: int = 0) -> bool:
    return node.op_type == f"{verb}Linear" and not node.domain and index == 0


def _edge(node: ir.Node) -> _Edge | None:
    """Return the constant per-tensor encoding of 8 or 16 bits of a Q or DQ node, else None."""
    encoding = encoding_of(node)
    if encoding is None or encoding.scale.size != 1 or encoding.zero_point.size != 1:
        return None
    dtype = encoding.zero_point.dtype.name
    if dtype not in _BITS:
        return None
    return _Edge(encoding.scale.reshape(-1)[0], int(encoding.zero_point.reshape(-1)[0]), dtype)


def _parameters(graph: ir.Graph, name: str, edge: _Edge) -> list[ir.Value]:
    return [
        add_initializer(graph, f"{name}_io_scale", np.asarray(edge.scale)),
        add_initializer(graph, f"{name}_io_zero_point", np.asarray(edge.zero_point, edge.dtype)),
    ]


def _quantizers(value: ir.Value) -> dict[ir.Node, _Edge]:
    """Return the QuantizeLinear nodes that read ``value``, in graph order."""
    nodes = (node for node, index in value.uses() if index == 0)
    found = {node: _edge(node) for node in nodes if node.op_type == "QuantizeLinear"}
    return {node: edge for node, edge in found.items() if edge is not None}


def _feed_integers(graph: ir.Graph, value: ir.Value, edge: _Edge, replaced: list[ir.Node]) -> None:
    """Let readers of the ``replaced`` Q nodes read ``value``, and all others read it dequantized.

    With no node to replace, the Q nodes stay behind the DQ: they give back the same integers.
    """
    waiting = [(use.node, use.idx) for node in replaced for use in node.outputs[0].uses()]
    if len(replaced) < len(tuple(value.uses())):
        add_after_input(
            graph,
            value,
            "DequantizeLinear",
            name=f"{value.name}_dequantized",
            parameters=_parameters(graph, str(value.name), edge),
        )
    for node, index in waiting:
        node.replace_input_with(index, value)
    for node in replaced:
        graph.remove(node, safe=True)


def _take_integers(graph: ir.Graph, index: int, dequantize: ir.Node) -> ir.Value:
    """Make what ``dequantize`` reads the output at ``index``, under the output's name."""
    value, source = graph.outputs[index], dequantize.inputs[0]
    assert source is not None
    name = value.name
    value.name = fresh_name(graph, f"{name}_dequantized")
    if source.producer() is None or source.is_graph_output():
        copy = ir.Node("", "Identity", [source], name=f"{name}_as_output")
        graph.append(copy)
        copy.outputs[0].shape = source.shape
        source = copy.outputs[0]
    source.name = name
    graph.outputs[index] = source
    if not value.uses() and not value.is_graph_output():
        graph.remove(dequantize, safe=True)
    return source
