"""The tables and rules against the HTP compiler itself; needs the extra [qnn]."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from qdq.target.lint import Severity, lint_graph

ARCHES = ("v68", "v69", "v73", "v75", "v79", "v81")
TABLE = json.loads(files("qdq.target.lint").joinpath("ops.json").read_text("utf-8"))
# Of each kind: taken everywhere, only between pairs, nowhere, only on integers.
QUICK = ("Add", "Conv", "Asin", "Sinh", "And", "LayerNormalization")
WEIGHT = {"w_i": np.ones((6, 4, 3, 3), np.int8), "w_s": np.float32(1 / 64), "w_z": np.int8(0)}
CONV = "w_d = DequantizeLinear (w_i, w_s, w_z) h = Conv (x_d, w_d)"
SQUARE = {"shape": "1,2,8,8"}
BOTH = {"inputs": "x z", **SQUARE}
PAIR = "h_q = QuantizeLinear (h, y_s, y_z) h_d = DequantizeLinear (h_q, y_s, y_z)"
ABSORBED = {"encodings": {"y": (1 / 64, 0)}}
# Text, arguments of ``qdq_graph``: what the rules say must be what the compiler does.
GRAPHS: dict[str, tuple[str, dict[str, Any]]] = {
    "pair before the clamp": (f"{CONV} {PAIR} y = Relu (h_d)", {}),
    "clamp absorbed": (f"{CONV} y = Relu (h)", ABSORBED),
    "clamp not absorbed": (f"{CONV} y = Relu (h)", {}),
    "clamp after a bias": (
        f"{CONV} y = Relu (h)".replace("(x_d, w_d)", "(x_d, w_d, b)"),
        {"b": np.ones(6, np.float32)},
    ),
    "16-bit clamp not absorbed": (f"{CONV} y = Relu (h)", {"dtype": "uint16"}),
    "add and clamp": ("h = Add (x_d, x_d) y = Relu (h)", {}),
    "float island": ("a = Exp (x_d) y = Tanh (a)", {}),
    "no kernel": ("y = Sinh (x_d)", {}),
    "matmul uint8": ("y = MatMul (x_d, z_d)", BOTH),
    "matmul int16": ("y = MatMul (x_d, z_d)", BOTH | {"dtype": "int16"}),
    "matmul asymmetric int16": (
        "y = MatMul (x_d, z_d)",
        BOTH | {"dtype": "int16", "encodings": {"z": (1 / 64, 7)}},
    ),
    "wide weight": (
        f"{CONV} y = Relu (h)",
        ABSORBED | {"w_i": np.ones((6, 4, 3, 3), np.int16), "w_z": np.int16(0)},
    ),
}


def test_the_table_has_every_architecture_and_only_those():
    assert tuple(TABLE["chips"]) == ARCHES
    for op, row in TABLE["ops"].items():
        assert set(row) == {"float", "uint8", "uint16"}, op
        assert all(set(taken) <= set(ARCHES) for taken in row.values()), op


@pytest.mark.parametrize("arch", ["v68", "v73"])
@pytest.mark.parametrize("name", GRAPHS)
def test_an_error_is_what_the_compiler_refuses(
    name: str, arch: str, qdq_graph: Callable[..., ir.Model], takes: Callable[..., bool]
) -> None:
    text, arguments = GRAPHS[name]
    given = arguments if "w_d" not in text else WEIGHT | arguments
    model = qdq_graph(text, **given)
    # What our own compile repairs is a warning that says what the compiler makes of it.
    stopping = [
        it
        for it in lint_graph(model, f"htp-{arch}")
        if it.severity is Severity.ERROR or "compiler refuses" in it.why
    ]
    assert takes(model, arch) is not bool(stopping), [it.sentence() for it in stopping]


@pytest.mark.parametrize("op", QUICK)
def test_rows_are_as_measured(op: str, measured: Callable[[str], Any]) -> None:
    assert measured(op) == TABLE["ops"][op]


@pytest.mark.medium
@pytest.mark.parametrize("op", [op for op in TABLE["ops"] if op not in QUICK])
def test_every_row_is_as_measured(op: str, measured: Callable[[str], Any]) -> None:
    assert measured(op) == TABLE["ops"][op]
