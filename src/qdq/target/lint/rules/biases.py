"""Biases that do not fit into the int32 that integer kernels add."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from qdq.graph import constant_array
from qdq.target.lint.facts import HtpFacts
from qdq.target.lint.finding import Finding, Severity
from qdq.target.lint.view import GraphView, place
from qdq.target.onnx.encodings import Array, dequantized_by, encoding_of

__all__ = ["BiasOverflow"]

_BIASED = frozenset({"Conv", "ConvTranspose", "Gemm"})
_LIMIT = 2.0**31


class BiasOverflow:
    """|bias| / (s_x * s_w) must stay below 2^31, as the bias is an int32 of that scale.

    ONNX operator QLinearConv names the scale; the guard is that of AIMET-ONNX 2.42.  Activations
    of 16 bits make the product of the scales small.
    """

    name = "bias_overflow"
    about = "biases that overflow int32 at the scale of input times weight"

    def check(self, view: GraphView, facts: HtpFacts | None) -> Iterator[Finding]:
        """Yield the ops whose constant bias is too large for their scales."""
        del facts
        for node in view.nodes:
            if node.op_type not in _BIASED or node.domain or len(node.inputs) < 3:
                continue
            bias, step = _bias(node.inputs[2]), _step(node)
            if bias is None or step is None:
                continue
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                integers = np.abs(bias.astype(np.float64).reshape(-1)) / step
            worst = int(np.nanargmax(integers)) if integers.size else 0
            if integers.size and not integers[worst] < _LIMIT:
                yield Finding(
                    self.name,
                    Severity.ERROR,
                    **place(node),
                    tensor=None if node.inputs[2] is None else node.inputs[2].name,
                    why=f"channel {worst} of its bias is {integers[worst] / _LIMIT:.3g} times what "
                    "int32 holds at the scale of input times weight",
                    remedy="Enlarge the weight's scale in that channel (qdq quantize does so), or "
                    "use 8-bit activations",
                )


def _bias(value: ir.Value | None) -> Array | None:
    """Return the real values of a constant bias, in float or behind a DQ."""
    array = constant_array(value)
    if array is not None:
        return array if array.dtype.kind == "f" else None
    reader = dequantized_by(value)
    encoding = encoding_of(reader)
    integers = None if reader is None else constant_array(reader.inputs[0])
    if encoding is None or integers is None:
        return None
    return (integers.astype(np.float64) - encoding.zero_point) * encoding.scale


def _step(node: ir.Node) -> Array | None:
    """Return s_x * s_w as float64, one or one for each output channel."""
    data = encoding_of(dequantized_by(node.inputs[0]))
    weight = encoding_of(dequantized_by(node.inputs[1]))
    if data is None or weight is None or not data.is_per_tensor:
        return None
    return np.asarray(np.float64(data.scale) * weight.scale.astype(np.float64)).reshape(-1)
