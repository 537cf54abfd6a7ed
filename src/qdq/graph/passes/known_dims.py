"""Dims that are known although others of the same shape are not become constants."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from qdq.graph.edit import add_initializer, bypass, constant_array, is_constant
from qdq.graph.passes.base import GraphPass, NoteLog

__all__ = ["FoldKnownDims"]


class FoldKnownDims(GraphPass):
    """Replace Shape, or a Gather or Slice of a Shape, when the dims it picks are known.

    General folding sees a Shape as constant only when the whole shape is known; models with a
    free batch pick the other dims out of it.
    """

    name = "fold_known_dims"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Visit every Shape and what picks from one."""
        modified = False
        for node in tuple(model.graph):
            dims = None if node.domain else _picked(node)
            if dims is None or not _all_known(dims):
                continue
            if node.outputs[0].is_graph_output() or not node.outputs[0].uses():
                continue
            array = np.array(dims, dtype=np.int64)
            bypass(node, add_initializer(model.graph, f"{node.outputs[0].name}_dims", array))
            log.applied(node, f"replaced by the known dims {array.tolist()}")
            modified = True
        return modified


def _all_known(dims: Any) -> bool:
    return all(isinstance(dim, int) for dim in np.asarray(dims, dtype=object).reshape(-1))


def _picked(node: ir.Node) -> Any:
    """Return the dims that ``node`` computes (an object array or one object), or None."""
    if node.op_type == "Shape":
        return _shape_dims(node)
    if node.op_type not in ("Gather", "Slice") or node.inputs[0] is None:
        return None
    source = node.inputs[0].producer()
    dims = None if source is None or source.op_type != "Shape" else _shape_dims(source)
    if dims is None or not all(is_constant(v) for v in node.inputs[1:] if v is not None):
        return None
    try:
        return _gathered(node, dims) if node.op_type == "Gather" else _sliced(node, dims)
    except IndexError:
        return None


def _shape_dims(shape: ir.Node) -> Any:
    source = shape.inputs[0]
    if source is None or source.shape is None:
        return None
    dims = np.array([d if isinstance(d, int) else None for d in source.shape], dtype=object)
    start, end = shape.attributes.get_int("start", 0), shape.attributes.get_int("end", None)
    return dims[start:end]


def _gathered(node: ir.Node, dims: Any) -> Any:
    index = constant_array(node.inputs[1])
    return None if index is None else dims[index]


def _sliced(node: ir.Node, dims: Any) -> Any:
    if "starts" in node.attributes:
        starts, ends = (node.attributes[n].as_ints()[0] for n in ("starts", "ends"))
        return dims[starts:ends]
    bounds = [constant_array(value) for value in node.inputs[1:]]
    numbers = [1 if array is None else int(array.reshape(-1)[0]) for array in bounds]
    step = numbers[3] if len(numbers) > 3 else 1
    return dims[numbers[0] : numbers[1]] if step == 1 else None
