"""How ops whose meaning or spelling changed are rewritten, one step of the opset at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from qdq.graph.edit import add_initializer, bypass, fresh_name

__all__ = ["RULES", "CannotRaiseError"]

Rule = Callable[[ir.Node], None]


class CannotRaiseError(Exception):
    """A rule cannot keep the meaning of a node; the text says why."""


def _graph(node: ir.Node) -> ir.Graph:
    assert isinstance(node.graph, ir.Graph)
    return node.graph


def _set_input(node: ir.Node, index: int, array: np.ndarray[Any, Any], name: str) -> None:
    value = add_initializer(_graph(node), f"{node.outputs[0].name}_{name}", array)
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    node.replace_input_with(index, value)


def _insert(
    node: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], **attributes: Any
) -> ir.Value:
    """Add a node in front of ``node`` and return its output."""
    new = ir.node(op_type, inputs, attributes)
    new.outputs[0].name = fresh_name(_graph(node), f"{node.outputs[0].name}_{op_type.lower()}")
    _graph(node).insert_before(node, new)
    return new.outputs[0]


def _int64(values: Sequence[int]) -> np.ndarray[Any, Any]:
    return np.array(list(values), dtype=np.int64)


def _attribute_to_input(name: str, index: int) -> Rule:
    """Return the rule that moves a list of integers from an attribute to an input."""

    def rule(node: ir.Node) -> None:
        attribute = node.attributes.pop(name, None)
        if attribute is not None:
            values = attribute.as_int() if attribute.type == ir.AttributeType.INT else None
            numbers = list(attribute.as_ints()) if values is None else [values]
            _set_input(node, index, _int64(numbers), name)

    return rule


def _float_dtype(node: ir.Node) -> Any:
    value = node.inputs[0]
    if value is None or value.dtype is None:
        raise CannotRaiseError("the dtype of its input is not known")
    return value.dtype.numpy()


def _clip_11(node: ir.Node) -> None:
    low, high = (node.attributes.pop(name, None) for name in ("min", "max"))
    dtype = _float_dtype(node)
    for index, (name, bound) in enumerate((("min", low), ("max", high)), start=1):
        if bound is not None:
            _set_input(node, index, np.array(bound.as_float(), dtype=dtype), name)


def _pad_11(node: ir.Node) -> None:
    value = node.attributes.pop("value", None)
    _attribute_to_input("pads", 1)(node)
    if value is not None and value.as_float():
        _set_input(node, 2, np.array(value.as_float(), dtype=_float_dtype(node)), "value")


def _slice_10(node: ir.Node) -> None:
    for index, name in enumerate(("starts", "ends", "axes"), start=1):
        _attribute_to_input(name, index)(node)


def _top_k_10(node: ir.Node) -> None:
    _attribute_to_input("k", 1)(node)


def _dropout_12(node: ir.Node) -> None:
    ratio = node.attributes.pop("ratio", None)
    if ratio is not None:
        # Inference ignores the ratio; it is kept for who reads the graph.
        _set_input(node, 1, np.array(ratio.as_float(), dtype=_float_dtype(node)), "ratio")


def _dropout_10(node: ir.Node) -> None:
    mask = node.outputs[1] if len(node.outputs) > 1 else None
    if mask is not None and (mask.uses() or mask.is_graph_output()):
        raise CannotRaiseError("its mask is used and changes its dtype")


def _upsample_9(node: ir.Node) -> None:
    scales = node.attributes.pop("scales")
    _set_input(node, 1, np.array(scales.as_floats(), dtype=np.float32), "scales")


def _upsample_10(node: ir.Node) -> None:
    node.op_type = "Resize"


def _resize_11(node: ir.Node) -> None:
    """Spell out the old geometry: out / scale, rounded down."""
    mode = node.attributes.get_string("mode", "nearest")
    node.attributes["coordinate_transformation_mode"] = ir.AttrString(
        "coordinate_transformation_mode", "asymmetric"
    )
    if mode == "nearest":
        node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", "floor")
    scales = node.inputs[1]
    node.resize_inputs(3)
    node.replace_input_with(2, scales)
    # Opset 11 requires the roi, which only another mode reads.
    node.replace_input_with(1, None)
    _set_input(node, 1, np.array([], dtype=np.float32), "roi")


def _scatter_11(node: ir.Node) -> None:
    node.op_type = "ScatterElements"


def _softmax_13(node: ir.Node) -> None:
    """The old form flattens to a matrix at ``axis``; equal to the new one on the last axis."""
    source, axis = node.inputs[0], node.attributes.get_int("axis", 1)
    shape = None if source is None else source.shape
    rank = None if shape is None else len(shape)
    if axis == -1 or (rank is not None and axis == rank - 1):
        node.attributes["axis"] = ir.AttrInt64("axis", -1)
        return
    if shape is not None and all(dim == 1 for dim in tuple(shape)[axis % len(shape) + 1 :]):
        node.attributes["axis"] = ir.AttrInt64("axis", axis)
        return
    output = node.outputs[0]
    flat = _insert(node, "Flatten", [source], axis=axis)
    result = _insert(node, node.op_type, [flat], axis=-1)
    restored = _insert(node, "Reshape", [result, _insert(node, "Shape", [source])])
    restored.type, restored.shape = output.type, output.shape
    bypass(node, restored)


def _batch_norm_9(node: ir.Node) -> None:
    spatial = node.attributes.pop("spatial", None)
    if spatial is not None and spatial.as_int() != 1:
        raise CannotRaiseError("spatial=0 has no equal")


def _batch_norm_14(node: ir.Node) -> None:
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        raise CannotRaiseError("its training outputs are used")
    node.resize_outputs(1)


def _split_18(node: ir.Node) -> None:
    if len(node.inputs) < 2 or node.inputs[1] is None:
        count = len(node.outputs)
        shape = None if node.inputs[0] is None else node.inputs[0].shape
        axis = node.attributes.get_int("axis", 0)
        dim = None if shape is None else shape[axis]
        if isinstance(dim, int) and dim % count:
            raise CannotRaiseError(f"dim {axis} of size {dim} does not split into {count} parts")
        node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", count)


def _roi_align_16(node: ir.Node) -> None:
    name = "coordinate_transformation_mode"
    node.attributes.setdefault(name, ir.AttrString(name, "output_half_pixel"))


def _grid_sample_20(node: ir.Node) -> None:
    mode = node.attributes.get_string("mode", "bilinear")
    new = {"bilinear": "linear", "bicubic": "cubic"}.get(str(mode), str(mode))
    node.attributes["mode"] = ir.AttrString("mode", new)


def _dft_20(node: ir.Node) -> None:
    axis = node.attributes.pop("axis", None)
    _set_input(node, 2, np.array(1 if axis is None else axis.as_int(), dtype=np.int64), "axis")


_AXES_18 = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
)

RULES: Mapping[tuple[str, int], Rule] = {
    ("BatchNormalization", 9): _batch_norm_9,
    ("BatchNormalization", 14): _batch_norm_14,
    ("Clip", 11): _clip_11,
    ("DFT", 20): _dft_20,
    ("Dropout", 10): _dropout_10,
    ("Dropout", 12): _dropout_12,
    ("GridSample", 20): _grid_sample_20,
    ("Hardmax", 13): _softmax_13,
    ("LogSoftmax", 13): _softmax_13,
    ("Pad", 11): _pad_11,
    ("ReduceSum", 13): _attribute_to_input("axes", 1),
    ("Resize", 11): _resize_11,
    ("RoiAlign", 16): _roi_align_16,
    ("Scatter", 11): _scatter_11,
    ("Slice", 10): _slice_10,
    ("Softmax", 13): _softmax_13,
    ("Split", 13): _attribute_to_input("split", 1),
    ("Split", 18): _split_18,
    ("Squeeze", 13): _attribute_to_input("axes", 1),
    ("TopK", 10): _top_k_10,
    ("Unsqueeze", 13): _attribute_to_input("axes", 1),
    ("Upsample", 9): _upsample_9,
    ("Upsample", 10): _upsample_10,
    **{(op_type, 18): _attribute_to_input("axes", 1) for op_type in _AXES_18},
}
