"""Compile and run node tests, each batch in a child process: a native abort is one wrong test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnx_nodes.bind import bound
from onnx_nodes.select import cases_of

__all__ = ["PASSED", "REFUSED", "WRONG", "Outcome", "outcomes"]

PASSED, REFUSED, WRONG = "passed", "refused", "wrong"
# XNNPACK where it has a kernel, TFLite's own kernels, and its slow reference ones.
_KERNELS = ("AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN_REF")
_TESTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Outcome:
    """What became of one test: ``passed``, ``refused`` by a named error, or ``wrong``.

    ``reason`` is the whole message, ``cause`` of a refusal what it says without place and remedy.
    """

    status: str
    reason: str = ""
    cause: str = ""


def outcomes(modules: Sequence[str]) -> dict[str, Outcome]:
    """Return the outcome of each selected test of ``modules``, by name."""
    found: dict[str, Outcome] = {}
    while True:
        last, status = _child(modules, found)
        if status == 0:
            return found
        if last is None:
            raise RuntimeError(f"The child ended with {status} before its first test")
        # It died at this one; the next child goes on behind it.
        found[last] = Outcome(WRONG, f"the process ended with status {status}")


def _child(modules: Sequence[str], found: dict[str, Outcome]) -> tuple[str | None, int]:
    """Run what is not yet in ``found``; return the test it stopped at, and the exit status."""
    command = [sys.executable, "-m", "onnx_nodes.execute", ",".join(modules)]
    child = subprocess.run(
        command,
        input="\n".join(found),
        cwd=_TESTS,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=240,
        check=False,
    )
    begun = None
    for line in child.stdout.splitlines():
        record = json.loads(line)
        begun = record["name"]
        if "status" in record:
            found[begun] = Outcome(record["status"], record["reason"], record["cause"])
            begun = None
    return begun, child.returncode


def main() -> None:
    """Run in the child: a line when a test begins, and one when it is done."""
    modules, done = sys.argv[1].split(","), set(sys.stdin.read().split())
    for _, case in cases_of(modules):
        if case.name in done:
            continue
        print(json.dumps({"name": case.name}), flush=True)
        if os.environ.get("QDQ_TEST_ABORT_AT") == case.name:
            os.abort()
        outcome = _outcome(case)
        print(json.dumps({"name": case.name, **asdict(outcome)}), flush=True)


def _outcome(case: Any) -> Outcome:
    import onnx_ir as ir

    from qdq.base.errors import InternalError, QdqError
    from qdq.target.tflite import compile_tflite

    model, given, wanted = bound(case)
    try:
        data = compile_tflite(ir.serde.deserialize_model(model)).data
    except InternalError as error:
        return Outcome(WRONG, f"InternalError: {error}")
    except QdqError as error:
        return Outcome(REFUSED, str(error), error.cause)
    except Exception as error:
        return Outcome(WRONG, f"it raised {error!r}")
    for kernels in _KERNELS:
        try:
            found = _run(data, given, kernels)
        except Exception as error:
            # The reference set is no complete one: it has no ELU.
            if kernels == "BUILTIN_REF" and "Didn't find op" in str(error):
                continue
            return Outcome(WRONG, f"{kernels}: LiteRT says {error}")
        fault = _difference(found, wanted, case)
        if fault:
            return Outcome(WRONG, f"{kernels}: {fault}")
    return Outcome(PASSED)


def _run(data: bytes, given: dict[str, Any], kernels: str) -> dict[str, Any]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=data,
        num_threads=1,
        experimental_op_resolver_type=getattr(OpResolverType, kernels),
    )
    runner = interpreter.get_signature_runner("serving_default")
    return {name: np.array(array) for name, array in runner(**given).items()}


def _difference(found: dict[str, Any], wanted: dict[str, Any], case: Any) -> str:
    """Return how the outputs differ from those of the test, in dtype, shape or numbers."""
    if found.keys() != wanted.keys():
        return f"its outputs are {sorted(found)}, not {sorted(wanted)}"
    for name, expected in wanted.items():
        value, reference = found[name], np.asarray(expected)
        if value.dtype != reference.dtype or value.shape != reference.shape:
            return f"{name} is {value.dtype} {value.shape}, not {reference.dtype} {reference.shape}"
        if not _agree(value, reference, case):
            return f"{name} has other numbers"
    return ""


def _agree(value: Any, reference: Any, case: Any) -> bool:
    """Compare as onnx's own runner does: integers exactly, floats within the test's tolerance."""
    if value.dtype.kind in "iub":
        return bool(np.array_equal(value, reference))
    exact, other = (array.astype(np.float64) for array in (reference, value))
    return bool(np.allclose(other, exact, rtol=case.rtol, atol=case.atol, equal_nan=True))


if __name__ == "__main__":
    main()
