"""qdq: quantize, compile, run, profile and compare neural networks for edge devices.

Everything public is here and imported on first use, so that ``import qdq`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdq.base.errors import (
        AccuracyError,
        ChildCrashError,
        ChildMemoryError,
        ChildTimeoutError,
        DatasetError,
        InternalError,
        MissingDependencyError,
        ModelCorruptError,
        ModelInvalidError,
        OptionError,
        OutputError,
        PrecisionError,
        QdqError,
        SpecError,
        UnsupportedError,
        VerificationError,
    )
    from qdq.base.version import __version__
    from qdq.frontend import InputSpec
    from qdq.library import (
        compare,
        compile,
        explain,
        inspect,
        link,
        lint,
        plan_quantization,
        profile,
        quantize,
        run,
        sweep,
    )

__all__ = [
    "AccuracyError",
    "ChildCrashError",
    "ChildMemoryError",
    "ChildTimeoutError",
    "DatasetError",
    "InputSpec",
    "InternalError",
    "MissingDependencyError",
    "ModelCorruptError",
    "ModelInvalidError",
    "OptionError",
    "OutputError",
    "PrecisionError",
    "QdqError",
    "SpecError",
    "UnsupportedError",
    "VerificationError",
    "__version__",
    "compare",
    "compile",
    "explain",
    "inspect",
    "link",
    "lint",
    "plan_quantization",
    "profile",
    "quantize",
    "run",
    "sweep",
]

_FUNCTIONS = (
    "compare",
    "compile",
    "explain",
    "inspect",
    "link",
    "lint",
    "plan_quantization",
    "profile",
    "quantize",
    "run",
    "sweep",
)
_HOMES = {
    "InputSpec": "qdq.frontend",
    "__version__": "qdq.base.version",
    **dict.fromkeys(_FUNCTIONS, "qdq.library"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'qdq' has no attribute '{name}'")
    value = getattr(import_module(_HOMES.get(name, "qdq.base.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
