"""Chains of ops that the HTP compiler runs as one: a compute op and the Relu or Clip after it.

Measured with onnxruntime-qnn 2.7.0 on v68, which has no float to fall back on: between a DQ and a
Q, a Relu or Clip after Conv, ConvTranspose, Gemm, MatMul or Add vanishes when the Q saturates at
least as early as it does.  When the Q does not, every architecture refuses the chain after Conv,
ConvTranspose and Gemm; after MatMul and Add those with fp16 run it in fp16.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qdq.graph import constant_array, sole_consumer
from qdq.target.onnx.encodings import encoding_of

__all__ = ["CLAMPS", "HEADS", "Group", "absorbs", "find_groups"]

HEADS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Add"})
CLAMPS = frozenset({"Relu", "Clip"})


@dataclass(frozen=True, slots=True)
class Group:
    """``nodes`` in order: a head, and the clamp after it; ``quantizer`` is the Q behind them.

    ``absorbed`` tells whether the Q saturates where the clamp does.
    """

    nodes: tuple[ir.Node, ...]
    quantizer: ir.Node
    absorbed: bool


def find_groups(nodes: Collection[ir.Node], constants: Collection[ir.Value]) -> Iterator[Group]:
    """Yield the chains of ``nodes``; of the values between, nobody else reads any."""
    for node in nodes:
        if node.op_type not in HEADS or node.domain:
            continue
        clamp = sole_consumer(node.outputs[0])
        if clamp is None or clamp.op_type not in CLAMPS or clamp.domain:
            continue
        if any(value is not None and value not in constants for value in clamp.inputs[1:]):
            continue
        quantizer = sole_consumer(clamp.outputs[0])
        if quantizer is not None and quantizer.op_type == "QuantizeLinear":
            yield Group((node, clamp), quantizer, absorbs(quantizer, clamp))


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
