"""Whether onnxscript's constant folder would find anything: to import it takes longer than to look.

The questions are those of its partial evaluators (onnxscript 0.7,
``onnxscript/optimizer/_constant_folding.py``), asked so that in doubt the answer is yes.
"""

from __future__ import annotations

import onnx_ir as ir

from qdq.graph.edit import QDQ_OPS, RANDOM_OPS, constant_array, static_shape

__all__ = ["has_foldable"]

# It knows something of these whatever they read; what follows from it may fold others.
_ALWAYS = frozenset(
    {
        "CastLike",
        "ConcatFromSequence",
        "Constant",
        "Dropout",
        "Identity",
        "If",
        "SequenceAt",
        "SequenceConstruct",
        "Shape",
        "Size",
        "SplitToSequence",
    }
)
# It follows the values of shapes through these.
_OF_SHAPES = frozenset({"Abs", "Add", "Concat", "Gather", "Reshape", "Squeeze"})
_GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def has_foldable(model: ir.Model) -> bool:
    """Tell whether a node may be computed or replaced by one of its inputs.

    Shapes and dtypes are to be inferred.  False is certain: the folder would change nothing.
    """
    return bool(model.functions) or any(_is_foldable(node) for node in model.graph)


def _is_foldable(node: ir.Node) -> bool:
    if node.attributes and any(it.type in _GRAPHS for it in node.attributes.values()):
        return True
    if node.domain or node.op_type in QDQ_OPS or node.op_type in RANDOM_OPS:
        return False
    if node.op_type in _ALWAYS or _reads_constants_alone(node):
        return True
    if node.op_type in _OF_SHAPES and any(_is_shape(value) for value in _data_inputs(node)):
        return True
    return _may_become_input(node)


def _may_become_input(node: ir.Node) -> bool:
    source = next(iter(node.inputs), None)
    if source is None:
        return True
    match node.op_type:
        case "Cast":
            to = node.attributes.get("to")
            # It also writes the dtype of the output, where that is not known yet.
            return to is None or to.as_int() == source.dtype or to.as_int() != node.outputs[0].dtype
        case "Concat":
            return len(node.inputs) == 1 or any(_may_be_empty(value) for value in node.inputs)
        case "Expand" | "Reshape":
            target = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
            return target is not None and static_shape(source) == tuple(target.reshape(-1).tolist())
    return False


def _reads_constants_alone(node: ir.Node) -> bool:
    return all(value is None or value.const_value is not None for value in node.inputs)


def _is_shape(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None and value.dtype == ir.DataType.INT64


def _data_inputs(node: ir.Node) -> tuple[ir.Value | None, ...]:
    return tuple(node.inputs) if node.op_type in ("Add", "Concat") else tuple(node.inputs[:1])


def _may_be_empty(value: ir.Value | None) -> bool:
    return value is None or value.shape is None or 0 in tuple(value.shape)
