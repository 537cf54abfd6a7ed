"""Nodes that return their input unchanged are removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from qdq.graph.edit import bypass, constant_array, static_shape
from qdq.graph.passes.base import GraphPass, NoteLog

__all__ = ["RULES", "RemoveNoOps"]

# An end at or beyond this means "to the end" in every exporter.
TO_THE_END = 2**31 - 1

Rule = Callable[[ir.Node], ir.Value | None]


class RemoveNoOps(GraphPass):
    """Drop every node that a rule of ``RULES`` proves to return one of its inputs."""

    name = "remove_no_ops"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Apply the rules once, in graph order."""
        modified = False
        for node in tuple(model.graph):
            rule = None if node.domain else RULES.get(node.op_type)
            same = rule(node) if rule is not None and node.inputs else None
            if same is None or not _is_equivalent(node.outputs[0], same):
                continue
            reason = bypass(node, same)
            if reason is None:
                modified = True
                log.applied(node, "removed: it returns its input")
            else:
                log.kept(node, reason)
        return modified


def _is_equivalent(output: ir.Value, same: ir.Value) -> bool:
    return output.dtype is None or same.dtype is None or output.dtype == same.dtype


def _attribute_or_input(node: ir.Node, name: str, index: int) -> list[int] | None:
    """Return the integers of an attribute (old opsets) or of a constant input, or None."""
    if name in node.attributes:
        attribute = node.attributes[name]
        return [int(v) for v in attribute.as_ints()]
    array = constant_array(node.inputs[index]) if len(node.inputs) > index else None
    return None if array is None else [int(v) for v in array.reshape(-1)]


def _identity(node: ir.Node) -> ir.Value | None:
    return node.inputs[0]


def _only_input(node: ir.Node) -> ir.Value | None:
    return node.inputs[0] if len(node.inputs) == 1 else None


def _split(node: ir.Node) -> ir.Value | None:
    return node.inputs[0] if len(node.outputs) == 1 else None


def _dropout(node: ir.Node) -> ir.Value | None:
    if any(out.uses() or out.is_graph_output() for out in node.outputs[1:]):
        return None
    mode = node.inputs[2] if len(node.inputs) > 2 else None
    if mode is None:
        return node.inputs[0]
    training = constant_array(mode)
    return node.inputs[0] if training is not None and not training.any() else None


def _cast(node: ir.Node) -> ir.Value | None:
    source = node.inputs[0]
    same = source is not None and source.dtype == node.attributes.get_int("to", 0)
    return source if same else None


def _reshape(node: ir.Node) -> ir.Value | None:
    source = node.inputs[0]
    target = _attribute_or_input(node, "shape", 1)
    if source is None or source.shape is None:
        return None
    if target is None:
        shape = static_shape(source)
        return source if shape is not None and shape == static_shape(node.outputs[0]) else None
    dims = list(source.shape)
    copies_zero = not node.attributes.get_int("allowzero", 0)
    if len(dims) != len(target) or target.count(-1) > 1:
        return None
    same = all(
        t == -1 or (t == 0 and copies_zero) or t == d for t, d in zip(target, dims, strict=True)
    )
    return source if same else None


def _flatten(node: ir.Node) -> ir.Value | None:
    source = node.inputs[0]
    if source is None or source.shape is None or len(source.shape) != 2:
        return None
    return source if node.attributes.get_int("axis", 1) in (1, -1) else None


def _transpose(node: ir.Node) -> ir.Value | None:
    source = node.inputs[0]
    perm = node.attributes.get_ints("perm", ())
    if not perm:
        rank = None if source is None or source.shape is None else len(source.shape)
        return source if rank is not None and rank <= 1 else None
    return source if list(perm) == sorted(perm) else None


def _pad(node: ir.Node) -> ir.Value | None:
    pads = _attribute_or_input(node, "pads", 1)
    return node.inputs[0] if pads is not None and not any(pads) else None


def _slice(node: ir.Node) -> ir.Value | None:
    source = node.inputs[0]
    starts = _attribute_or_input(node, "starts", 1)
    ends = _attribute_or_input(node, "ends", 2)
    has_steps = len(node.inputs) > 4 and node.inputs[4] is not None
    steps = constant_array(node.inputs[4]) if has_steps else np.array([1])
    axes = _attribute_or_input(node, "axes", 3)
    if starts is None or ends is None or steps is None or source is None:
        return None
    if axes is None:
        has_axes = len(node.inputs) > 3 and node.inputs[3] is not None
        axes = None if has_axes else list(range(len(starts)))
    if axes is None or any(starts) or np.any(np.asarray(steps) != 1):
        return None
    shape = None if source.shape is None else list(source.shape)
    full = all(_reaches_end(e, a, shape) for e, a in zip(ends, axes, strict=True))
    return source if full else None


def _reaches_end(end: int, axis: int, shape: Sequence[Any] | None) -> bool:
    if end >= TO_THE_END:
        return True
    dim = None if shape is None else shape[axis]
    return isinstance(dim, int) and end >= dim


def _expand(node: ir.Node) -> ir.Value | None:
    source = node.inputs[0]
    target = _attribute_or_input(node, "shape", 1)
    return source if target is not None and _is_neutral_shape(target, source) else None


def _is_neutral_shape(shape: Sequence[int], source: ir.Value | None) -> bool:
    """Tell whether broadcasting ``source`` with ``shape`` certainly leaves its shape as it is."""
    if source is None or source.shape is None:
        return source is not None and not shape
    dims = list(source.shape)
    if len(shape) > len(dims):
        return False
    aligned = dims[len(dims) - len(shape) :]
    return all(s in (1, d) for s, d in zip(shape, aligned, strict=True))


def _neutral(element: int, sides: Sequence[int]) -> Rule:
    """Return the rule for an operand, on one of ``sides``, that is ``element`` everywhere."""

    def rule(node: ir.Node) -> ir.Value | None:
        for side in sides:
            array, source = constant_array(node.inputs[side]), node.inputs[1 - side]
            if array is None or array.dtype.kind not in "fiu" or array.size > 1 << 16:
                continue
            if np.all(array == element) and _is_neutral_shape(array.shape, source):
                return source
        return None

    return rule


RULES: Mapping[str, Rule] = {
    "Add": _neutral(0, (1, 0)),
    "Cast": _cast,
    "Concat": _only_input,
    "Div": _neutral(1, (1,)),
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Identity": _identity,
    "Max": _only_input,
    "Mean": _only_input,
    "Min": _only_input,
    "Mul": _neutral(1, (1, 0)),
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Sub": _neutral(0, (1,)),
    "Sum": _only_input,
    "Transpose": _transpose,
}
