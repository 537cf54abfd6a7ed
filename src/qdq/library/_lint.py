"""Tell what will stop or slow a compiler for HTP, before it is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from qdq.base.progress import Progress
from qdq.library._load import read_model
from qdq.library._sources import ModelSource, path_of
from qdq.target.lint import LINT_TARGETS, Finding, Severity, lint_graph, load_facts

__all__ = ["LintResult", "lint", "tell_findings"]

# Of the JSON document; it grows by fields, and this number when one changes its meaning.
_SCHEMA = 1
_TOLD = 5


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
    """Look for what HTP refuses or runs badly in an ONNX model, float or quantized.

    ``target`` is one of ``htp-v68``, ``-v69``, ``-v73``, ``-v75``, ``-v79``, ``-v81``.  No compiler
    is run and none is needed.  Raises OptionError for another target, and the errors of models that
    cannot be read.
    """
    facts = load_facts(target)
    path = path_of(model)
    return LintResult(
        model=None if path is None else str(path),
        target=target,
        measured_with=facts.measured_with,
        findings=lint_graph(read_model(model), target),
    )


def tell_findings(model: ir.Model, target: str, progress: Progress) -> tuple[Finding, ...]:
    """Lint ``model`` inside another operation: the first findings become notices.

    The graph is not changed.  A target that the lint has no tables for finds nothing.
    """
    if target not in LINT_TARGETS:
        return ()
    found = lint_graph(model, target)
    for finding in found[:_TOLD]:
        progress.notice(f"lint for {target}: {finding.sentence()}")
    if len(found) > _TOLD:
        progress.notice(f"lint for {target}: {_rest(found[_TOLD:])}; qdq lint tells them all")
    return found


def _rest(found: Sequence[Finding]) -> str:
    errors = sum(it.severity is Severity.ERROR for it in found)
    parts = [f"{errors} more errors"] if errors else []
    if len(found) - errors:
        parts.append(f"{len(found) - errors} more warnings")
    return " and ".join(parts)
