"""Apply a plan: write fake quantization (float weights, Q/DQ pairs) into the graph."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from qdq.quantizer.encoding import Encoding, fake_quantize
from qdq.quantizer.plan import (
    PlannedActivation,
    PlannedBias,
    PlannedConstant,
    PlannedConvert,
    PlannedWeight,
    QuantizationPlan,
)

__all__ = ["emit_plan"]

Array = np.ndarray[Any, np.dtype[Any]]


def emit_plan(model: ir.Model, plan: QuantizationPlan) -> None:
    """Insert the Q/DQ pairs of ``plan`` into ``model``, in place.

    Weights and constants stay float32, snapped to their grid, and pass through Q/DQ; activations
    pass through Q/DQ after their producer; biases stay float, corrected where the plan says so.
    Names of inputs and outputs stay.  The opset must already have the integer types of the plan
    (13; 21 for 4 and 16 bits).
    """
    writer = _Writer(model.graph)
    values = {value.name: value for value in model.graph.inputs}
    values.update((v.name, v) for node in model.graph for v in node.outputs)
    nodes = {node.name: node for node in model.graph}
    for weight in plan.weights:
        writer.emit_parameter(weight, nodes)
    for bias in plan.biases:
        writer.emit_bias(bias, nodes[bias.node])
    for constant in plan.constants:
        writer.emit_parameter(constant, nodes)
    for activation in plan.activations:
        writer.emit_activation(activation, values[activation.site.tensor])
    for convert in plan.converts:
        writer.emit_convert(convert, nodes)
    writer.remove_unused()


class _Writer:
    """Inserts Q/DQ pairs, sharing the initializers of equal encodings with one owner."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._names = {value.name for value in graph.inputs}
        self._names.update(graph.initializers)
        self._names.update(v.name for node in graph for v in node.outputs)
        self._node_names = {node.name for node in graph}
        self._parameters: dict[tuple[str, int], tuple[ir.Value, ir.Value]] = {}
        self._snapped: dict[ir.Value, ir.Value] = {}

    def emit_activation(self, planned: PlannedActivation, value: ir.Value) -> None:
        tensor = planned.site.tensor
        uses = list(value.uses())
        is_output = value.is_graph_output() and not value.is_graph_input()
        if is_output:
            value.name = self._fresh(f"{tensor}_raw")
        pair = self._pair(value, tensor, planned.encoding, owner=planned.site.owner)
        producer = value.producer()
        if producer is None:
            first = next(iter(self._graph), None)
            assert first is not None
            self._graph.insert_before(first, pair)
        else:
            self._graph.insert_after(producer, pair)
        dequantized = pair[1].outputs[0]
        for node, index in uses:
            node.replace_input_with(index, dequantized)
        if is_output:
            dequantized.name = tensor
            outputs = self._graph.outputs
            for index, output in enumerate(outputs):
                if output is value:
                    outputs[index] = dequantized

    def emit_convert(self, planned: PlannedConvert, nodes: dict[str | None, ir.Node]) -> None:
        """Insert a pair between a value, which has a pair of another width, and its readers."""
        site = planned.site
        name, position = site.uses[0]
        value = nodes[name].inputs[position]
        assert value is not None
        pair = self._pair(value, site.tensor, planned.encoding, owner=site.owner)
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(nodes[name], pair)
        else:
            self._graph.insert_after(producer, pair)
        for name, position in site.uses:
            nodes[name].replace_input_with(position, pair[1].outputs[0])

    def emit_parameter(
        self, planned: PlannedWeight | PlannedConstant, nodes: dict[str | None, ir.Node]
    ) -> None:
        site = planned.site
        original = self._graph.initializers[site.tensor]
        assert original.const_value is not None
        chosen = planned.values if isinstance(planned, PlannedWeight) else None
        values = original.const_value.numpy() if chosen is None else chosen
        snapped = fake_quantize(values, planned.encoding)
        value = self._initializer(f"{site.tensor}_snapped", snapped)
        # A constant is no owner of activations here: each parameter has an encoding of its own.
        pair = self._pair(value, site.tensor, planned.encoding, owner=None)
        # Uses are listed in graph order: before the first one is before all.
        self._graph.insert_before(nodes[site.uses[0][0]], pair)
        for node, index in site.uses:
            nodes[node].replace_input_with(index, pair[1].outputs[0])
        self._snapped.setdefault(original, value)

    def emit_bias(self, planned: PlannedBias, node: ir.Node) -> None:
        present = node.inputs[planned.position] if planned.position < len(node.inputs) else None
        name = f"{planned.weight}_bias" if present is None else f"{present.name}_corrected"
        value = self._initializer(name, planned.values)
        if planned.position >= len(node.inputs):
            node.resize_inputs(planned.position + 1)
        node.replace_input_with(planned.position, value)
        if present is not None:
            self._snapped.setdefault(present, value)

    def remove_unused(self) -> None:
        """Drop the originals that nothing reads any more, and give their names to the snapped."""
        for original, snapped in self._snapped.items():
            name = original.name
            if name is not None and not original.uses() and not original.is_graph_output():
                self._graph.initializers.pop(name)
                snapped.name = name

    def _pair(
        self, value: ir.Value, tensor: str, encoding: Encoding, *, owner: str | None
    ) -> list[ir.Node]:
        scale, zero_point = self._encoding_values(tensor, encoding, owner=owner)
        attributes = [] if encoding.axis is None else [ir.AttrInt64("axis", encoding.axis)]
        quantize = ir.Node(
            "",
            "QuantizeLinear",
            [value, scale, zero_point],
            attributes,
            name=self._fresh_node(f"{tensor}_quantize"),
        )
        quantized = quantize.outputs[0]
        quantized.name = self._fresh(f"{tensor}_q")
        quantized.dtype = ir.DataType[encoding.dtype.upper()]
        quantized.shape = value.shape
        dequantize = ir.Node(
            "",
            "DequantizeLinear",
            [quantized, scale, zero_point],
            [] if encoding.axis is None else [ir.AttrInt64("axis", encoding.axis)],
            name=self._fresh_node(f"{tensor}_dequantize"),
        )
        dequantize.outputs[0].name = self._fresh(f"{tensor}_dq")
        dequantize.outputs[0].dtype = ir.DataType.FLOAT
        dequantize.outputs[0].shape = value.shape
        return [quantize, dequantize]

    def _encoding_values(
        self, tensor: str, encoding: Encoding, *, owner: str | None
    ) -> tuple[ir.Value, ir.Value]:
        """Return scale and zero point, made once for all of one owner and width."""
        key = None if owner is None else (owner, encoding.bits)
        if key in self._parameters:
            return self._parameters[key]
        shape = () if encoding.axis is None else (-1,)
        scale = np.asarray(encoding.scale, np.float32).reshape(shape)
        zero_point = np.asarray(encoding.zero_point, _numpy_dtype(encoding.dtype)).reshape(shape)
        base = tensor if owner is None else owner
        made = (
            self._initializer(f"{base}_scale", scale),
            self._initializer(f"{base}_zero_point", zero_point),
        )
        if key is not None:
            self._parameters[key] = made
        return made

    def _initializer(self, name: str, array: Array) -> ir.Value:
        tensor = ir.tensor(array, name=self._fresh(name))
        value = ir.Value(
            name=tensor.name,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self._graph.register_initializer(value)
        return value

    def _fresh(self, name: str) -> str:
        return _unique(name, self._names)

    def _fresh_node(self, name: str) -> str:
        return _unique(name, self._node_names)


def _numpy_dtype(name: str) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.int4) if name == "int4" else np.dtype(name)


def _unique(name: str, taken: set[str | None]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate
