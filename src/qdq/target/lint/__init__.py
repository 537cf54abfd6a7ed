"""What in a graph will stop or slow a compiler or a runtime, told before it runs."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from qdq.base.errors import OptionError
from qdq.graph import infer_shapes
from qdq.target.lint import onnxruntime, tflite
from qdq.target.lint.facts import LINT_TARGETS as HTP_TARGETS
from qdq.target.lint.facts import HtpFacts, load_facts
from qdq.target.lint.finding import Finding, Severity
from qdq.target.lint.rules import RULES, Rule
from qdq.target.lint.view import GraphView

__all__ = [
    "LINT_TARGETS",
    "RULES",
    "Finding",
    "HtpFacts",
    "Rule",
    "Severity",
    "lint_graph",
    "load_facts",
    "measured_with",
]

LINT_TARGETS = (*HTP_TARGETS, "tflite", "ort-x86")


def measured_with(target: str) -> str:
    """Return what the facts of ``target`` come from; raise OptionError for an unknown one."""
    _check(target)
    if target == "tflite":
        return tflite.MEASURED_WITH
    if target == "ort-x86":
        return onnxruntime.measured_with()
    return load_facts(target).measured_with


def _check(target: str) -> None:
    if target not in LINT_TARGETS:
        raise OptionError(
            f"'{target}' is no target of the lint", remedy=f"Use one of {', '.join(LINT_TARGETS)}"
        )


def lint_graph(model: ir.Model, target: str) -> tuple[Finding, ...]:
    """Return what is found in the main graph of ``model`` for one of LINT_TARGETS.

    Errors come first, then in order of the rules.  The graph is copied, not changed.  Raises
    OptionError for an unknown target.
    """
    _check(target)
    copy = model.clone()
    infer_shapes(copy)
    found: Iterable[Finding]
    if target == "tflite":
        found = tflite.lint_tflite(copy)
    elif target == "ort-x86":
        found = onnxruntime.lint_onnxruntime(copy)
    else:
        view, facts = GraphView(copy), load_facts(target)
        found = [it for rule in RULES for it in rule.check(view, facts)]
    return tuple(sorted(found, key=lambda it: it.severity is not Severity.ERROR))
