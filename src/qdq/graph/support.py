"""What the quantizer and the compiler accept; loading and inspecting accept more.

float64 is refused: no target computes in it, and a silent cast would change results.  The TFLite
target, which can move and convert it, has dtypes of its own.
The checks come after ``optimize``, which folds away what is only constant arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qdq.base.dtypes import DTYPES
from qdq.base.errors import UnsupportedError
from qdq.graph.edit import constant_array, label

__all__ = [
    "check_dtypes",
    "check_no_custom_ops",
    "check_no_subgraphs",
    "check_no_training",
    "check_structure",
    "check_supported",
    "check_tensor_types",
]

GRAPH_ATTRIBUTES = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
INTERFACE_DTYPES = {dtype.onnx_code for dtype in DTYPES.values()}


def check_supported(model: ir.Model) -> None:
    """Raise UnsupportedError, naming the place, for anything the core cannot transform."""
    check_structure(model)
    check_dtypes(model)


def check_structure(model: ir.Model) -> None:
    """Raise UnsupportedError for what no target can hold, whatever its dtypes."""
    check_no_subgraphs(model)
    check_no_custom_ops(model)
    check_no_training(model)
    check_tensor_types(model)


def check_no_subgraphs(model: ir.Model) -> None:
    """Refuse If, Loop, Scan and whatever else carries a graph."""
    for node in model.graph:
        if any(attribute.type in GRAPH_ATTRIBUTES for attribute in node.attributes.values()):
            raise UnsupportedError(
                "Ops with subgraphs are not supported",
                node=label(node),
                op_type=node.op_type,
                remedy="Export the model without control flow, for fixed conditions and lengths",
            )


def check_no_custom_ops(model: ir.Model) -> None:
    """Refuse ops of any domain but the default one."""
    for node in model.graph:
        if node.domain:
            raise UnsupportedError(
                f"Ops of the domain '{node.domain}' are not supported",
                node=label(node),
                op_type=node.op_type,
                remedy="Export the model with standard ONNX ops",
            )


def check_no_training(model: ir.Model) -> None:
    """Refuse Dropout and BatchNormalization in training mode."""
    for node in model.graph:
        training = bool(node.attributes.get_int("training_mode", 0))
        if node.op_type == "Dropout" and len(node.inputs) > 2 and node.inputs[2] is not None:
            mode = constant_array(node.inputs[2])
            training = mode is None or bool(mode.any())
        if training:
            raise UnsupportedError(
                "It is in training mode",
                node=label(node),
                op_type=node.op_type,
                remedy="Export the model for inference, with eval()",
            )


def check_tensor_types(model: ir.Model) -> None:
    """Refuse sequences, optionals, maps and sparse tensors."""
    for value, node in _values(model):
        if value.type is not None and not isinstance(value.type, ir.TensorType):
            raise UnsupportedError(
                f"Its type {type(value.type).__name__} is not supported, only tensors are",
                node=None if node is None else label(node),
                op_type=None if node is None else node.op_type,
                tensor=value.name,
                remedy="Export the model with plain tensors",
            )


def check_dtypes(model: ir.Model) -> None:
    """Refuse float64 anywhere, and dtypes at the interface that no client can send."""
    for value, node in _values(model):
        if value.dtype == ir.DataType.DOUBLE:
            raise UnsupportedError(
                "It is float64, which no target computes in",
                node=None if node is None else label(node),
                op_type=None if node is None else node.op_type,
                tensor=value.name,
                remedy="Export the model in float32",
            )
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.dtype is not None and value.dtype not in INTERFACE_DTYPES:
            raise UnsupportedError(
                f"An input or output of dtype {value.dtype.name.lower()} is not supported",
                tensor=value.name,
                remedy=f"Use one of {', '.join(DTYPES)}",
            )


def _values(model: ir.Model) -> Iterator[tuple[ir.Value, ir.Node | None]]:
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        yield value, None
    for node in model.graph:
        for output in node.outputs:
            yield output, node
