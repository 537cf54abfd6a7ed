"""Tell what will stop or slow a compiler or a runtime, before it is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from qdq.base.progress import Progress
from qdq.graph import optimize
from qdq.library._load import read_model
from qdq.library._sources import ModelSource, path_of
from qdq.target.lint import LINT_TARGETS, Finding, Severity, lint_graph, measured_with

__all__ = ["LintResult", "lint", "tell_findings"]

# Of the JSON document; it grows by fields, and this number when one changes its meaning.
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class LintResult:
    """What was found for ``target``; ``measured_with`` is the compiler that the tables are from."""

    model: str | None
    target: str
    measured_with: str
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """How many findings stop the compiler, or make it compute wrong numbers."""
        return sum(it.severity is Severity.ERROR for it in self.findings)

    @property
    def warnings(self) -> int:
        """How many findings only cost."""
        return len(self.findings) - self.errors

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; ``schema`` numbers it."""
        return {
            "schema": _SCHEMA,
            "model": self.model,
            "target": self.target,
            "measured_with": self.measured_with,
            "errors": self.errors,
            "warnings": self.warnings,
            "findings": [it.to_dict() for it in self.findings],
        }


def lint(model: ModelSource, *, target: str = "htp-v73") -> LintResult:
    """Look for what a target refuses or runs badly in an ONNX model, float or quantized.

    ``target`` is one of ``htp-v68``, ``-v69``, ``-v73``, ``-v75``, ``-v79``, ``-v81``, ``tflite``
    and ``ort-x86``.  HTP and TFLite are told by their tables; ONNX Runtime optimizes the graph and
    is asked.  The graph is simplified first, as every compiler does.  Raises OptionError for
    another target, and the errors of models that cannot be read.
    """
    source = measured_with(target)
    path = path_of(model)
    graph_model = read_model(model)
    # As compilers do first: shapes that are computed from constants are known then.
    optimize(graph_model)
    return LintResult(
        model=None if path is None else str(path),
        target=target,
        measured_with=source,
        findings=lint_graph(graph_model, target),
    )


def tell_findings(model: ir.Model, target: str, progress: Progress) -> tuple[Finding, ...]:
    """Lint ``model`` inside another operation: of each rule, the first finding becomes a notice.

    Those that ``qdq compile`` repairs do not.  The graph is not changed.  A target that the lint
    has no tables for finds nothing.
    """
    if target not in LINT_TARGETS:
        return ()
    found = lint_graph(model, target)
    by_rule: dict[str, list[Finding]] = {}
    for finding in found:
        # What is repaired is nobody's to do.
        if finding.repaired:
            continue
        by_rule.setdefault(finding.rule, []).append(finding)
    for findings in by_rule.values():
        more = len(findings) - 1
        told = f" The same holds in {more} more places; qdq lint tells them all." if more else ""
        progress.notice(f"lint for {target}: {findings[0].sentence()}{told}")
    return found
