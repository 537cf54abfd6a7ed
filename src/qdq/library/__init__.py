"""The library: each function takes and gives files, or objects in memory, and one result object."""

from qdq.library._compare import compare
from qdq.library._compile import CompileResult, compile
from qdq.library._inspect import Inspection, inspect
from qdq.library._io_spec import IoSpec
from qdq.library._link import LinkResult, link
from qdq.library._lint import LintResult, lint
from qdq.library._placement import QnnPlacement, qnn_placement
from qdq.library._plan import QuantizationPreview, plan_quantization
from qdq.library._profile import profile
from qdq.library._quantize import QuantizeResult, quantize
from qdq.library._run import RunResult, run

__all__ = [
    "CompileResult",
    "Inspection",
    "IoSpec",
    "LinkResult",
    "LintResult",
    "QnnPlacement",
    "QuantizationPreview",
    "QuantizeResult",
    "RunResult",
    "compare",
    "compile",
    "inspect",
    "link",
    "lint",
    "plan_quantization",
    "profile",
    "qnn_placement",
    "quantize",
    "run",
]
