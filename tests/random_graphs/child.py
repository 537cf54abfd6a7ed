"""LiteRT in a process of its own, which may abort: one for all graphs, a new one after a crash."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

__all__ = ["Child", "Executed"]

_SECONDS = 120


@dataclass(frozen=True)
class Executed:
    """Outputs by kernels, and what the verifier found of each operator alone."""

    outputs: dict[str, dict[str, Array]]
    failures: tuple[str, ...]
    unchecked: tuple[str, ...]


class Child:
    """``run`` executes one model in the child; an abort is an AssertionError there."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def run(self, data: bytes, sample: Mapping[str, Array]) -> Executed:
        """Return what LiteRT makes of ``sample``, signature name to array as the file has it."""
        found: Executed = self.call(_execute, data, dict(sample))
        return found

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what ``function`` returns in the child; AssertionError if it ends it."""
        self._pool = self._pool or ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn")
        )
        try:
            return self._pool.submit(function, *arguments).result(_SECONDS)
        except BrokenProcessPool as error:
            self._pool = None
            raise AssertionError("LiteRT ended its process") from error
        except TimeoutError as error:
            self.close()
            raise AssertionError(f"LiteRT did not end within {_SECONDS} s") from error

    def close(self) -> None:
        """End the child."""
        if self._pool is not None:
            for process in self._pool._processes.values():
                process.kill()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def _execute(data: bytes, sample: dict[str, Array]) -> Executed:
    from qdq.target.tflite.verify import Kernels, verify_tflite

    outputs = {
        kind: _outputs(data, sample, kind) for kind in ("AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES")
    }
    found = verify_tflite(data, [sample], kernels=(Kernels.XNNPACK, Kernels.BUILTIN))
    unchecked = (f"{check.name} {check.dtype}: {check.reason}" for check in found.unchecked)
    return Executed(outputs, found.failures, tuple(unchecked))


def _outputs(data: bytes, sample: Mapping[str, Array], kernels: str) -> dict[str, Array]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=data,
        num_threads=1,
        experimental_op_resolver_type=getattr(OpResolverType, kernels),
    )
    runner = interpreter.get_signature_runner("serving_default")
    return {name: np.array(array) for name, array in runner(**sample).items()}
