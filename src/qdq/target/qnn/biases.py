"""Biases of Convs and Gemms on 16-bit activations, rounded as the HTP's accumulator wants them.

Measured with QAIRT 2.51 on the simulator (``tests/target/qnn/test_biases.py``), on every arch: such
an op counts its sum of products in 256s, rounding down, and drops the same of its bias.  On
average the sum comes out 128 too low, and a bias up to 255 nearer to zero.  A bias that is the
multiple of 256 nearest to its value plus 128 leaves no error on average.  Depthwise Convs with
stride 2 and an odd kernel are exact, and are left alone.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq.graph import GraphPass, NoteLog, add_initializer, constant_array
from qdq.target.onnx.encodings import Array, ConstantEncoding, dequantized_by, encoding_of

__all__ = ["RoundBiases"]

_BIASED = ("Conv", "ConvTranspose", "Gemm")
_WIDE = ("int16", "uint16")
_UNIT = 256
_SAME_SCALE = 1e-3


class RoundBiases(GraphPass):
    """Round int32 biases to multiples of 256, half a unit up."""

    name = "round_biases"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Look at each op with a bias; one that is all multiples of 256 is rounded already."""
        modified = False
        for node in tuple(model.graph):
            reader = _bias_reader(node)
            integers = None if reader is None else constant_array(reader.inputs[0])
            if reader is None or integers is None or not np.any(integers % _UNIT):
                continue
            _give(model.graph, node, reader, _rounded(integers))
            log.applied(node, "bias rounded to the multiples of 256 that the HTP keeps of it")
            modified = True
        return modified


def _rounded(integers: Array) -> Array:
    units = np.rint((integers.astype(np.float64) + _UNIT / 2) / _UNIT)
    limit = np.iinfo(np.int32).max // _UNIT
    return (np.clip(units, -limit, limit) * _UNIT).astype(np.int32)


def _bias_reader(node: ir.Node) -> ir.Node | None:
    """Return the DQ of the bias where sum and bias are counted in units of their products."""
    if node.op_type not in _BIASED or node.domain or len(node.inputs) < 3 or _is_exact(node):
        return None
    data, weight, reader = (dequantized_by(value) for value in node.inputs[:3])
    activation, factor, bias = (encoding_of(it) for it in (data, weight, reader))
    if activation is None or factor is None or bias is None:
        return None
    if activation.zero_point.dtype.name not in _WIDE or factor.zero_point.dtype != np.int8:
        return None
    return reader if _in_products(activation, factor, bias) else None


def _in_products(
    activation: ConstantEncoding, weight: ConstantEncoding, bias: ConstantEncoding
) -> bool:
    if bias.zero_point.dtype != np.int32 or np.any(bias.zero_point) or np.any(weight.zero_point):
        return False
    products = activation.scale.astype(np.float64) * weight.scale
    if products.shape != bias.scale.shape:
        return False
    return bool(np.allclose(products, bias.scale, rtol=_SAME_SCALE, atol=0))


def _is_exact(node: ir.Node) -> bool:
    """Tell whether ``node`` is a depthwise Conv of the kind that keeps all of its sum."""
    weight = node.inputs[1]
    if node.op_type != "Conv" or weight is None or weight.shape is None:
        return False
    _, per_group, *kernel = weight.shape
    strides = tuple(node.attributes.get_ints("strides", ()))
    return (
        per_group == 1
        and node.attributes.get_int("group", 1) > 1
        and strides == (2, 2)
        and all(isinstance(size, int) and size % 2 for size in kernel)
    )


def _give(graph: ir.Graph, node: ir.Node, reader: ir.Node, integers: Array) -> None:
    """Let ``node`` read a DQ of its own: others may share the old one."""
    source, old = reader.inputs[0], reader.outputs[0]
    assert source is not None
    value = add_initializer(graph, f"{source.name}_rounded", integers)
    made = ir.Node(
        "",
        "DequantizeLinear",
        [value, *reader.inputs[1:]],
        list(reader.attributes.values()),
        name=f"{reader.name}_{node.name}_rounded",
    )
    made.outputs[0].name = f"{value.name}_{node.name}_dequantized"
    made.outputs[0].type, made.outputs[0].shape = old.type, old.shape
    graph.insert_before(node, made)
    node.replace_input_with(2, made.outputs[0])
    if not old.uses() and not old.is_graph_output():
        graph.remove(reader, safe=True)
