"""BatchNormalization folded into the Conv, ConvTranspose, Gemm or MatMul in front of it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq.graph.edit import constant_array
from qdq.graph.passes.affine import ChannelAffine, fold_affine
from qdq.graph.passes.base import GraphPass, NoteLog

__all__ = ["FoldBatchNorm"]


class FoldBatchNorm(GraphPass):
    """Scale the weights in front of an inference BatchNormalization and drop it."""

    name = "fold_batch_norm"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Fold where the producer has no other reader; note why not elsewhere."""
        modified = False
        for node in tuple(model.graph):
            if node.op_type != "BatchNormalization" or node.domain:
                continue
            reason = _fold(node)
            if reason is None:
                modified = True
                log.applied(node, "folded into the node before it")
            else:
                log.kept(node, reason)
        return modified


def _fold(node: ir.Node) -> str | None:
    """Fold ``node``; return why it cannot be, with nothing changed."""
    affine = _affine(node)
    if isinstance(affine, str):
        return affine
    return fold_affine(node, node.inputs[0], affine)


def _affine(node: ir.Node) -> ChannelAffine | str:
    if node.attributes.get_int("training_mode", 0):
        return "training_mode is 1: it uses the statistics of the batch"
    if node.attributes.get_int("spatial", 1) != 1:
        return "spatial is 0: its parameters are not per channel"
    if any(out.uses() or out.is_graph_output() for out in node.outputs[1:]):
        return "its training outputs are used"
    arrays = [constant_array(value) for value in node.inputs[1:5]]
    if any(array is None for array in arrays):
        return "its parameters are not constant"
    scale, bias, mean, variance = (np.asarray(a, dtype=np.float64) for a in arrays)
    gain = scale / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    if not np.all(np.isfinite(gain)):
        return "its variance is negative or its parameters are not finite"
    return ChannelAffine(gain, bias - mean * gain)
