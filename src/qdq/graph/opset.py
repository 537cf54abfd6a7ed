"""Raise the default operator set in place, keeping what every node computes.

Neither existing converter serves: onnxscript's begins at opset 18; onnx's works on a serialized
model with all weights, and version 1.23.2 silently changes what Resize-10, Upsample-9 and Hardmax
compute.  The versions differ in few ops, so each gets a rewrite (``qdq.graph.opset_rules``); all
others are checked against the newer schema, and what does not fit is refused by name.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx import helper

from qdq.base.errors import UnsupportedError
from qdq.graph.edit import label, opset_of
from qdq.graph.opset_rules import RULES, CannotRaiseError
from qdq.graph.shapes import infer_shapes

__all__ = ["OLDEST_OPSET", "raise_opset"]

# Before 7, broadcasting was an attribute of each op.
OLDEST_OPSET = 7
Schema = onnx.defs.OpSchema


def raise_opset(model: ir.Model, version: int) -> bool:
    """Raise the default domain of ``model`` to ``version`` in place; return whether it changed.

    A model that is as new already is left alone.  Q/DQ nodes are never rewritten.  Raises
    UnsupportedError naming the node that has no equal in the newer version; the model is then
    half converted and to be thrown away.
    """
    current = opset_of(model)
    if current >= version:
        return False
    if current < OLDEST_OPSET:
        raise UnsupportedError(
            f"Models of opset {current} are too old, the oldest that can be raised is "
            f"{OLDEST_OPSET}",
            remedy="Export the model with a newer exporter",
        )
    # Some rules need ranks and dtypes.
    infer_shapes(model)
    for step in range(current + 1, version + 1):
        _raise_one(model, step)
    oldest_ir = helper.find_min_ir_version_for([helper.make_opsetid("", version)])
    model.ir_version = max(model.ir_version, oldest_ir)
    infer_shapes(model)
    return True


def _raise_one(model: ir.Model, version: int) -> None:
    for node in tuple(model.graph.all_nodes()):
        if node.domain:
            continue
        rule = RULES.get((node.op_type, version))
        try:
            if rule is not None:
                rule(node)
        except CannotRaiseError as error:
            raise _refusal(node, version, str(error)) from error
    model.graph.opset_imports[""] = version
    for node in model.graph.all_nodes():
        if not node.domain:
            # A version kept on a node would contradict that of the model.
            node.version = None
            _check_fits(node, version)


def _check_fits(node: ir.Node, version: int) -> None:
    """Refuse a node that the schema of ``version`` does not accept or reads differently."""
    try:
        schema = onnx.defs.get_schema(node.op_type, version, "")
    except onnx.defs.SchemaError as error:
        raise _refusal(node, version, "the op is unknown there") from error
    if schema.since_version != version:
        return
    if schema.deprecated:
        raise _refusal(node, version, "the op is deprecated there")
    unknown = [name for name in node.attributes if name not in schema.attributes]
    if unknown:
        raise _refusal(node, version, f"attribute '{unknown[0]}' does not exist there")
    if not schema.min_input <= len(node.inputs) <= schema.max_input:
        raise _refusal(node, version, f"{len(node.inputs)} inputs do not fit")
    if not schema.min_output <= len(node.outputs) <= schema.max_output:
        raise _refusal(node, version, f"{len(node.outputs)} outputs do not fit")
    missing = [n for n, a in schema.attributes.items() if a.required and n not in node.attributes]
    if missing:
        raise _refusal(node, version, f"attribute '{missing[0]}' is required there")


def _refusal(node: ir.Node, version: int, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"It cannot be raised to opset {version}: {why}",
        node=label(node),
        op_type=node.op_type,
        remedy=f"Export the model with opset {version} or newer",
    )
