"""MatMul with a constant bias becomes Gemm, the op that integer kernels have with a bias."""

from __future__ import annotations

import onnx_ir as ir

from qdq.graph import GraphPass, NoteLog, constant_array, sole_consumer, static_shape
from qdq.target.onnx.encodings import dequantized_by

__all__ = ["JoinMatMulBias"]


class JoinMatMulBias(GraphPass):
    """Join MatMul and Add between dequantized matrices into one Gemm."""

    name = "join_matmul_bias"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Join where input and weight are dequantized, rank 2, and the bias one per column."""
        modified = False
        for node in tuple(model.graph):
            if node.op_type != "MatMul" or node.domain or not _is_quantized_matrix(node):
                continue
            add = sole_consumer(node.outputs[0])
            bias = None if add is None or add.op_type != "Add" else _bias(node, add)
            if add is None or bias is None:
                continue
            gemm = ir.Node("", "Gemm", [*node.inputs, bias], name=node.name, num_outputs=1)
            gemm.outputs[0].name = add.outputs[0].name
            ir.convenience.replace_nodes_and_values(
                model.graph, add, [node, add], [gemm], [add.outputs[0]], [gemm.outputs[0]]
            )
            log.applied(gemm, "joined from MatMul and Add")
            modified = True
        return modified


def _is_quantized_matrix(node: ir.Node) -> bool:
    return all(
        dequantized_by(value) is not None and value is not None and _rank(value) == 2
        for value in node.inputs
    )


def _rank(value: ir.Value) -> int | None:
    shape = static_shape(value)
    return None if shape is None else len(shape)


def _bias(matmul: ir.Node, add: ir.Node) -> ir.Value | None:
    shape = static_shape(matmul.outputs[0])
    for value in add.inputs:
        array = constant_array(value)
        if array is not None and shape is not None and array.shape == shape[-1:]:
            return value
    return None
