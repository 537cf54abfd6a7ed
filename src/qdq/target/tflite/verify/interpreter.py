"""Runs of a TFLite model whose intermediate tensors can be read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from qdq.base.errors import MissingDependencyError, UnsupportedError
from qdq.target.tflite.verify.reader import Array

__all__ = ["Kernels", "Run", "run_tflite"]


class Kernels(StrEnum):
    """Which kernels compute: XNNPACK's where it has one, TFLite's own, or its slow reference."""

    XNNPACK = "xnnpack"
    BUILTIN = "builtin"
    REFERENCE = "reference"


class Run:
    """A model ready to run with one set of kernels; made by ``run_tflite``."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter

    def invoke(self, feeds: Mapping[int, Array]) -> None:
        """Compute with ``feeds`` by tensor index.  Raises UnsupportedError if a kernel cannot."""
        for index, value in feeds.items():
            self._interpreter.set_tensor(index, value)
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            raise UnsupportedError(f"LiteRT cannot run the model: {error}") from error

    def delegated(self) -> frozenset[int]:
        """Return the tensors that XNNPACK makes."""
        # There is no public way to ask for it.
        details = self._interpreter._get_ops_details()
        made = (op["outputs"] for op in details if op["op_name"] == "DELEGATE")
        return frozenset(int(index) for outputs in made for index in outputs)

    def tensor(self, index: int) -> Array:
        """Return a copy of any tensor; intermediate ones only if they were preserved."""
        value: Array = self._interpreter.get_tensor(index)
        return value


def run_tflite(data: bytes, kernels: Kernels, *, preserve: bool = True, threads: int = 1) -> Run:
    """Load ``data``.  Raises UnsupportedError where the runtime refuses it.

    With ``preserve`` XNNPACK computes one operator at a time, so that every tensor can be read;
    without, it fuses neighbours as it does in deployment.
    """
    try:
        from ai_edge_litert import interpreter as litert
    except ImportError as error:
        raise MissingDependencyError(
            "Running TFLite models needs the package ai-edge-litert, which is not installed",
            remedy="Install it: pip install 'qdq[tflite]'",
        ) from error
    resolvers = {
        Kernels.XNNPACK: litert.OpResolverType.AUTO,
        Kernels.BUILTIN: litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        Kernels.REFERENCE: litert.OpResolverType.BUILTIN_REF,
    }
    try:
        with warnings.catch_warnings():
            # That preserving tensors takes memory.
            warnings.simplefilter("ignore")
            interpreter = litert.Interpreter(
                model_content=data,
                num_threads=threads,
                experimental_op_resolver_type=resolvers[kernels],
                experimental_preserve_all_tensors=preserve,
            )
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise UnsupportedError(f"LiteRT refuses the model: {error}") from error
    return Run(interpreter)
