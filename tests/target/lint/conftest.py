"""QDQ graphs in ONNX text for the rules, and the compiler itself as the oracle."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from qdq.target.lint import Finding, lint_graph

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def found() -> Callable[..., list[Finding]]:
    """``found(model, rule, target="htp-v73")``: the findings of one rule."""

    def linted(model: ir.Model, rule: str, target: str = "htp-v73") -> list[Finding]:
        return [it for it in lint_graph(model, target) if it.rule == rule]

    return linted


@pytest.fixture
def qdq_graph(parse: Callable[..., ir.Model]) -> Callable[..., ir.Model]:
    """``qdq_graph(text, inputs, output, dtype="uint8", ...)``: ``text`` between Q/DQ pairs.

    The text reads ``x_d``, ``z_d`` where a pair stands behind the inputs x and z, and makes ``y``,
    which a pair follows; ``encodings`` gives (scale, zero point) by the name of a pair.
    """

    def build(
        text: str,
        *,
        shape: str = "1,4,6,6",
        inputs: str = "x",
        dtype: str = "uint8",
        encodings: dict[str, tuple[float, int]] | None = None,
        **constants: Any,
    ) -> ir.Model:
        middle = {"uint8": 128, "uint16": 32768, "int8": 0, "int16": 0}[dtype]
        given = encodings or {}
        values: dict[str, Any] = dict(constants)
        lines = []
        for name in inputs.split():
            values |= parameters(name, dtype, *given.get(name, (1 / 64, middle)))
            lines.append(pair(name))
        lines.append(text)
        values |= parameters("y", dtype, *given.get("y", (1 / 64, middle)))
        lines.append(pair("y"))
        floats = ", ".join(f"float[{shape}] {name}" for name in inputs.split())
        return parse(f"g ({floats}) => (float y_d) {{ {' '.join(lines)} }}", opset=21, **values)

    return build


def pair(name: str) -> str:
    return (
        f"{name}_q = QuantizeLinear ({name}, {name}_s, {name}_z) "
        f"{name}_d = DequantizeLinear ({name}_q, {name}_s, {name}_z)"
    )


def parameters(name: str, dtype: str, scale: float, zero: int) -> dict[str, Any]:
    return {f"{name}_s": np.float32(scale), f"{name}_z": np.dtype(dtype).type(zero)}


@cache
def _compiler() -> Any:
    if importlib.util.find_spec("onnxruntime_qnn") is None:
        return None
    if str(ROOT / "scripts") not in sys.path:
        sys.path.insert(0, str(ROOT / "scripts"))
    measure = importlib.import_module("measure_htp_ops")
    # One process registers the provider once.
    return measure, measure.Compiler()


def _need_compiler() -> Any:
    found = _compiler()
    if found is None:
        text = "The package onnxruntime-qnn is not installed (extra [qnn])"
        if os.environ.get("QDQ_REQUIRE_ALL") == "1":
            pytest.fail(text)
        pytest.skip(text)
    return found


@pytest.fixture
def takes() -> Callable[[ir.Model, str], bool]:
    """``takes(model, arch)``: whether the HTP compiler of onnxruntime-qnn takes all of it."""
    measure, compiler = _need_compiler()
    return lambda model, arch: compiler.takes(ir.to_proto(model), measure.CHIPS[arch])


@pytest.fixture
def measured() -> Callable[[str], dict[str, list[str]]]:
    """``measured(op)``: the row of the table, measured now."""
    measure, compiler = _need_compiler()
    return lambda op: measure.measure(compiler, op)
