"""Single quantized ops on the HTP simulator: near ONNX Runtime, whatever the zero point."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qnn_files import need_qnn

SWEEP = Path(__file__).with_name("op_sweep.py")
OPS = [
    "Relu",
    "Sigmoid",
    "Tanh",
    "HardSwish",
    "HardSigmoid",
    "LeakyRelu",
    "Elu",
    "Gelu",
    "Abs",
    "Add",
    "Sub",
    "Mul",
    "Max",
    "Min",
    "Concat",
    "MatMul",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "ReduceMean",
    "Softmax",
    "Transpose",
    "LayerNormalization",
]
# Steps of the output's grid.  The HTP rounds each op by itself, and in 16 bits takes tables for
# these functions and narrows what it multiplies in a MatMul.
STEPS_8, STEPS_16 = 2.01, 8.0
TABLES_16 = {"Gelu": 60.0, "Softmax": 60.0, "LayerNormalization": 40.0, "MatMul": 250.0}


@pytest.fixture(scope="module")
def measured() -> dict[tuple[str, str, bool], dict[str, Any]]:
    need_qnn()
    done = subprocess.run(
        [sys.executable, str(SWEEP)], capture_output=True, text=True, check=True, timeout=280
    )
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {(row["op"], row["type"], row["symmetric"]): row for row in rows}


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("dtype", ["a8", "a16"])
@pytest.mark.parametrize("op", OPS)
def test_an_op(measured: dict[Any, dict[str, Any]], op: str, dtype: str, symmetric: bool) -> None:
    row = measured[op, dtype, symmetric]
    assert "refused" not in row
    most = STEPS_8 if dtype == "a8" else TABLES_16.get(op, STEPS_16)
    assert row["steps"] <= most
    assert row["sqnr"] >= (30 if dtype == "a8" else 40)
