"""Activations: ops of one input that keep its shape, and Softmax."""

from __future__ import annotations

import numpy as np

from qdq.target.tflite import layout
from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Node
from qdq.target.tflite.lower.affine import affine
from qdq.target.tflite.lower.clamp import clamp
from qdq.target.tflite.view import bounds_of

__all__ = [
    "lower_clip",
    "lower_elu",
    "lower_gelu",
    "lower_hard_sigmoid",
    "lower_leaky_relu",
    "lower_prelu",
    "lower_softmax",
    "lower_unary",
]

# Measured with LiteRT 2.3.0: the int16 kernel is off by up to 2 LSB for each entry of the axis;
# 64 LSB is 0.2 % of its range.
_LONGEST_SOFTMAX = 32
# With the ratio of scales that rules/ops.json allows, a steeper line may overflow its kernel.
_STEEPEST = 2.0
_UNARY = {"HardSwish": "HARD_SWISH", "Sigmoid": "LOGISTIC", "Tanh": "TANH"}


@lowers(*_UNARY)
def lower_unary(node: Node, b: Builder) -> None:
    """Emit the op of one input, in the layout at hand."""
    tensor, perm = b.any(node.data(0))
    b.emit(_UNARY[node.op_type], [tensor], [b.result(node.outputs[0], perm)])


@lowers("LeakyRelu")
def lower_leaky_relu(node: Node, b: Builder) -> None:
    """LEAKY_RELU, in the layout at hand."""
    tensor, perm = b.any(node.data(0))
    result = b.result(node.outputs[0], perm)
    b.emit("LEAKY_RELU", [tensor], [result], alpha=node.float("alpha", 0.01))


@lowers("PRelu")
def lower_prelu(node: Node, b: Builder) -> None:
    """PRELU, whose slopes broadcast to the input."""
    source = node.data(0)
    perm = b.any(source)[1]
    b.emit("PRELU", b.aligned([source, node.data(1)], perm), [b.result(node.outputs[0], perm)])


def _elu_admits(node: Node, dtype: str) -> str:
    del dtype
    return "" if node.float("alpha", 1.0) == 1.0 else "TFLite's ELU has no alpha"


@lowers("Elu", admits=_elu_admits)
def lower_elu(node: Node, b: Builder) -> None:
    """ELU; with an alpha: max(x, 0) + alpha * ELU(min(x, 0))."""
    tensor, perm = b.any(node.data(0))
    result = b.result(node.outputs[0], perm)
    alpha = node.float("alpha", 1.0)
    if alpha == 1.0:
        b.emit("ELU", [tensor], [result])
        return
    ones = (1,) * len(tensor.shape)
    zero = b.constant(np.zeros(ones, np.float32), name="zero")
    factor = b.constant(np.full(ones, alpha, np.float32), name="alpha")
    below, curved, scaled, above = (b.like(tensor) for _ in range(4))
    b.emit("MINIMUM", [tensor, zero], [below])
    b.emit("ELU", [below], [curved])
    b.emit("MUL", [curved, factor], [scaled], fusedActivationFunction="NONE")
    b.emit("RELU", [tensor], [above])
    b.emit("ADD", [above, scaled], [result], potScaleInt16=False, fusedActivationFunction="NONE")


@lowers("Gelu")
def lower_gelu(node: Node, b: Builder) -> None:
    """GELU, by erf or by tanh, in the layout at hand."""
    tensor, perm = b.any(node.data(0))
    approximate = node.string("approximate", "none") == "tanh"
    b.emit("GELU", [tensor], [b.result(node.outputs[0], perm)], approximate=approximate)


def _clip_admits(node: Node, dtype: str) -> str:
    del dtype
    return "its bounds are computed" if bounds_of(node) is None else ""


@lowers("Relu", "Clip", admits=_clip_admits)
def lower_clip(node: Node, b: Builder) -> None:
    """One activation where TFLite has it, else MAXIMUM and MINIMUM; nothing where integers
    saturate at the bounds anyway.
    """
    tensor, perm = b.any(node.data(0))
    output = node.outputs[0]
    low, high = _bounds(node, b)
    encoding = output.encoding
    if encoding is not None:
        ends = (encoding.integer(low), encoding.integer(high))
        if ends == encoding.limits:
            b.bind(output, tensor, perm)
            return
    clamp(tensor, b.result(output, perm), low, high, b)


def _bounds(node: Node, b: Builder) -> tuple[float, float]:
    if node.op_type == "Relu":
        return 0.0, float(np.inf)
    bounds: list[float] = [-np.inf, np.inf]
    for index in (1, 2):
        if node.input(index) is None:
            continue
        array = node.constant(index)
        if array is None:
            b.refuse(node, "Its bounds are computed", "Use constant bounds")
        # An integer stays one: not all of 64 bits are floats.
        bounds[index - 1] = array.reshape(-1)[0].item()
    return bounds[0], bounds[1]


def _hard_sigmoid_admits(node: Node, dtype: str) -> str:
    del dtype
    slope = abs(node.float("alpha", 0.2))
    if slope == 0.0:
        return "its alpha is 0"
    return "" if slope <= _STEEPEST else f"its alpha is beyond {_STEEPEST:g}"


@lowers("HardSigmoid", admits=_hard_sigmoid_admits)
def lower_hard_sigmoid(node: Node, b: Builder) -> None:
    """Multiply, add, hold between 0 and 1; of integers in one kernel, which rounds once."""
    tensor, perm = b.any(node.data(0))
    slope, offset = node.float("alpha", 0.2), node.float("beta", 0.5)
    encoding = node.outputs[0].encoding
    if encoding is not None:
        line = affine(tensor, encoding, slope, offset, b)
        if (encoding.integer(0.0), encoding.integer(1.0)) == encoding.limits:
            b.bind(node.outputs[0], line, perm)
        else:
            clamp(line, b.result(node.outputs[0], perm), 0.0, 1.0, b)
        return
    ones = (1,) * len(tensor.shape)
    factor = b.constant(np.full(ones, slope, np.float32), name="alpha")
    addend = b.constant(np.full(ones, offset, np.float32), name="beta")
    scaled, moved = b.like(tensor), b.like(tensor)
    b.emit("MUL", [tensor, factor], [scaled], fusedActivationFunction="NONE")
    b.emit("ADD", [scaled, addend], [moved], fusedActivationFunction="NONE")
    clamp(moved, b.result(node.outputs[0], perm), 0.0, 1.0, b)


def _softmax_admits(node: Node, dtype: str) -> str:
    source = node.data(0)
    if dtype == "int16" and source.shape[node.int("axis", -1) % source.rank] > _LONGEST_SOFTMAX:
        return "TFLite's int16 kernel loses precision with each entry of the axis"
    return ""


@lowers("Softmax", admits=_softmax_admits)
def lower_softmax(node: Node, b: Builder) -> None:
    """SOFTMAX over the last stored dim; the layout is chosen so that it is the axis."""
    source = node.data(0)
    axis = node.int("axis", -1) % source.rank
    perm = next((p for p in b.forms(source) if p[-1] == axis), None)
    if perm is None:
        perm = (*(a for a in layout.identity(source.rank) if a != axis), axis)
    b.emit("SOFTMAX", [b.get(source, perm)], [b.result(node.outputs[0], perm)], beta=1.0)
