"""Bring a float model into the form that the quantizer places sites in."""

from __future__ import annotations

import onnx_ir as ir

from qdq.base.errors import ModelInvalidError
from qdq.graph import check_supported, optimize, raise_opset
from qdq.quantize.settings import Settings

__all__ = ["prepare_model"]

# QuantizeLinear and DequantizeLinear: per-channel since opset 13, 16 bits since opset 21
# (ONNX operator changelog).
_OPSET = {8: 13, 16: 21}


def prepare_model(model: ir.Model, settings: Settings) -> ir.Model:
    """Return an optimised model with an opset that has the encodings' types.

    Raises ModelInvalidError for a model with Q/DQ nodes, UnsupportedError for what cannot be
    quantized here (subgraphs, custom ops, float64).
    """
    _refuse_quantized(model)
    check_supported(model)
    raised = raise_opset(model, _OPSET[max(settings.activation_bits, settings.weight_bits)])
    return optimize(raised).model


def _refuse_quantized(model: ir.Model) -> None:
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"):
            raise ModelInvalidError(
                "The model is quantized already",
                node=node.name,
                op_type=node.op_type,
                remedy="Give the float model to quantize, or compile this one as it is",
            )
