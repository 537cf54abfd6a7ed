"""Import onnx_ir without sympy, which is most of its start and which fixed shapes never need.

onnx_ir 1.1 uses sympy for arithmetic on symbolic dims alone (``SymbolicDim``), but imports it at
its start.  While onnx_ir is imported, a stand-in takes sympy's place; what asks it for a name later
gets that of the real package, imported at that moment.  Nothing is left in ``sys.modules``: who
imports sympy gets sympy.  Where onnx_ir or sympy is imported already, nothing is done.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["import_onnx_ir"]

_SYMPY, _ONNX_IR = "sympy", "onnx_ir"


class _LateFunction:
    """A function of sympy that is looked up when it is called."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *args: Any) -> Any:
        return getattr(import_module(_SYMPY), self._name)(*args)


class _LateSympy(ModuleType):
    """Stands for sympy: gives late functions while onnx_ir is imported, and sympy's names after."""

    def __init__(self) -> None:
        super().__init__(_SYMPY)
        self.ready = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(import_module(_SYMPY), name) if self.ready else _LateFunction(name)


def import_onnx_ir() -> None:
    """Import onnx_ir, where that is still to be done, and sympy when it is first asked for."""
    if _ONNX_IR in sys.modules or _SYMPY in sys.modules:
        return
    late = _LateSympy()
    sys.modules[_SYMPY] = late
    try:
        import_module(_ONNX_IR)
    except Exception:
        # Another version may do more with sympy at its start: it is imported again, with sympy.
        for name in [it for it in sys.modules if it.split(".")[0] == _ONNX_IR]:
            del sys.modules[name]
    finally:
        if sys.modules.get(_SYMPY) is late:
            del sys.modules[_SYMPY]
        late.ready = True


import_onnx_ir()
