"""LiteRT's profiler through its C interface, which has no Python form: one run, event by event.

The layout of an event is that of the versions in ``TESTED``, on which it was measured; with
another version the caller must not come here.  Runs in a child only: a wrong layout is a crash.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from qdq.base.errors import MissingDependencyError, UnsupportedError
from qdq.runtime.litert.package import PACKAGE
from qdq.runtime.tensors import Array

__all__ = ["BUILTIN_EVENT", "TESTED", "XNNPACK_EVENT", "CallEvent", "ProfiledModel"]

TESTED = ("2.3.0",)

# tflite::Profiler::EventType: an op by its number, and an op inside XNNPACK by XNNPACK's number.
BUILTIN_EVENT, XNNPACK_EVENT = 2, 8

_CPU = 1
_LOCK_WRITE = 1
# LiteRtRankedTensorType: an element type, and a layout of rank, 8 dimensions and 8 strides.
_TENSOR_TYPE_BYTES = 512


class _Event(ctypes.Structure):
    """ProfiledEventData; the two middle fields are memory usages of three words."""

    _fields_ = (
        ("tag", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64),
        ("memory", ctypes.c_uint64 * 6),
        ("index", ctypes.c_uint64),
        ("subgraph", ctypes.c_uint64),
        ("source", ctypes.c_int),
    )


@dataclass(frozen=True, slots=True)
class CallEvent:
    """One event: ``kind`` is BUILTIN_EVENT or XNNPACK_EVENT, ``index`` that of the op there."""

    kind: int
    tag: str
    index: int
    elapsed_us: int


class ProfiledModel:
    """A ``.tflite`` file with static shapes, compiled for the CPU with profiling; closes all."""

    def __init__(self, path: Path, *, threads: int) -> None:
        self._library = _load_library()
        self._kept: list[Any] = []
        self._ends: list[tuple[str, ctypes.c_void_p]] = []
        self._environment = self._made("CreateEnvironment", ctypes.c_int(0), None)
        self._ends.append(("DestroyEnvironment", self._environment))
        model = self._made("CreateModelFromFile", self._environment, str(path).encode())
        self._ends.append(("DestroyModel", model))
        options = self._options(threads)
        self._compiled = self._made("CreateCompiledModel", self._environment, model, options)
        self._ends.append(("DestroyCompiledModel", self._compiled))
        self._signature = self._made("GetModelSignature", model, ctypes.c_size_t(0))
        self._profiler = self._made("CompiledModelGetProfiler", self._compiled)
        self._inputs = self._buffers("Input")
        self._outputs = self._buffers("Output")

    def write(self, sample: Mapping[str, Array]) -> None:
        """Fill the inputs, by the signature's names, or in order where it has others."""
        names = list(self._inputs) if self._inputs.keys() == sample.keys() else list(sample)
        for name, buffer in zip(names, self._inputs.values(), strict=True):
            data = np.ascontiguousarray(sample[name])
            size = ctypes.c_size_t()
            self._call("GetTensorBufferPackedSize", buffer, ctypes.byref(size))
            if size.value != data.nbytes:
                raise UnsupportedError(
                    f"LiteRT's profiler takes {size.value} bytes and the sample has {data.nbytes}",
                    tensor=name,
                )
            address = ctypes.c_void_p()
            self._call("LockTensorBuffer", buffer, ctypes.byref(address), ctypes.c_int(_LOCK_WRITE))
            ctypes.memmove(address, data.ctypes.data, data.nbytes)
            self._call("UnlockTensorBuffer", buffer)

    def run(self) -> list[CallEvent]:
        """Run once and return the events of ops, in the order in which they were told."""
        for name in ("ResetProfiler", "StartProfiler"):
            self._call(name, self._profiler)
        inputs, outputs = _array(self._inputs), _array(self._outputs)
        self._call(
            "RunCompiledModel",
            self._compiled,
            ctypes.c_size_t(0),
            ctypes.c_size_t(len(inputs)),
            inputs,
            ctypes.c_size_t(len(outputs)),
            outputs,
        )
        self._call("StopProfiler", self._profiler)
        return self._events()

    def close(self) -> None:
        """Free everything, the youngest first."""
        while self._ends:
            name, handle = self._ends.pop()
            getattr(self._library, f"LiteRt{name}")(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _events(self) -> list[CallEvent]:
        count = ctypes.c_int()
        self._call("GetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = (_Event * count.value)()
        self._call("GetProfilerEvents", self._profiler, count, events)
        return [
            CallEvent(it.type, (it.tag or b"").decode("utf-8", "replace"), it.index, it.elapsed_us)
            for it in events
            if it.type in (BUILTIN_EVENT, XNNPACK_EVENT)
        ]

    def _options(self, threads: int) -> ctypes.c_void_p:
        options = self._made("CreateOptions")
        self._ends.append(("DestroyOptions", options))
        self._call("SetOptionsHardwareAccelerators", options, ctypes.c_int(_CPU))
        texts = {
            "runtime_options_string": "enable_profiling = true\n",
            "xnnpack": f"num_threads = {threads}\n",
        }
        keep = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
        self._kept.append(keep)
        for name, text in texts.items():
            payload = ctypes.create_string_buffer(text.encode())
            self._kept.append(payload)
            opaque = self._made("CreateOpaqueOptions", name.encode(), payload, keep)
            self._call("AddOpaqueOptions", options, opaque)
        return options

    def _buffers(self, side: str) -> dict[str, ctypes.c_void_p]:
        count = ctypes.c_size_t()
        self._call(f"GetNumSignature{side}s", self._signature, ctypes.byref(count))
        found: dict[str, ctypes.c_void_p] = {}
        for number in range(count.value):
            index = ctypes.c_size_t(number)
            name = ctypes.c_char_p()
            self._call(f"GetSignature{side}Name", self._signature, index, ctypes.byref(name))
            tensor = self._made(f"GetSignature{side}TensorByIndex", self._signature, index)
            kind = ctypes.create_string_buffer(_TENSOR_TYPE_BYTES)
            self._call("GetRankedTensorType", tensor, kind)
            needs = self._made(
                f"GetCompiledModel{side}BufferRequirements",
                self._compiled,
                ctypes.c_size_t(0),
                index,
            )
            buffer = self._made(
                "CreateManagedTensorBufferFromRequirements", self._environment, kind, needs
            )
            self._ends.append(("DestroyTensorBuffer", buffer))
            found[(name.value or b"").decode("utf-8", "replace")] = buffer
        return found

    def _made(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        self._call(name, *arguments, ctypes.byref(handle))
        return handle

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, f"LiteRt{name}")(*arguments)
        if status:
            raise UnsupportedError(f"LiteRT's profiler failed: LiteRt{name} gave {status}")


def _array(buffers: Mapping[str, ctypes.c_void_p]) -> Any:
    return (ctypes.c_void_p * len(buffers))(*[it.value for it in buffers.values()])


def _load_library() -> ctypes.CDLL:
    found = util.find_spec("ai_edge_litert")
    if found is None or found.origin is None:
        raise MissingDependencyError(f"{PACKAGE} is absent", remedy="pip install 'qdq[tflite]'")
    try:
        return ctypes.CDLL(str(Path(found.origin).with_name("libLiteRt.so")))
    except OSError as error:
        raise UnsupportedError(f"LiteRT's library cannot be loaded: {error}") from error
