"""Relu and Clip vanish where the quantizer behind them saturates at the same bounds."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq.graph import GraphPass, NoteLog, bypass, constant_array, sole_consumer
from qdq.target.onnx.encodings import ConstantEncoding, encoding_of

__all__ = ["AbsorbClips", "clip_bounds"]


class AbsorbClips(GraphPass):
    """Remove a Relu or Clip that changes no integer, so that its producer fuses with Q/DQ.

    Exact: it is removed only if both bounds round to, or beyond, the ends of the integer type.
    """

    name = "absorb_clips"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Look at each Relu and Clip in front of a single QuantizeLinear."""
        modified = False
        for node in tuple(model.graph):
            if node.op_type not in ("Relu", "Clip") or node.domain:
                continue
            reader = sole_consumer(node.outputs[0])
            encoding = (
                encoding_of(reader) if reader and reader.op_type == "QuantizeLinear" else None
            )
            source = node.inputs[0]
            if encoding is None or source is None or not encoding.is_per_tensor:
                continue
            bounds = clip_bounds(node)
            if bounds is None or not _saturates(encoding, *bounds):
                log.kept(node, "the quantizer behind it does not saturate at its bounds")
                continue
            if bypass(node, source) is None:
                log.applied(node, "absorbed by the quantizer behind it")
                modified = True
        return modified


def clip_bounds(node: ir.Node) -> tuple[float, float] | None:
    """Return the bounds of a Relu or Clip; None where one is computed."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    low, high = -np.inf, np.inf
    if "min" in node.attributes or "max" in node.attributes:
        low = node.attributes.get_float("min", low)
        high = node.attributes.get_float("max", high)
    inputs = [*node.inputs[1:], None, None]
    for position, value in enumerate(inputs[:2]):
        if value is None:
            continue
        bound = constant_array(value)
        if bound is None:
            return None
        low, high = (bound.item(), high) if position == 0 else (low, bound.item())
    return low, high


def _saturates(encoding: ConstantEncoding, low: float, high: float) -> bool:
    scale, zero_point = np.float32(encoding.scale), int(encoding.zero_point)
    smallest, largest = encoding.limits

    def reaches(bound: float, *, end: int, above: bool) -> bool:
        if np.isinf(bound):
            return True
        integer = float(np.rint(np.float32(bound) / scale)) + zero_point
        return integer >= end if above else integer <= end

    return reaches(low, end=smallest, above=False) and reaches(high, end=largest, above=True)
