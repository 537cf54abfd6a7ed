"""What in a graph will stop or slow a compiler for Qualcomm's HTP, told before it runs."""

from __future__ import annotations

import onnx_ir as ir

from qdq.graph import infer_shapes
from qdq.target.lint.facts import LINT_TARGETS, HtpFacts, load_facts
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
]


def lint_graph(model: ir.Model, target: str) -> tuple[Finding, ...]:
    """Return what the rules find in the main graph of ``model`` for such as ``htp-v73``.

    Errors come first, then in order of the rules.  The graph is copied, not changed.  Raises
    OptionError for an unknown target.
    """
    facts = load_facts(target)
    copy = model.clone()
    infer_shapes(copy)
    view = GraphView(copy)
    found = [it for rule in RULES for it in rule.check(view, facts)]
    return tuple(sorted(found, key=lambda it: it.severity is not Severity.ERROR))
