"""Chains of ops that the HTP compiler runs as one: a compute op and what is fused into it.

Measured with onnxruntime-qnn 2.7.0 on v68, which has no float to fall back on: between a DQ and a
Q, a Relu or Clip after Conv, ConvTranspose, Gemm, MatMul or Add vanishes when the Q saturates at
least as early as it does, and an Add of a float constant becomes the bias of its MatMul.  When the
Q does not, every architecture refuses the chain after an op with a bias; after others those with
fp16 run it in fp16.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qdq.graph import constant_array, sole_consumer
from qdq.target.onnx.encodings import dequantized_by, encoding_of

__all__ = ["CLAMPS", "HEADS", "Group", "absorbs", "find_groups"]

HEADS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Add"})
CLAMPS = frozenset({"Relu", "Clip"})


@dataclass(frozen=True, slots=True)
class Group:
    """``nodes`` in order: a head, perhaps its bias, perhaps a clamp; ``quantizer`` is the Q behind.

    ``absorbed`` tells whether the Q saturates where the clamp does, if there is one.
    """

    nodes: tuple[ir.Node, ...]
    quantizer: ir.Node
    absorbed: bool


def find_groups(nodes: Collection[ir.Node], constants: Collection[ir.Value]) -> Iterator[Group]:
    """Yield the chains of ``nodes``; of the values between, nobody else reads any."""
    taken: set[ir.Node] = set()
    for node in nodes:
        if node in taken or node.op_type not in HEADS or node.domain:
            continue
        members = [node]
        for join in (_bias_of, _clamp_of):
            following = join(members[-1], constants)
            if following is not None:
                members.append(following)
        quantizer = sole_consumer(members[-1].outputs[0])
        if len(members) < 2 or quantizer is None or quantizer.op_type != "QuantizeLinear":
            continue
        clamp = members[-1] if members[-1].op_type in CLAMPS else None
        taken.update(members)
        yield Group(tuple(members), quantizer, clamp is None or absorbs(quantizer, clamp))


def _bias_of(node: ir.Node, constants: Collection[ir.Value]) -> ir.Node | None:
    """Return the Add of a float constant to a MatMul by a constant."""
    if node.op_type != "MatMul" or node.inputs[1] not in constants:
        return None
    add = sole_consumer(node.outputs[0])
    if add is None or add.op_type != "Add" or add.domain:
        return None
    others = [it for it in add.inputs if it is not node.outputs[0]]
    plain = [it for it in others if it in constants and dequantized_by(it) is None]
    return add if len(plain) == 1 else None


def _clamp_of(node: ir.Node, constants: Collection[ir.Value]) -> ir.Node | None:
    clamp = sole_consumer(node.outputs[0])
    if clamp is None or clamp.op_type not in CLAMPS or clamp.domain:
        return None
    fixed = all(value is None or value in constants for value in clamp.inputs[1:])
    return clamp if fixed else None


def absorbs(quantizer: ir.Node, clamp: ir.Node) -> bool:
    """Tell whether every value that ``clamp`` changes saturates in ``quantizer`` to the same."""
    encoding = encoding_of(quantizer)
    if encoding is None or not encoding.is_per_tensor:
        return False
    low, high = _bounds(clamp)
    least, most = encoding.limits
    scale, zero = float(encoding.scale), int(encoding.zero_point)
    return _step(low, scale, zero) <= least and _step(high, scale, zero) >= most


def _step(bound: float, scale: float, zero: int) -> float:
    """Return the integer, not yet saturated, that QuantizeLinear gives ``bound``."""
    return bound if not np.isfinite(bound) else float(np.rint(bound / scale)) + zero


def _bounds(clamp: ir.Node) -> tuple[float, float]:
    if clamp.op_type == "Relu":
        return 0.0, float("inf")
    bounds = [float("-inf"), float("inf")]
    for index in (1, 2):
        value = clamp.inputs[index] if len(clamp.inputs) > index else None
        if value is not None:
            array = constant_array(value)
            # A bound that is computed from constants is not looked up: then nothing is absorbed.
            bounds[index - 1] = float(array) if array is not None else float("nan")
    return bounds[0], bounds[1]
