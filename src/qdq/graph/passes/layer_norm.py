"""Layer normalizations spelled as arithmetic become the operator of that name."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qdq.graph.edit import (
    add_initializer,
    constant_array,
    opset_of,
    sole_consumer,
    static_shape,
)
from qdq.graph.passes.base import GraphPass, NoteLog
from qdq.graph.passes.polynomials import scalar

__all__ = ["LAYER_NORM_OPSET", "FuseLayerNorm", "has_layer_norm"]

# LayerNormalization is an operator since opset 17 (ONNX operator changelog).
LAYER_NORM_OPSET = 17
# Larger than any epsilon in use (1e-12 to 1e-3): what is added to a variance beyond it is no guard.
_LARGEST_EPSILON = 0.1
_DTYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16)


@dataclass(frozen=True, slots=True)
class _Match:
    """(x - mean) / sqrt(variance + epsilon) over the dims from ``axis`` on.

    ``last`` makes the result, after a factor and an offset of one number for each element.
    """

    source: ir.Value
    axis: int
    epsilon: float
    last: ir.Node
    factor: ir.Value | None = None
    offset: ir.Value | None = None


class FuseLayerNorm(GraphPass):
    """Recognise the layer normalization (Ba et al. 2016, arXiv:1607.06450) of the last dims.

    Spelled out, it squares and divides: quantized step by step, with 8 bits for a variance, it
    loses most of its precision.
    """

    name = "fuse_layer_norm"
    settles = True

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Fuse where the opset has the operator; what is left without readers is dead code."""
        if opset_of(model) < LAYER_NORM_OPSET:
            return False
        modified = False
        for node in tuple(model.graph):
            match = _match(node) if node.graph is not None else None
            if match is not None:
                log.applied(_replace(model.graph, match), "fused from arithmetic")
                modified = True
        return modified


def has_layer_norm(model: ir.Model) -> bool:
    """Tell whether a layer normalization is spelled out in ``model``."""
    return any(_match(node) is not None for node in model.graph)


def _match(node: ir.Node) -> _Match | None:
    """Return the normalization that ends, but for factor and offset, in ``node``."""
    if node.op_type not in ("Div", "Mul") or node.domain or node.outputs[0].dtype not in _DTYPES:
        return None
    for centred, deviation in _quotients(node):
        source_axis = _centred(centred)
        variance = _guarded(_root(deviation))
        if source_axis is None or variance is None:
            continue
        source, axis = source_axis
        if _is_square_mean(variance[0], centred, axis):
            return _with_affine(_Match(source, axis, variance[1], node))
    return None


def _quotients(node: ir.Node) -> list[tuple[ir.Value, ir.Value]]:
    """Return the (numerator, denominator) that ``node`` may divide."""
    first, second = node.inputs[0], node.inputs[1]
    if first is None or second is None:
        return []
    if node.op_type == "Div":
        return [(first, second)]
    found = []
    for numerator, inverse in ((first, second), (second, first)):
        maker = _made_by(inverse, "Reciprocal", "Div")
        if maker is None:
            continue
        denominator = maker.inputs[-1]
        if denominator is not None and (
            maker.op_type == "Reciprocal" or scalar(maker.inputs[0]) == 1.0
        ):
            found.append((numerator, denominator))
    return found


def _centred(value: ir.Value) -> tuple[ir.Value, int] | None:
    """Return (x, axis) where ``value`` is x minus its mean over the dims from ``axis`` on."""
    sub = _made_by(value, "Sub")
    if sub is None or sub.inputs[0] is None:
        return None
    source = sub.inputs[0]
    axis = _mean_axis(sub.inputs[1], source)
    return None if axis is None else (source, axis)


def _mean_axis(value: ir.Value | None, source: ir.Value) -> int | None:
    """Return the axis from which on ``value`` is the mean of ``source``, its dims kept."""
    mean = _made_by(value, "ReduceMean")
    if mean is None or mean.inputs[0] is not source or not mean.attributes.get_int("keepdims", 1):
        return None
    shape, axes = static_shape(source), _axes(mean)
    if not shape or not axes:
        return None
    found = sorted(axis % len(shape) for axis in axes)
    return found[0] if found == list(range(found[0], len(shape))) else None


def _axes(node: ir.Node) -> list[int]:
    if "axes" in node.attributes:
        return list(node.attributes["axes"].as_ints())
    array = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
    return [] if array is None else [int(axis) for axis in array.reshape(-1)]


def _root(value: ir.Value | None) -> ir.Value | None:
    """Return v where ``value`` is the square root of v."""
    node = _made_by(value, "Sqrt", "Pow")
    if node is None or (node.op_type == "Pow" and scalar(node.inputs[1]) != 0.5):
        return None
    return node.inputs[0]


def _guarded(value: ir.Value | None) -> tuple[ir.Value, float] | None:
    """Return (v, epsilon) where ``value`` is v + epsilon."""
    add = _made_by(value, "Add")
    if add is None:
        return None
    for at in (0, 1):
        epsilon, other = scalar(add.inputs[at]), add.inputs[1 - at]
        if epsilon is not None and other is not None and 0 <= epsilon <= _LARGEST_EPSILON:
            return other, epsilon
    return None


def _is_square_mean(value: ir.Value, centred: ir.Value, axis: int) -> bool:
    """Tell whether ``value`` is the mean of the squares of ``centred`` or of an equal value."""
    mean = _made_by(value, "ReduceMean")
    square = None if mean is None else _made_by(mean.inputs[0], "Pow", "Mul")
    if square is None or _mean_axis(value, square.outputs[0]) != axis:
        return False
    if square.op_type == "Pow":
        return square.inputs[0] is centred and scalar(square.inputs[1]) == 2.0
    return square.inputs[0] is centred and square.inputs[1] is centred


def _with_affine(match: _Match) -> _Match:
    """Take in a factor and then an offset of the shape of the normalized dims."""
    node, factor = match.last, None
    for op_type in ("Mul", "Add"):
        after = sole_consumer(node.outputs[0])
        if after is None or after.op_type != op_type or after.domain:
            continue
        at = 1 if after.inputs[0] is node.outputs[0] else 0
        if not _fits(after.inputs[at], match):
            continue
        if op_type == "Mul":
            node, factor = after, after.inputs[at]
        else:
            return _Match(match.source, match.axis, match.epsilon, after, factor, after.inputs[at])
    return _Match(match.source, match.axis, match.epsilon, node, factor)


def _fits(value: ir.Value | None, match: _Match) -> bool:
    array, shape = constant_array(value), static_shape(match.source)
    if array is None or shape is None or array.ndim > len(shape):
        return False
    normalized = shape[match.axis :]
    return array.size == math.prod(normalized) and _trimmed(array.shape) == _trimmed(normalized)


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop leading ones, which broadcasting adds anyway."""
    while shape and shape[0] == 1:
        shape = shape[1:]
    return shape


def _made_by(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type in op_types and not node.domain else None


def _replace(graph: ir.Graph, match: _Match) -> ir.Node:
    """Let a LayerNormalization make the last node's output, under its name."""
    last, old, shape = match.last, match.last.outputs[0], static_shape(match.source)
    assert shape is not None
    normalized = shape[match.axis :]
    dtype = old.dtype.numpy() if old.dtype is not None else np.float32
    inputs: list[ir.Value | None] = [match.source]
    factor = constant_array(match.factor)
    scale = np.ones(normalized, dtype) if factor is None else factor.reshape(normalized)
    inputs.append(_parameter(graph, match.factor, scale, f"{last.name}_scale"))
    offset = constant_array(match.offset)
    if offset is not None:
        inputs.append(
            _parameter(graph, match.offset, offset.reshape(normalized), f"{last.name}_bias")
        )
    attributes = {"axis": match.axis - len(shape), "epsilon": match.epsilon}
    new = ir.node("LayerNormalization", inputs, attributes, name=last.name)
    value, name = new.outputs[0], old.name
    value.type, value.shape = old.type, old.shape
    graph.insert_before(last, new)
    ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
    graph.remove(last, safe=True)
    value.name = name
    return new


def _parameter(graph: ir.Graph, given: ir.Value | None, array: np.ndarray, name: str) -> ir.Value:
    if given is not None and static_shape(given) == array.shape:
        return given
    return add_initializer(graph, name if given is None else str(given.name), array)
