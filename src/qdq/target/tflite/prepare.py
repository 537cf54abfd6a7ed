"""Bring any ONNX model into the form that the translation reads, or refuse it with its place."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from qdq.base.errors import ModelInvalidError, UnsupportedError
from qdq.graph import (
    check_static_inputs,
    check_structure,
    fusion_opset,
    infer_shapes,
    label,
    name_nodes,
    opset_of,
    optimize,
    raise_opset,
    static_shape,
)
from qdq.target.tflite.rules import PLAIN_DTYPES

__all__ = ["OPSET", "prepare"]

# From 18 on, axes and pads are inputs everywhere: lowerings read one spelling.
OPSET = 18
# TFLite's kernels take no more dims; the few ops that stop earlier refuse by themselves.
MAX_RANK = 6


def prepare(model: ir.Model) -> None:
    """Optimise ``model``, raise its opset and check that it is static, in place.

    Raises SpecError for inputs of unknown shape, ModelInvalidError for duplicate names, and
    UnsupportedError, naming the place, for what TFLite's form cannot hold.
    """
    _check_names(model)
    check_static_inputs(model)
    if opset_of(model) < OPSET:
        raise_opset(model, OPSET)
    optimize(model)
    # TFLite has a Gelu and no erf.
    if raise_opset(model, fusion_opset(model)):
        optimize(model)
    check_structure(model)
    _check_dtypes(model)
    infer_shapes(model)
    name_nodes(model.graph)
    _check_shapes(model)


def _check_names(model: ir.Model) -> None:
    graph = model.graph
    for what, values in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        counts = Counter(value.name for value in values)
        for name, count in counts.items():
            if count > 1:
                raise ModelInvalidError(
                    f"{count} {what} have the name '{name}'",
                    tensor=name,
                    remedy="Give each its own name: the TFLite signature finds tensors by name",
                )
    for name in {v.name for v in graph.inputs} & {v.name for v in graph.outputs}:
        raise UnsupportedError(
            "It is an input and an output at once",
            tensor=name,
            remedy="Remove it from the outputs, or give the output a name with --output_names",
        )


def _check_dtypes(model: ir.Model) -> None:
    """Refuse inputs and outputs that LiteRT has no tensors for; ops refuse what they lack."""
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.dtype is not None and str(value.dtype.numpy().name) not in PLAIN_DTYPES:
            raise UnsupportedError(
                f"An input or output of dtype {value.dtype.name.lower()} is not supported",
                tensor=value.name,
                remedy=f"Use one of {', '.join(PLAIN_DTYPES)}",
            )


def _check_shapes(model: ir.Model) -> None:
    for value in model.graph.inputs:
        # What nobody reads may be empty: it stays in the interface and out of the graph.
        if value.uses() or value.is_graph_output():
            _check_shape(value, None)
    for node in model.graph:
        for value in node.outputs:
            if value.name and (value.uses() or value.is_graph_output()):
                _check_shape(value, node)


def _check_shape(value: ir.Value, node: ir.Node | None) -> None:
    shape = static_shape(value)
    name = None if node is None else label(node)
    op_type = None if node is None else node.op_type
    if shape is None:
        raise UnsupportedError(
            "Its shape depends on the data",
            node=name,
            op_type=op_type,
            tensor=value.name,
            remedy="Export the model so that all shapes are fixed",
        )
    if 0 in shape:
        raise UnsupportedError(
            f"It is empty: its shape is {'x'.join(map(str, shape))}",
            node=name,
            op_type=op_type,
            tensor=value.name,
            remedy="Remove what makes or reads it",
        )
    if len(shape) > MAX_RANK:
        raise UnsupportedError(
            f"It has rank {len(shape)}, and TFLite's kernels take up to {MAX_RANK}",
            node=name,
            op_type=op_type,
            tensor=value.name,
            remedy="Merge dims that stand side by side before this op",
        )
