"""Apply the decisions: a graph of integer and float nodes, with Q and DQ only where they meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qdq.base.errors import UnsupportedError
from qdq.target.tflite.bias import bias_encoding, bias_real, factor_of, quantize_bias, scaled
from qdq.target.tflite.decide import Decision, constant_weight, data_inputs
from qdq.target.tflite.ir import FLOATS, Encoding, Graph, Node, Value
from qdq.target.tflite.rules import OpRow, op_row
from qdq.target.tflite.translate import shift_of
from qdq.target.tflite.view import View

__all__ = ["FAKE_QUANTIZE", "Absorbed", "absorb"]

FAKE_QUANTIZE = "FakeQuantize"


@dataclass(frozen=True, slots=True)
class Absorbed:
    """The graph without Q/DQ pairs, and the tensors whose encoding has no TFLite form: those
    stay float, on their grid.
    """

    graph: Graph
    dropped: tuple[tuple[str, str], ...]


def absorb(graph: Graph, view: View, decisions: dict[Node, Decision]) -> Absorbed:
    """Return the graph to lower.

    New ops in it: ``Requantize`` (integers to another encoding), ``FakeQuantize`` (floats held on
    a grid), ``QuantizeLinear`` and ``DequantizeLinear`` of one input each, the encoding being that
    of their integer value.
    """
    return _Absorber(graph, view, decisions).run()


class _Absorber:
    def __init__(self, graph: Graph, view: View, decisions: dict[Node, Decision]) -> None:
        self._graph, self._view, self._decisions = graph, view, decisions
        self._nodes: list[Node] = []
        # Integer value by original value: what a Q makes, a DQ reads, or an exact op passes on.
        self._integers: dict[Value, Value] = {}
        self._floats: dict[Value, Value] = {}
        self._requantized: dict[tuple[Value, Encoding], Value] = {}
        self._dropped: dict[str, str] = {}

    def run(self) -> Absorbed:
        for node in self._graph.nodes:
            decision = self._decisions.get(node)
            if decision is None:
                continue
            if decision.is_integer:
                self._integer_node(node, decision)
            else:
                self._float_node(node, decision)
        outputs = tuple((name, self._edge(value)) for name, value in self._graph.outputs)
        graph = Graph(tuple(self._nodes), self._graph.inputs, outputs)
        return Absorbed(graph, tuple(self._dropped.items()))

    def _float_node(self, node: Node, decision: Decision) -> None:
        inputs = tuple(None if v is None else self._float(v, node) for v in node.inputs)
        outputs = decision.chain[-1].outputs if decision.chain else node.outputs
        sources = (*node.sources, *(s for clip in decision.chain for s in clip.sources))
        self._nodes.append(
            node.replaced(inputs=inputs, outputs=outputs, clamp=decision.clamp, sources=sources)
        )

    def _integer_node(self, node: Node, decision: Decision) -> None:
        row = op_row(node.op_type)
        assert row is not None
        final = decision.encodings[0]
        inputs = self._integer_inputs(node, row, final)
        first = inputs[0]
        assert first is not None
        assert first.encoding is not None
        made = _kernel_encodings(row, first.encoding, decision)
        tails = decision.chain[-1].outputs if decision.chain else node.outputs
        needed = [v for v in tails if self._view.is_needed(v)]
        encodings = dict(zip(needed, zip(made, decision.encodings, strict=True), strict=True))
        sources = (*node.sources, *(s for clip in decision.chain for s in clip.sources))
        results = []
        for value in tails:
            own, _ = encodings.get(value, (made[0], final))
            results.append(Value(value.name, value.shape, own.dtype, own))
        fits = made == decision.encodings
        clamp, bounds = decision.clamp, decision.bounds
        if clamp is not None and not fits:
            bounds = (clamp.low, clamp.high)
            clamp = None
        self._nodes.append(
            node.replaced(
                inputs=inputs,
                outputs=tuple(results),
                attributes=_without_factors(node, row),
                clamp=clamp,
                sources=sources,
            )
        )
        for value, result in zip(tails, results, strict=True):
            wanted = encodings.get(value, (made[0], final))[1]
            last = self._requantize(result, wanted, sources)
            if bounds is not None:
                last = self._clip(last, bounds, sources)
            self._bind(value, last)

    def _integer_inputs(self, node: Node, row: OpRow, final: Encoding) -> tuple[Value | None, ...]:
        data = set(data_inputs(node, row, self._view))
        weight = constant_weight(node, row, self._view)
        inputs: list[Value | None] = []
        for index, value in enumerate(node.inputs):
            if value is None:
                inputs.append(None)
            elif value in data:
                found = self._integer(value)
                wanted = final if row.same == "inputs" else found.encoding
                assert wanted is not None
                inputs.append(self._requantize(found, wanted, node.sources))
            elif value is weight:
                inputs.append(self._weight(node, row, value))
            elif index == row.bias:
                inputs.append(self._bias(node, row, value, inputs))
            else:
                inputs.append(self._float(value, node))
        return tuple(inputs)

    def _weight(self, node: Node, row: OpRow, weight: Value) -> Value:
        """Return the integers of a weight, in whose scales what multiplies the product is."""
        integer = self._integer(weight)
        assert row.weight is not None
        assert integer.encoding is not None
        factor = factor_of(node, row.weight.factor)
        if factor == 1.0:
            return integer
        return replace(integer, encoding=scaled(integer.encoding, factor))

    def _bias(self, node: Node, row: OpRow, bias: Value, inputs: list[Value | None]) -> Value:
        source, weight = inputs[0], inputs[1]
        real = bias_real(bias, self._view)
        assert source is not None
        assert weight is not None
        assert source.encoding is not None
        assert weight.encoding is not None
        assert real is not None
        encoding = bias_encoding(source.encoding, weight.encoding)
        channels = len(encoding.scale)
        real = real.astype(np.float64) * factor_of(node, row.bias_factor)
        flat = np.broadcast_to(real.reshape(-1), (max(channels, real.size),))
        data = quantize_bias(flat, encoding)
        return Value(f"{node.name}_bias", data.shape, encoding.dtype, encoding, data)

    def _bind(self, value: Value, integer: Value) -> None:
        """Let ``integer`` stand for the float ``value`` and for what each Q makes of it."""
        self._integers[value] = integer
        for reader in self._view.readers(value):
            if reader.op_type == "QuantizeLinear":
                self._integers[reader.outputs[0]] = integer

    def _integer(self, value: Value) -> Value:
        """Return the integers behind a float value that a DQ makes, or behind an integer value."""
        if value in self._integers:
            return self._integers[value]
        node = self._view.producer(value)
        if node is not None and node.op_type == "DequantizeLinear":
            found = self._dequantized(node)
        else:
            assert node is not None
            found = self._quantized(node)
        self._integers[value] = found
        return found

    def _dequantized(self, node: Node) -> Value:
        source, encoding = node.data(0), self._view.said(node).encoding
        assert encoding is not None
        if source.data is not None:
            shift = shift_of(source.dtype)
            data = (source.data.astype(np.int64) - shift).astype(encoding.dtype)
            return Value(source.name, source.shape, encoding.dtype, encoding, data)
        producer = self._view.producer(source)
        if producer is not None and producer.op_type == "QuantizeLinear":
            _check_pair(producer, node, self._view)
            return self._requantize(self._integer(source), encoding, node.sources)
        if producer is not None:
            raise _integer_arithmetic(producer)
        typed = self._typed_input(source, _at_edge(encoding, source.dtype))
        return self._requantize(typed, encoding, node.sources)

    def _typed_input(self, source: Value, encoding: Encoding) -> Value:
        """Give the model's integer input the encoding in which it is read."""
        typed = replace(source, dtype=encoding.dtype, encoding=encoding)
        inputs = tuple((n, typed if v is source else v) for n, v in self._graph.inputs)
        self._graph = replace(self._graph, inputs=inputs)
        self._integers[source] = typed
        return typed

    def _quantized(self, node: Node) -> Value:
        source, output = node.data(0), node.outputs[0]
        encoding = self._view.said(node).encoding
        if node.op_type != "QuantizeLinear" or encoding is None:
            raise _integer_arithmetic(node)
        if source.data is not None:
            data = encoding.quantize(source.real())
            return Value(source.name, source.shape, encoding.dtype, encoding, data)
        if self._view.encoding(source) is not None or source in self._integers:
            return self._requantize(self._integer(source), encoding, node.sources)
        result = Value(output.name, output.shape, encoding.dtype, encoding)
        self._nodes.append(
            Node(
                "QuantizeLinear",
                node.name,
                (self._float(source, node),),
                (result,),
                {},
                sources=node.sources,
            )
        )
        return result

    def _float(self, value: Value, reader: Node) -> Value:
        """Return the float value that ``reader`` reads, dequantizing integers where need be."""
        if value in self._floats:
            return self._floats[value]
        node = self._view.producer(value)
        found = value
        if value in self._integers and value.dtype in FLOATS:
            found = self._dequantize(self._integers[value], value, reader.sources)
        elif node is not None and node.op_type == "DequantizeLinear":
            found = self._float_of(node, value)
        elif node is not None and node.op_type == "QuantizeLinear":
            raise _integer_arithmetic(reader)
        self._floats[value] = found
        return found

    def _float_of(self, node: Node, value: Value) -> Value:
        said = self._view.said(node)
        has_channels = said.encoding is not None and said.encoding.axis is not None
        if said.encoding is None or (has_channels and not self._is_constant(node)):
            return self._without_encoding(node, value)
        integer = self._integer(value)
        if integer.data is not None:
            data = integer.real().astype(value.dtype)
            return Value(value.name, value.shape, value.dtype, data=data)
        return self._dequantize(integer, value, node.sources)

    def _is_constant(self, node: Node) -> bool:
        source = node.data(0)
        producer = self._view.producer(source)
        return source.data is not None or (
            producer is not None and producer.data(0).data is not None
        )

    def _without_encoding(self, node: Node, value: Value) -> Value:
        """Return what a pair that TFLite cannot hold makes, rounded and held in floats."""
        said = self._view.said(node)
        why = said.why_not or "it has a scale for each channel"
        quantizer = self._view.producer(node.data(0))
        if quantizer is None or quantizer.op_type != "QuantizeLinear" or said.grid is None:
            raise UnsupportedError(
                f"Its integers have no TFLite form: {why}",
                node=node.name,
                op_type=node.op_type,
                tensor=node.data(0).name,
                remedy="Quantize with int8, or with symmetric 16-bit activations",
            )
        _check_pair(quantizer, node, self._view)
        source = quantizer.data(0)
        self._dropped[source.name] = why
        result = Value(value.name, value.shape, "float32")
        self._nodes.append(
            Node(
                FAKE_QUANTIZE,
                node.name,
                (self._float(source, node),),
                (result,),
                {"grid": said.grid},
                sources=(*quantizer.sources, *node.sources),
            )
        )
        return result

    def _requantize(self, value: Value, encoding: Encoding, sources: tuple[str, ...]) -> Value:
        if value.encoding == encoding:
            return value
        key = (value, encoding)
        if key not in self._requantized:
            name = f"{value.name}_requantized"
            if value.data is not None:
                data = encoding.quantize(value.real())
                self._requantized[key] = Value(name, value.shape, encoding.dtype, encoding, data)
            else:
                result = Value(name, value.shape, encoding.dtype, encoding)
                self._nodes.append(Node("Requantize", name, (value,), (result,), sources=sources))
                self._requantized[key] = result
        return self._requantized[key]

    def _dequantize(self, integer: Value, value: Value, sources: tuple[str, ...]) -> Value:
        result = Value(value.name, integer.shape, value.dtype)
        node = Node("DequantizeLinear", value.name, (integer,), (result,), sources=sources)
        self._nodes.append(node)
        return result

    def _clip(self, value: Value, bounds: tuple[float, float], sources: tuple[str, ...]) -> Value:
        result = replace(value, name=f"{value.name}_clipped")
        ends = tuple(
            Value(f"{value.name}_bound", (), "float32", data=np.asarray(end, np.float32))
            for end in bounds
        )
        self._nodes.append(Node("Clip", result.name, (value, *ends), (result,), sources=sources))
        return result

    def _edge(self, value: Value) -> Value:
        """Return the value behind an output of the model."""
        node = self._view.producer(value)
        if node is None or node.op_type != "QuantizeLinear":
            return value if node is None else self._float(value, node)
        integer = self._integer(value)
        assert integer.encoding is not None
        return self._requantize(integer, _at_edge(integer.encoding, value.dtype), node.sources)


def _without_factors(node: Node, row: OpRow) -> Mapping[str, Any]:
    """Return the attributes less those that are in scales and bias now."""
    gone = {row.bias_factor} | ({row.weight.factor} if row.weight is not None else set())
    return {name: value for name, value in node.attributes.items() if name not in gone}


def _kernel_encodings(row: OpRow, source: Encoding, decision: Decision) -> tuple[Encoding, ...]:
    """Return in which encodings the kernel makes its outputs."""
    if row.same == "output":
        return (source,) * len(decision.encodings)
    fixed = row.fixed.get(source.dtype)
    if fixed is not None:
        return (Encoding((fixed[0],), (fixed[1],), source.dtype),)
    return decision.encodings


def _at_edge(encoding: Encoding, dtype: str) -> Encoding:
    """Return ``encoding`` in the type that callers exchange; uint16, which no kernel has, stays
    int16.
    """
    if dtype == "uint16":
        return encoding
    zeros = tuple(zero + shift_of(dtype) for zero in encoding.zero_point)
    return replace(encoding, dtype=dtype, zero_point=zeros)


def _check_pair(quantizer: Node, node: Node, view: View) -> None:
    """Check that a DQ reads the integers of its Q as what they were, as everything here takes it.

    Raises UnsupportedError.
    """
    written, read = view.said(quantizer).grid, view.said(node).grid
    if written is None or read is None or written.axis != read.axis:
        same = written is read
    else:
        pairs = ((written.scale, read.scale), (written.low, read.low), (written.high, read.high))
        same = all(np.array_equal(a, b) for a, b in pairs)
    if not same:
        raise UnsupportedError(
            f"Its scale or zero point is not that of '{quantizer.name}', whose integers it reads",
            node=node.name,
            op_type=node.op_type,
            remedy="Give both the same scale and zero point",
        )


def _integer_arithmetic(node: Node) -> UnsupportedError:
    return UnsupportedError(
        "It computes on the integers of a QuantizeLinear, which only Q/DQ pairs may exchange",
        node=node.name,
        op_type=node.op_type,
        remedy="Quantize the float model in QDQ format",
    )
