"""What the Q/DQ nodes of a graph say about its float values; reads only."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from qdq.target.tflite.ir import FLOATS, Clamp, Encoding, Graph, Node, Value
from qdq.target.tflite.translate import Q_OPS, Encoded

__all__ = ["CLAMPS", "View", "bounds_of", "clamp_kind"]

CLAMPS = (
    Clamp("RELU", 0.0, np.inf),
    Clamp("RELU6", 0.0, 6.0),
    Clamp("RELU_N1_TO_1", -1.0, 1.0),
)


class View:
    """Producers, readers and encodings of a translated graph."""

    def __init__(self, graph: Graph, encoded: dict[str, Encoded]) -> None:
        self._encoded = encoded
        self._readers: dict[Value, list[Node]] = defaultdict(list)
        self._producers: dict[Value, Node] = {}
        self._outputs = {value for _, value in graph.outputs}
        for node in graph.nodes:
            for value in node.inputs:
                if value is not None:
                    self._readers[value].append(node)
            for value in node.outputs:
                self._producers[value] = node

    def said(self, node: Node) -> Encoded:
        """Return what a Q or DQ node says."""
        return self._encoded[node.name]

    def producer(self, value: Value) -> Node | None:
        """Return the node that makes ``value``."""
        return self._producers.get(value)

    def dequantizer(self, value: Value | None) -> Node | None:
        """Return the DQ node that makes ``value``, None where another does."""
        node = None if value is None else self._producers.get(value)
        return node if node is not None and node.op_type == "DequantizeLinear" else None

    def encoding(self, value: Value | None) -> Encoding | None:
        """Return the encoding of a float value that a DQ makes, None where TFLite has none."""
        node = self.dequantizer(value)
        return None if node is None else self.said(node).encoding

    def readers(self, value: Value) -> list[Node]:
        """Return the nodes that read ``value``, one entry for each time."""
        return self._readers[value]

    def is_output(self, value: Value) -> bool:
        """Whether callers see ``value``."""
        return value in self._outputs

    def is_needed(self, value: Value) -> bool:
        """Whether anyone reads ``value``."""
        return bool(self._readers[value]) or value in self._outputs

    def sole_reader(self, value: Value) -> Node | None:
        """Return the node that alone reads ``value``, once."""
        readers = self._readers[value]
        return readers[0] if len(readers) == 1 and value not in self._outputs else None

    def quantized_as(self, value: Value) -> Encoding | None:
        """Return the one encoding in which everybody reads ``value``, else None."""
        readers = self._readers[value]
        if not readers or value in self._outputs:
            return None
        if any(node.op_type != "QuantizeLinear" or node.inputs[0] is not value for node in readers):
            return None
        found = {self.said(node).encoding for node in readers}
        return found.pop() if len(found) == 1 else None

    def clips_after(self, value: Value) -> list[Node]:
        """Return the chain of Relu and Clip nodes of known bounds that alone read ``value``."""
        chain: list[Node] = []
        while (node := self.sole_reader(value)) is not None and bounds_of(node) is not None:
            chain.append(node)
            value = node.outputs[0]
        return chain

    @staticmethod
    def is_qdq(node: Node) -> bool:
        """Whether ``node`` is a Q or a DQ."""
        return node.op_type in Q_OPS


def bounds_of(node: Node) -> tuple[float, float] | None:
    """Return between what a Relu or Clip holds floats, None for other nodes and computed bounds."""
    if node.outputs[0].dtype not in FLOATS:
        return None
    if node.op_type == "Relu":
        return 0.0, float(np.inf)
    if node.op_type != "Clip":
        return None
    bounds = [-float(np.inf), float(np.inf)]
    for index in (1, 2):
        if node.input(index) is not None:
            array = node.constant(index)
            if array is None:
                return None
            bounds[index - 1] = float(array.reshape(-1)[0])
    return bounds[0], bounds[1]


def clamp_kind(low: float, high: float, encoding: Encoding | None) -> Clamp | None:
    """Return the fused activation of these bounds, None where TFLite has none.

    On a grid, bounds count as equal where they fall on the same integers; one of kind ``NONE``
    means that the grid saturates there anyway.
    """
    if encoding is None:
        return next((c for c in CLAMPS if (c.low, c.high) == (low, high)), None)
    ends = (encoding.integer(low), encoding.integer(high))
    if ends == encoding.limits:
        return Clamp("NONE", low, high)
    return next(
        (c for c in CLAMPS if (encoding.integer(c.low), encoding.integer(c.high)) == ends), None
    )
