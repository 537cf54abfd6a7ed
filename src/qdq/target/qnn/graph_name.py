"""Give the graphs of a context the names that were asked for.

ONNX Runtime names each graph after the provider and a hash, and has no option for it.  QNN itself
takes the name in ``QnnGraph_create``, a function of the interface table that a backend hands to
every caller in the process.  The entry in this table is replaced by one of ours, which passes the
call on with another name: the library itself then makes the graph under it, in all its places.
The caller reads the names back from the binary and so knows that it worked.

The place in the table is that of QNN's public interface 2.x (QnnInterface.h of the QAIRT SDK).
"""

from __future__ import annotations

import ctypes as c
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qdq.base.errors import InternalError
from qdq.base.qnn_package import missing_library

__all__ = ["GraphNamer"]

_MAJOR = 2
# Behind the functions of property, backend and context.
_GRAPH_CREATE = 15
_FUNCTIONS = _GRAPH_CREATE + 1


class _Version(c.Structure):
    _fields_ = (("major", c.c_uint32), ("minor", c.c_uint32), ("patch", c.c_uint32))


class _Interface(c.Structure):
    _fields_ = (
        ("backend_id", c.c_uint32),
        ("provider_name", c.c_char_p),
        ("core_api", _Version),
        ("backend_api", _Version),
        ("functions", c.c_void_p * _FUNCTIONS),
    )


# Error code of (context, name, configs, graph).
_Create = c.CFUNCTYPE(c.c_uint64, c.c_void_p, c.c_char_p, c.c_void_p, c.c_void_p)


class GraphNamer:
    """Names the next graphs of the backend ``library``, in order; it must live as long as they."""

    def __init__(self, library: Path, names: Sequence[str]) -> None:
        self._names = [name.encode() for name in names]
        self._made = 0
        self._library = _load(library)
        interface = self._interface(library)
        self._original = _Create(interface.functions[_GRAPH_CREATE])
        self._replacement = _Create(self._create)
        interface.functions[_GRAPH_CREATE] = c.cast(self._replacement, c.c_void_p).value

    def _interface(self, library: Path) -> Any:
        providers, count = c.POINTER(c.POINTER(_Interface))(), c.c_uint32()
        code = self._library.QnnInterface_getProviders(c.byref(providers), c.byref(count))
        if code or count.value != 1 or providers[0].contents.core_api.major != _MAJOR:
            raise InternalError(f"{library.name} offers no QNN interface {_MAJOR}.x alone")
        return providers[0].contents

    def _create(self, context: Any, name: bytes, configs: Any, graph: Any) -> int:
        wanted = self._names[self._made] if self._made < len(self._names) else name
        self._made += 1
        return int(self._original(context, wanted, configs, graph))


def _load(library: Path) -> Any:
    try:
        return c.CDLL(str(library))
    except OSError as error:
        raise missing_library(str(error)) from error
