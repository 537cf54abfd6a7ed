"""Chains of Transpose, and chains of Reshape, Flatten, Squeeze and Unsqueeze, become one node."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq.graph.edit import (
    add_initializer,
    bypass,
    constant_array,
    opset_of,
    sole_consumer,
    static_shape,
)
from qdq.graph.passes.base import GraphPass, NoteLog

__all__ = ["MergeLayoutOps"]

RESHAPING = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
# Reshape has its shape as an input from this version on.
RESHAPE_INPUT_OPSET = 5


class MergeLayoutOps(GraphPass):
    """Compose neighbours that only permute or only regroup; drop pairs that undo one another."""

    name = "merge_layout_ops"

    def requires(self, model: ir.Model) -> None:
        """Reshape takes its shape as an input."""
        if opset_of(model) < RESHAPE_INPUT_OPSET:
            raise ir.passes.PreconditionError("the opset is older than 5")

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Visit every second node of a chain, in graph order."""
        modified = False
        for node in tuple(model.graph):
            before = node.inputs[0].producer() if node.inputs and node.inputs[0] else None
            if before is None or node.domain or before.domain or before.graph is not node.graph:
                continue
            if node.op_type == "Transpose" == before.op_type:
                modified |= _compose(before, node, log)
            elif node.op_type in RESHAPING and before.op_type in RESHAPING:
                modified |= _regroup(before, node, log)
        return modified


def _compose(first: ir.Node, second: ir.Node, log: NoteLog) -> bool:
    inner, outer = (n.attributes.get_ints("perm", ()) for n in (first, second))
    if not inner or not outer:
        return False
    perm = [inner[axis] for axis in outer]
    undone = perm == sorted(perm)
    source = first.inputs[0]
    assert source is not None
    if undone and bypass(second, source) is None:
        log.applied(second, f"removed: it undoes Transpose '{first.name}'")
        return True
    if sole_consumer(first.outputs[0]) is not second:
        if not undone:
            log.kept(second, f"Transpose '{first.name}' is read elsewhere too")
        return False
    second.replace_input_with(0, source)
    second.attributes["perm"] = ir.AttrInt64s("perm", perm)
    log.applied(second, f"composed with Transpose '{first.name}'")
    return True


def _regroup(first: ir.Node, second: ir.Node, log: NoteLog) -> bool:
    source, output = first.inputs[0], second.outputs[0]
    assert source is not None
    shape = static_shape(output)
    undone = (shape is not None and shape == static_shape(source)) or _inverse(first, second)
    if undone and bypass(second, source) is None:
        log.applied(second, f"removed: it undoes {first.op_type} '{first.name}'")
        return True
    if sole_consumer(first.outputs[0]) is not second:
        return False
    if second.op_type == "Reshape" and _is_absolute(second):
        second.replace_input_with(0, source)
        log.applied(second, f"merged with {first.op_type} '{first.name}'")
        return True
    target = _target(output)
    if target is None:
        log.kept(second, "its output shape is not known")
        return False
    _replace_with_reshape(second, source, target)
    log.applied(second, f"merged with {first.op_type} '{first.name}'")
    return True


def _inverse(first: ir.Node, second: ir.Node) -> bool:
    if (first.op_type, second.op_type) != ("Unsqueeze", "Squeeze"):
        return False
    added, removed = _axes(first), _axes(second)
    return added is not None and added == removed and all(axis >= 0 for axis in added)


def _axes(node: ir.Node) -> list[int] | None:
    if "axes" in node.attributes:
        return sorted(node.attributes["axes"].as_ints())
    array = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
    return None if array is None else sorted(int(axis) for axis in array.reshape(-1))


def _is_absolute(node: ir.Node) -> bool:
    """Tell whether the target shape of a Reshape does not copy dims of its input."""
    target = constant_array(node.inputs[1])
    return target is not None and not np.any(target == 0)


def _target(output: ir.Value) -> list[int] | None:
    if output.shape is None:
        return None
    dims = [dim if isinstance(dim, int) else -1 for dim in output.shape]
    return None if 0 in dims or dims.count(-1) > 1 else dims


def _replace_with_reshape(node: ir.Node, source: ir.Value, target: list[int]) -> None:
    graph, output = node.graph, node.outputs[0]
    assert isinstance(graph, ir.Graph)
    shape = add_initializer(graph, f"{output.name}_shape", np.array(target, dtype=np.int64))
    new = ir.node("Reshape", [source, shape], name=node.name)
    made = new.outputs[0]
    made.name, made.type, made.shape = f"{output.name}_merged", output.type, output.shape
    graph.insert_before(node, new)
    if output.is_graph_output():
        bypass(node, made)
        return
    name = output.name
    bypass(node, made)
    output.name, made.name = None, name
