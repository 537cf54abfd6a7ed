"""The library: each function takes and gives files, or objects in memory, and one result object.

Names are imported on first use: a command is to import no more than it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# First, as its import of onnx_ir spares that of sympy.
import qdq.graph  # noqa: F401

if TYPE_CHECKING:
    from qdq.library._compare import compare
    from qdq.library._compile import CompileResult, compile
    from qdq.library._explain import Explanation, explain
    from qdq.library._inspect import Inspection, inspect
    from qdq.library._io_spec import IoSpec
    from qdq.library._link import LinkResult, link
    from qdq.library._lint import LintResult, lint
    from qdq.library._placement import QnnPlacement, qnn_placement
    from qdq.library._plan import QuantizationPreview, plan_quantization
    from qdq.library._profile import profile
    from qdq.library._quantize import QuantizeResult, quantize
    from qdq.library._run import RunResult, run
    from qdq.library._sweep import SweepResult, sweep

__all__ = [
    "CompileResult",
    "Explanation",
    "Inspection",
    "IoSpec",
    "LinkResult",
    "LintResult",
    "QnnPlacement",
    "QuantizationPreview",
    "QuantizeResult",
    "RunResult",
    "SweepResult",
    "compare",
    "compile",
    "explain",
    "inspect",
    "link",
    "lint",
    "plan_quantization",
    "profile",
    "qnn_placement",
    "quantize",
    "run",
    "sweep",
]

_HOMES = {
    "compare": "_compare",
    **dict.fromkeys(("CompileResult", "compile"), "_compile"),
    **dict.fromkeys(("Explanation", "explain"), "_explain"),
    **dict.fromkeys(("Inspection", "inspect"), "_inspect"),
    "IoSpec": "_io_spec",
    **dict.fromkeys(("LinkResult", "link"), "_link"),
    **dict.fromkeys(("LintResult", "lint"), "_lint"),
    **dict.fromkeys(("QnnPlacement", "qnn_placement"), "_placement"),
    **dict.fromkeys(("QuantizationPreview", "plan_quantization"), "_plan"),
    "profile": "_profile",
    **dict.fromkeys(("QuantizeResult", "quantize"), "_quantize"),
    **dict.fromkeys(("RunResult", "run"), "_run"),
    **dict.fromkeys(("SweepResult", "sweep"), "_sweep"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'qdq.library' has no attribute '{name}'")
    value = getattr(import_module(f"qdq.library.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
