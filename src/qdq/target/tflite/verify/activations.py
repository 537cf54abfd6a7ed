"""A QDQ model without the quantizers of its activations; its weights stay rounded."""

from __future__ import annotations

import os

import onnx_ir as ir

from qdq.graph import load_model

__all__ = ["without_activation_quantizers"]


def without_activation_quantizers(model: ir.Model | str | os.PathLike[str]) -> ir.Model | None:
    """Return a copy where each QuantizeLinear-DequantizeLinear of an activation is gone.

    Those that make an output of the graph stay.  None where there is none to remove.
    """
    copy = model.clone() if isinstance(model, ir.Model) else load_model(model)
    outputs = {value.name for value in copy.graph.outputs}
    removed = 0
    for node in list(copy.graph):
        source = _rounded_activation(node)
        result = node.outputs[0]
        if source is None or result.name in outputs:
            continue
        result.replace_all_uses_with(source)
        removed += 1
    return copy if removed else None


def _rounded_activation(node: ir.Node) -> ir.Value | None:
    """Return what a DequantizeLinear's input was quantized from, if it is an activation."""
    if node.op_type != "DequantizeLinear" or node.inputs[0] is None:
        return None
    quantizer = node.inputs[0].producer()
    if quantizer is None or quantizer.op_type != "QuantizeLinear":
        return None
    source = quantizer.inputs[0]
    return None if source is None or _is_constant(source) else source


def _is_constant(value: ir.Value) -> bool:
    producer = value.producer()
    return value.is_initializer() or (producer is not None and producer.op_type == "Constant")
