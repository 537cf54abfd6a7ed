"""MatMuls of two 16-bit activations in the form that the HTP multiplies exactly.

Measured with QAIRT 2.51 on the simulator (``tests/target/qnn/test_matmuls.py``): where the second
operand is uint16, whatever its zero point, the compiler converts it to 8 bits, silently: 41 dB from
exact arithmetic on normal numbers.  From Hexagon v73 on it takes int16 with zero point 0 there, and
multiplies at 72 dB.  Older ones refuse that, and have the uint16 only.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq.graph import GraphPass, NoteLog, add_initializer, fresh_name, is_constant
from qdq.target.onnx.encodings import ConstantEncoding, dequantized_by, encoding_of

__all__ = ["WideMatMuls"]

# The first Hexagon arch with the exact product; see ``target/lint/htp.json``.
_EXACT_SINCE = 73
_MIDDLE = 1 << 15


class WideMatMuls(GraphPass):
    """Requantize the second operand to int16 around 0, or for an old chip to uint16.

    From one type to the other with the zero point in the middle no value changes.  Another zero
    point asks for a coarser scale, by at most a factor of 2.
    """

    name = "wide_matmuls"

    def __init__(self, arch: int) -> None:
        super().__init__()
        self._has_exact = arch >= _EXACT_SINCE

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Look at each MatMul; several that read one operand share what is inserted."""
        made: dict[ir.Value, ir.Value] = {}
        modified = False
        for node in tuple(model.graph):
            found = _second_operand(node, "uint16" if self._has_exact else "int16")
            if found is None:
                continue
            value, encoding = found
            if value not in made:
                made[value] = _requantized(model.graph, node, value, encoding)
            node.replace_input_with(1, made[value])
            kind = "int16 around 0" if self._has_exact else "uint16"
            log.applied(node, f"reads its second operand as {kind}, as the chip multiplies it")
            modified = True
        return modified


def _second_operand(node: ir.Node, dtype: str) -> tuple[ir.Value, ConstantEncoding] | None:
    """Return the computed second operand of that type, where both are quantized to 16 bits."""
    if node.op_type != "MatMul" or node.domain:
        return None
    first, second = (dequantized_by(value) for value in node.inputs)
    if first is None or second is None or is_constant(second.inputs[0]):
        return None
    left, right = encoding_of(first), encoding_of(second)
    if left is None or right is None or not right.is_per_tensor:
        return None
    if left.zero_point.dtype.name not in ("uint16", "int16"):
        return None
    value = node.inputs[1]
    fits = right.zero_point.dtype.name == dtype and value is not None
    return (value, right) if fits and value is not None else None


def _requantized(
    graph: ir.Graph, node: ir.Node, value: ir.Value, encoding: ConstantEncoding
) -> ir.Value:
    """Put Q and DQ between ``value`` and ``node``, of the other type and around its middle."""
    was_signed = encoding.zero_point.dtype == np.int16
    zero = int(encoding.zero_point) + (_MIDDLE if was_signed else 0)
    scale = encoding.scale
    if zero != _MIDDLE:
        coarser = max(zero, 2 * _MIDDLE - 1 - zero) / (_MIDDLE - 1)
        scale = np.asarray(coarser * float(scale), scale.dtype)
    middle = np.array(_MIDDLE, np.uint16) if was_signed else np.array(0, np.int16)
    name = str(value.name)
    parameters = [
        add_initializer(graph, f"{name}_operand_scale", scale),
        add_initializer(graph, f"{name}_operand_zero_point", middle),
    ]
    first = ir.Node("", "QuantizeLinear", [value, *parameters], name=f"{name}_operand_Q")
    integers = first.outputs[0]
    second = ir.Node("", "DequantizeLinear", [integers, *parameters], name=f"{name}_operand_DQ")
    integers.name = fresh_name(graph, f"{name}_operand_integers")
    integers.type = ir.TensorType(ir.DataType.UINT16 if was_signed else ir.DataType.INT16)
    result = second.outputs[0]
    result.name, result.type = fresh_name(graph, f"{name}_operand"), value.type
    integers.shape = result.shape = value.shape
    graph.insert_before(node, [first, second])
    return result
