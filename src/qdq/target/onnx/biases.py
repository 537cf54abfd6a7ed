"""Float biases become int32 with scale s_x * s_w, the form that integer kernels add."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq.graph import GraphPass, NoteLog, add_initializer, constant_array, fresh_name
from qdq.target.onnx.encodings import Array, ConstantEncoding, dequantized_by, encoding_of

__all__ = ["StoreIntegerBiases"]

_BIASED = frozenset({"Conv", "ConvTranspose", "Gemm"})
_LARGEST = 2**31 - 1


class StoreIntegerBiases(GraphPass):
    """Quantize each constant bias to int32 with the product of the input's and weight's scales.

    ONNX operator QLinearConv: "bias ... quantized using scale = x_scale * w_scale and
    zero_point = 0".
    """

    name = "store_integer_biases"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Visit every Conv, ConvTranspose and Gemm between dequantized inputs."""
        modified = False
        for node in tuple(model.graph):
            if node.op_type not in _BIASED or node.domain or len(node.inputs) < 3:
                continue
            bias = constant_array(node.inputs[2])
            if bias is None or bias.dtype != np.float32:
                continue
            scale = _bias_scale(node)
            if scale is None:
                continue
            reason = _quantize_bias(model.graph, node, bias, scale)
            if reason:
                log.kept(node, reason)
            else:
                log.applied(node, "bias stored as int32")
                modified = True
        return modified


def _bias_scale(node: ir.Node) -> Array | None:
    """Return s_x * s_w per output channel, or one for all; None where that is no normal number."""
    data = encoding_of(dequantized_by(node.inputs[0]))
    weight = encoding_of(dequantized_by(node.inputs[1]))
    if data is None or weight is None or not data.is_per_tensor:
        return None
    if np.any(weight.zero_point) or not _on_output_channels(node, weight):
        return None
    if node.op_type == "Gemm" and (
        node.attributes.get_float("alpha", 1.0) != 1.0
        or node.attributes.get_float("beta", 1.0) != 1.0
    ):
        return None
    product = np.asarray(data.scale * weight.scale, np.float32)
    return product if np.all(product >= np.finfo(np.float32).tiny) else None


def _on_output_channels(node: ir.Node, weight: ConstantEncoding) -> bool:
    if weight.is_per_tensor:
        return True
    if node.op_type == "Gemm":
        return weight.axis == (0 if node.attributes.get_int("transB", 0) else 1)
    if node.op_type == "ConvTranspose":
        return weight.axis == 1 and node.attributes.get_int("group", 1) == 1
    return weight.axis == 0


def _quantize_bias(
    graph: ir.Graph,
    node: ir.Node,
    bias: Array,
    scale: Array,
) -> str:
    """Replace the bias input; return why not, or an empty string."""
    flat = bias.reshape(-1)
    if bias.ndim != 1 or (scale.ndim and scale.size != flat.size):
        return "its bias is not one value for each output channel"
    integers = np.rint(flat.astype(np.float64) / scale)
    if np.any(np.abs(integers) > _LARGEST):
        return "its bias does not fit int32 at the scale of its products"
    source = node.inputs[2]
    name = "bias" if source is None or source.name is None else source.name
    inputs = [
        add_initializer(graph, f"{name}_quantized", integers.astype(np.int32)),
        add_initializer(graph, f"{name}_scale", scale),
        add_initializer(graph, f"{name}_zero_point", np.zeros(scale.shape, np.int32)),
    ]
    axis = [ir.AttrInt64("axis", 0)] if scale.ndim else []
    dequantize = ir.Node(
        "", "DequantizeLinear", inputs, axis, name=f"{name}_dequantize_{node.name}"
    )
    output = dequantize.outputs[0]
    output.name = fresh_name(graph, f"{inputs[0].name}_dq")
    output.dtype, output.shape = ir.DataType.FLOAT, ir.Shape(flat.shape)
    graph.insert_before(node, dequantize)
    node.replace_input_with(2, output)
    return ""
