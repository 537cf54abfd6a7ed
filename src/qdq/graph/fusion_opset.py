"""The opset that has one operator for what a model spells out."""

from __future__ import annotations

import onnx_ir as ir

from qdq.graph.passes.gelu import GELU_OPSET, has_gelu
from qdq.graph.passes.hard_activations import HARD_SWISH_OPSET
from qdq.graph.passes.layer_norm import LAYER_NORM_OPSET, has_layer_norm

__all__ = ["fusion_opset"]


def fusion_opset(model: ir.Model) -> int:
    """Return the oldest opset in which the passes can fuse all that ``model`` spells out, or 0.

    ``model`` is optimised, so that constants are initializers and shapes are inferred.
    """
    if has_gelu(model):
        return GELU_OPSET
    if has_layer_norm(model):
        return LAYER_NORM_OPSET
    return HARD_SWISH_OPSET if any(node.op_type == "HardSigmoid" for node in model.graph) else 0
