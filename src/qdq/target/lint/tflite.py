"""What the TFLite target refuses, or leaves in float, by the tables that it compiles by."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qdq.base.errors import QdqError
from qdq.graph import label
from qdq.target.lint.finding import Finding, Severity

__all__ = ["MEASURED_WITH", "lint_tflite"]

# What the tables in target/tflite/rules were measured with, as these say themselves.
MEASURED_WITH = "ai-edge-litert 2.3.0"

# The beginning of a reason, what to do about it; the first that fits.
_REMEDIES = (
    ("its inputs and outputs have different", "Give the node one width: --override NODE=int8"),
    ("TFLite has no int16 kernel", "Quantize it with 8 bits: --override NODE=int8"),
    ("TFLite has no integer kernel", "Leave it float, or write it with other ops"),
    ("its constant", "Quantize the constant too: qdq quantize does so"),
    ("TFLite's", "Give its output a wider range: --range TENSOR=low,high"),
    ("its weights", "Quantize it with --quantize_target tflite"),
)
_REMEDY = "Quantize it with --quantize_target tflite, or leave it float"


def lint_tflite(model: ir.Model) -> tuple[Finding, ...]:
    """Return what stops the TFLite target, then what it would compute in float.

    ``model`` is a copy that is used up: it takes the form that compiling gives it.
    """
    from qdq.target.tflite.prepare import prepare

    try:
        prepare(model)
    except QdqError as error:
        rule = "dynamic_shape" if "shape" in error.cause else "unsupported_model"
        return (_refused(rule, error),)
    unknown = tuple(_unsupported(model))
    return unknown or tuple(_converted(model))


def _unsupported(model: ir.Model) -> Iterator[Finding]:
    from qdq.target.tflite.lower import LOWERINGS
    from qdq.target.tflite.translate import Q_OPS

    for node in model.graph:
        if node.op_type not in LOWERINGS and node.op_type not in Q_OPS:
            yield Finding(
                "unsupported_op",
                Severity.ERROR,
                label(node),
                node.op_type,
                None,
                f"the TFLite target has no lowering for {node.op_type}",
                "Write it with other ops, or compile for another runtime",
            )


def _converted(model: ir.Model) -> Iterator[Finding]:
    """Go the way of the compiler up to the operators, and tell what it would tell."""
    from qdq.target.tflite.absorb import absorb
    from qdq.target.tflite.assemble import assemble
    from qdq.target.tflite.decide import decide
    from qdq.target.tflite.emit import check_fits
    from qdq.target.tflite.join import join_biases
    from qdq.target.tflite.lower import ADMITS
    from qdq.target.tflite.translate import translate
    from qdq.target.tflite.view import View

    try:
        translated, encoded = translate(model)
        graph = join_biases(translated, View(translated, encoded))
        view = View(graph, encoded)
        decisions = decide(graph, view, ADMITS)
        absorbed = absorb(graph, view, decisions)
        check_fits(absorbed.graph)
        assemble(absorbed.graph, {}, {})
    except QdqError as error:
        yield _refused("unsupported_op", error)
        return
    for node, decision in decisions.items():
        if decision.why:
            yield Finding(
                "float_island",
                Severity.WARNING,
                node.name,
                node.op_type,
                None,
                f"it computes in float32 between integers: {decision.why}",
                _remedy(decision.why),
            )
    for name, why in absorbed.dropped:
        yield Finding(
            "unusable_encoding",
            Severity.WARNING,
            None,
            None,
            name,
            f"it stays float32, rounded as the model does: {why}",
            _remedy(why),
        )


def _refused(rule: str, error: QdqError) -> Finding:
    return Finding(
        rule,
        Severity.ERROR,
        error.node,
        error.op_type,
        error.tensor,
        error.cause.rstrip("."),
        error.remedy.rstrip(".") or "Compile for another runtime",
    )


def _remedy(why: str) -> str:
    return next((remedy for start, remedy in _REMEDIES if why.startswith(start)), _REMEDY)
