"""Constants: lifted from nodes to initializers, and folded through what reads only them."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from qdq.graph.edit import QDQ_OPS, RANDOM_OPS, constant_array, is_constant
from qdq.graph.passes.base import GraphPass, NoteLog
from qdq.graph.passes.foldable import has_foldable

__all__ = ["FoldConstants", "LiftConstants"]

# Folding may not blow up a file: 1 Mi elements, unless the inputs it frees are as large.
OUTPUT_LIMIT = 1 << 20
INPUT_LIMIT = 1 << 16
# Cheap enough to fold at any input size; what they may add to the file is bounded above.
ELEMENTWISE_OPS = frozenset(
    {
        "Add",
        "Cast",
        "Concat",
        "Div",
        "Flatten",
        "Gather",
        "Identity",
        "Mul",
        "Neg",
        "Pad",
        "Reshape",
        "Slice",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
    }
)
FOLDED_FROM_KEY = "pkg.onnxscript.optimizer.folded_from"


class LiftConstants(GraphPass):
    """Turn Constant nodes into initializers, whatever attribute holds the value."""

    name = "lift_constants"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Lift every Constant that is not itself a graph output."""
        before = sum(node.op_type == "Constant" for node in model.graph)
        lift = LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)
        modified = lift(model).modified
        left = [node for node in model.graph if node.op_type == "Constant"]
        if before > len(left):
            log.remark(f"{before - len(left)} Constant nodes became initializers", applied=True)
        for node in left:
            log.kept(node, "it is a graph output")
        return modified


class FoldConstants(GraphPass):
    """Compute nodes whose inputs are all constant; shapes that are known count as constants.

    Q/DQ nodes, whatever reads them, and random ops are never folded.
    """

    name = "fold_constants"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Run onnxscript's folder, with its remarks kept as notes and its marks removed."""
        modified = has_foldable(model) and self._fold(model, log)
        _clear_marks(model)
        return modified

    def _fold(self, model: ir.Model, log: NoteLog) -> bool:
        from onnxscript.optimizer import fold_constants

        before = len(model.graph)
        with _captured("onnxscript", log), np.errstate(all="ignore"):
            try:
                result = fold_constants(
                    model,
                    onnx_shape_inference=False,
                    input_size_limit=INPUT_LIMIT,
                    output_size_limit=OUTPUT_LIMIT,
                    should_fold=lambda node: _should_fold(node, log),
                )
                modified = bool(result.modified)
            except Exception as error:
                log.remark(f"stopped at a node that it cannot evaluate: {_root(error)}")
                modified = True
        if modified and before > len(model.graph):
            log.remark(f"{before - len(model.graph)} nodes were computed", applied=True)
        return modified


def _should_fold(node: ir.Node, log: NoteLog) -> bool | None:
    if node.op_type in QDQ_OPS or node.op_type in RANDOM_OPS or node.domain:
        return False
    if not all(is_constant(value) for value in node.inputs if value is not None):
        return False
    if node.op_type == "ConstantOfShape":
        shape = constant_array(node.inputs[0])
        small = shape is not None and math.prod(shape.tolist()) <= INPUT_LIMIT
        if not small:
            log.kept(node, "its value is large")
        return small
    return True if node.op_type in ELEMENTWISE_OPS else None


def _clear_marks(model: ir.Model) -> None:
    values = list(model.graph.initializers.values())
    for node in model.graph.all_nodes():
        values.extend(node.outputs)
    for value in values:
        value.metadata_props.pop(FOLDED_FROM_KEY, None)
        value.meta.pop(FOLDED_FROM_KEY, None)


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


class _NoteHandler(logging.Handler):
    def __init__(self, log: NoteLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.remark(record.getMessage())


@contextlib.contextmanager
def _captured(logger_name: str, log: NoteLog) -> Iterator[None]:
    logger, handler = logging.getLogger(logger_name), _NoteHandler(log)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
