"""Bring a float model into the form that the quantizer places sites in."""

from __future__ import annotations

import onnx_ir as ir

from qdq.base.errors import ModelInvalidError
from qdq.graph import (
    check_static_inputs,
    check_supported,
    fusion_opset,
    name_nodes,
    optimize,
    raise_opset,
)
from qdq.quantizer.settings import Settings

__all__ = ["prepare_model"]

# QuantizeLinear and DequantizeLinear: per-channel since opset 13, 4 and 16 bits since opset
# 21
# (ONNX operator changelog).
_OPSET = {4: 21, 8: 13, 16: 21}

_INTEGER_OPS = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
    }
)


def prepare_model(model: ir.Model, settings: Settings) -> None:
    """Optimise ``model`` in place, name its nodes, and raise its opset to the encodings' types.

    Raises SpecError for dynamic inputs, ModelInvalidError for a model that holds quantized ops,
    UnsupportedError for what cannot be quantized here (subgraphs, custom ops, float64).
    """
    _refuse_quantized(model)
    check_static_inputs(model)
    optimize(model)
    if len(model.graph) == 0:
        raise ModelInvalidError(
            "The model computes nothing: its outputs are inputs or constants",
            remedy="Give a model with at least one op on its inputs",
        )
    check_supported(model)
    if raise_opset(model, _needed_opset(model, settings)):
        optimize(model)
    # Plans refer to nodes by name, which ONNX does not need them to have.
    name_nodes(model.graph)


def _needed_opset(model: ir.Model, settings: Settings) -> int:
    widths = (settings.activation_bits, settings.weight_bits, *settings.extra_bits)
    # One op, and one Q/DQ pair, for what is two to nine in older opsets.
    return max(*(_OPSET[bits] for bits in widths), fusion_opset(model))


def _refuse_quantized(model: ir.Model) -> None:
    for node in model.graph:
        if node.op_type in _INTEGER_OPS and not node.domain:
            raise ModelInvalidError(
                "The model is quantized already",
                node=node.name,
                op_type=node.op_type,
                remedy="Give the float model to quantize, or compile this one as it is",
            )
