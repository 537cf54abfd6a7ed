"""qdq: quantize, compile, run, profile and compare neural networks for edge devices.

Everything public is here and imported on first use, so that ``import qdq`` costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdq.base.errors import (
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
    )
    from qdq.base.version import __version__
    from qdq.frontend import InputSpec
    from qdq.library import compare, compile, inspect, profile, quantize, run

__all__ = [
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
    "__version__",
    "compare",
    "compile",
    "inspect",
    "profile",
    "quantize",
    "run",
]

_FUNCTIONS = ("compare", "compile", "inspect", "profile", "quantize", "run")
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


class _Package(ModuleType):
    # Importing the room qdq.quantize binds it here as ``quantize``, in place of the function.
    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _FUNCTIONS and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
