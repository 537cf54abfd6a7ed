"""Inputs and outputs as the options ask for: integers at the edge where the model quantizes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from qdq.target.tflite.ir import FLOATS, Encoding, Graph, Node, Value

__all__ = ["Edged", "quantize_edges"]


@dataclass(frozen=True, slots=True)
class Edged:
    """The graph with integer edges, and sentences on the inputs and outputs that stay float."""

    graph: Graph
    notices: tuple[str, ...]


def quantize_edges(graph: Graph, io_type: str | None) -> Edged:
    """Let callers give and take the integers that the first and last Q and DQ exchange.

    ``io_type`` uint8 shifts 8-bit integers to it; by default they are int8, and int16 for 16 bits.
    """
    editor = _Editor(graph, io_type or "int8")
    for index, (name, value) in enumerate(graph.inputs):
        if value.dtype in FLOATS:
            editor.turn_input(index, name, value)
    for index, (name, value) in enumerate(graph.outputs):
        if value.dtype in FLOATS:
            editor.turn_output(index, name, value)
    return editor.finish()


class _Editor:
    def __init__(self, graph: Graph, io_type: str) -> None:
        self._nodes = list(graph.nodes)
        self._inputs, self._outputs = list(graph.inputs), list(graph.outputs)
        self._io_type = io_type
        self._notices: list[str] = []

    def turn_input(self, index: int, name: str, value: Value) -> None:
        readers = [node for node in self._nodes if value in node.inputs]
        quantizers = [node for node in readers if node.op_type == "QuantizeLinear"]
        encodings = {node.outputs[0].encoding for node in quantizers}
        if len(encodings) != 1:
            # In the encoding of one, the others would read what it has cut off.
            why = "quantizes it with several encodings" if encodings else "does not quantize it"
            self._notices.append(f"--quantize_io: input '{name}' stays float: the model {why}")
            return
        (inner,) = encodings
        assert inner is not None
        edge = self._edge(inner)
        given = Value(name, value.shape, edge.dtype, edge)
        self._inputs[index] = (name, given)
        added: list[Node] = []
        for node in quantizers:
            added.append(_converted("Requantize", given, node.outputs[0], node.sources))
        if len(quantizers) < len(readers) or any(value is v for _, v in self._outputs):
            added.append(_converted("DequantizeLinear", given, value, ()))
            self._notices.append(
                f"--quantize_io: input '{name}' is also read in float: rounded as its integers are"
            )
        self._nodes = [*added, *(node for node in self._nodes if node not in quantizers)]

    def turn_output(self, index: int, name: str, value: Value) -> None:
        made = next((node for node in self._nodes if value in node.outputs), None)
        if made is None or made.op_type != "DequantizeLinear":
            self._notices.append(
                f"--quantize_io: output '{name}' stays float: the model does not quantize it"
            )
            return
        source = made.data(0)
        assert source.encoding is not None
        edge = self._edge(source.encoding)
        if edge == source.encoding and source.data is None:
            self._outputs[index] = (name, source)
        else:
            result = Value(name, source.shape, edge.dtype, edge)
            self._nodes.append(_converted("Requantize", source, result, made.sources))
            self._outputs[index] = (name, result)
        uses = Counter(v for node in self._nodes for v in node.inputs)
        if not uses[value] and not any(value is v for _, v in self._outputs):
            self._nodes.remove(made)

    def finish(self) -> Edged:
        graph = Graph(tuple(self._nodes), tuple(self._inputs), tuple(self._outputs))
        return Edged(graph, tuple(self._notices))

    def _edge(self, encoding: Encoding) -> Encoding:
        if encoding.dtype == "int8" and self._io_type == "uint8":
            zeros = tuple(zero + 128 for zero in encoding.zero_point)
            return replace(encoding, dtype="uint8", zero_point=zeros)
        return encoding


def _converted(op_type: str, source: Value, result: Value, sources: tuple[str, ...]) -> Node:
    return Node(op_type, f"{result.name}_from_edge", (source,), (result,), sources=sources)
