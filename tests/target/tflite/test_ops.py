"""Each op alone, float and quantized, against ONNX Runtime; what TFLite op it becomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest


@dataclass(frozen=True)
class Case:
    """A graph over x (and z); ``emits`` is the TFLite op, ``integer`` False a float island."""

    text: str
    emits: str
    constants: dict[str, Any] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ("int8", "int16")
    lsb: float = 1
    island: bool = False
    opset: int = 18


def _image(call: str, emits: str, **rest: Any) -> Case:
    return Case(f"g (float[1,4,9,8] x) => (float[?,?,?,?] y) {{ y = {call} }}", emits, **rest)


def _two(call: str, emits: str, shape: str = "1,4,9,8", **rest: Any) -> Case:
    text = f"g (float[1,4,9,8] x, float[{shape}] z) => (float[?,?,?,?] y) {{ y = {call} }}"
    return Case(text, emits, **rest)


def _matrix(call: str, emits: str, shape: str = "5,6", out: str = "?,?", **rest: Any) -> Case:
    text = f"g (float[{shape}] x) => (float[{out}] y) {{ y = {call} }}"
    return Case(text, emits, **rest)


def _ints(*items: int) -> Any:
    return np.asarray(items, np.int64)


def _normal(*shape: int) -> Any:
    return np.random.default_rng(11).standard_normal(shape).astype(np.float32)


POOL = "kernel_shape = [3, 3]"
CASES = {
    "add": _two("Add (x, z)", "ADD"),
    "sub": _two("Sub (x, z)", "SUB"),
    "mul": _two("Mul (x, z)", "MUL"),
    "add_channels": _image("Add (x, k)", "ADD", constants={"k": _normal(4, 1, 1)}),
    "mul_scalar": _image("Mul (x, k)", "MUL", constants={"k": np.float32(1.7)}),
    "sub_from": _image("Sub (k, x)", "SUB", constants={"k": _normal(1, 4, 1, 1)}),
    "add_row": _two("Add (x, z)", "ADD", shape="9,8"),
    "div": _image("Div (x, k)", "DIV", constants={"k": np.float32(3)}, island=True),
    "relu": _image("Relu (x)", "RELU"),
    "clip": _image(
        "Clip (x, a, c)", "MINIMUM", constants={"a": np.float32(-0.3), "c": np.float32(1)}
    ),
    "sigmoid": _image("Sigmoid (x)", "LOGISTIC", lsb=2),
    "tanh": _image("Tanh (x)", "TANH", lsb=2),
    "hard_swish": _image("HardSwish (x)", "HARD_SWISH", dtypes=("int8",), lsb=2),
    "gelu": _image("Gelu (x)", "GELU", dtypes=("int8",), lsb=2, opset=20),
    "gelu_tanh": _image(
        'Gelu <approximate = "tanh"> (x)', "GELU", dtypes=("int8",), lsb=2, opset=20
    ),
    "layer_norm": _image(
        "LayerNormalization (x, k, c)",
        "RSQRT",
        constants={"k": _normal(8), "c": _normal(8)},
        island=True,
    ),
    "layer_norm_dims": _image(
        "LayerNormalization <axis = 1, epsilon = 0.01> (x, k)",
        "RSQRT",
        constants={"k": _normal(4, 9, 8)},
        island=True,
    ),
    "layer_norm_matrix": _matrix(
        "LayerNormalization (x, k, c)",
        "RSQRT",
        constants={"k": _normal(6), "c": _normal(6)},
        island=True,
    ),
    "hard_sigmoid": _image("HardSigmoid <alpha = 0.25> (x)", "MINIMUM"),
    "hard_sigmoid_falling": _image("HardSigmoid <alpha = -0.3, beta = 0.8> (x)", "MINIMUM"),
    "hard_sigmoid_steep": _image("HardSigmoid <alpha = 3.0> (x)", "MINIMUM", island=True),
    "hard_sigmoid_line": Case(
        "g (float[3,7] x) => (float[?,?] y) { y = HardSigmoid (x) }", "MINIMUM"
    ),
    "hard_sigmoid_volume": Case(
        "g (float[2,3,1,2,4] x) => (float[?,?,?,?,?] y) { y = HardSigmoid <alpha = 2.0> (x) }",
        "MINIMUM",
    ),
    "softmax": _image("Softmax <axis = 1> (x)", "SOFTMAX", lsb=4),
    "softmax_last": _matrix("Softmax (x)", "SOFTMAX", lsb=4),
    "max_pool": _image(f"MaxPool <{POOL}, pads = [1, 1, 1, 1]> (x)", "MAX_POOL_2D"),
    "max_pool_stride": _image(
        f"MaxPool <{POOL}, strides = [2, 2], pads = [1, 1, 1, 1]> (x)", "MAX_POOL_2D"
    ),
    "max_pool_ceil": _image(
        "MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (x)", "MAX_POOL_2D"
    ),
    "average_pool": _image(f"AveragePool <{POOL}> (x)", "AVERAGE_POOL_2D"),
    "average_pool_same": _image(
        f"AveragePool <{POOL}, pads = [1, 1, 1, 1]> (x)", "AVERAGE_POOL_2D"
    ),
    "average_pool_counted": _image(
        f"AveragePool <{POOL}, pads = [1, 1, 1, 1], count_include_pad = 1> (x)", "AVERAGE_POOL_2D"
    ),
    "average_pool_border": _image(
        f"AveragePool <{POOL}, pads = [2, 0, 1, 1], strides = [2, 2]> (x)", "MUL", island=True
    ),
    "average_pool_ceil": _image(
        "AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], ceil_mode = 1, "
        "count_include_pad = 1> (x)",
        "MUL",
        island=True,
    ),
    "global_average": _image("GlobalAveragePool (x)", "MEAN"),
    "global_max": _image("GlobalMaxPool (x)", "REDUCE_MAX"),
    "mean_spatial": _image("ReduceMean (x, k)", "MEAN", constants={"k": _ints(2, 3)}),
    "mean_channel": Case(
        "g (float[1,4,9,8] x) => (float[?,?,?] y) { y = ReduceMean <keepdims = 0> (x, k) }",
        "MEAN",
        {"k": _ints(1)},
    ),
    "concat": _two("Concat <axis = 1> (x, z)", "CONCATENATION"),
    "concat_width": _two("Concat <axis = -1> (x, z)", "CONCATENATION"),
    "pad": _image("Pad (x, k)", "PAD", constants={"k": _ints(0, 1, 2, 0, 0, 0, 1, 3)}),
    "pad_value": _image(
        "Pad (x, k, v)",
        "PADV2",
        constants={"k": _ints(0, 0, 2, 0, 0, 0, 1, 3), "v": np.float32(0.5)},
    ),
    "pad_reflect": _image(
        'Pad <mode = "reflect"> (x, k)',
        "MIRROR_PAD",
        constants={"k": _ints(0, 0, 2, 1, 0, 0, 1, 3)},
    ),
    "reshape": _image("Reshape (x, k)", "RESHAPE", constants={"k": _ints(1, 2, 18, 8)}),
    "flatten": Case("g (float[1,4,9,8] x) => (float[?,?] y) { y = Flatten (x) }", "RESHAPE"),
    "unsqueeze": _matrix("Unsqueeze (x, k)", "RESHAPE", out="?,?,?", constants={"k": _ints(1)}),
    "squeeze": _matrix("Squeeze (x, k)", "RESHAPE", shape="5,1,6", constants={"k": _ints(1)}),
    "transpose": _image("Transpose <perm = [0, 2, 1, 3]> (x)", "TRANSPOSE"),
    "gemm": _matrix(
        "Gemm <transB = 1> (x, w, b)",
        "FULLY_CONNECTED",
        constants={"w": _normal(7, 6), "b": _normal(7)},
    ),
    "matmul_of_batches_and_relu": Case(
        "g (float[2,5,6] x) => (float[?,?,?] y) { a = MatMul (x, w) y = Relu (a) }",
        "BATCH_MATMUL",
        constants={"w": _normal(2, 6, 7)},
        island=True,
    ),
    "matmul_of_a_row_and_batches_and_clip": Case(
        "g (float[6] x) => (float[?,?] y) { a = MatMul (x, w) y = Clip (a, low, high) }",
        "BATCH_MATMUL",
        constants={"w": _normal(2, 6, 7), "low": np.float32(0), "high": np.float32(6)},
        island=True,
    ),
    "gemm_straight": _matrix("Gemm (x, w)", "FULLY_CONNECTED", constants={"w": _normal(6, 7)}),
    "gemm_scaled": _matrix(
        "Gemm <alpha = 0.5, beta = 2.0, transA = 1> (x, w, b)",
        "FULLY_CONNECTED",
        shape="6,5",
        constants={"w": _normal(6, 7), "b": _normal(7)},
    ),
    "gemm_factors": _matrix(
        "Gemm <alpha = 0.3, beta = -1.7, transB = 1> (x, w, b)",
        "FULLY_CONNECTED",
        constants={"w": _normal(7, 6), "b": _normal(7)},
    ),
    "gemm_factor_alone": _matrix(
        "Gemm <alpha = 3.1> (x, w)", "FULLY_CONNECTED", constants={"w": _normal(6, 7)}
    ),
    "gemm_falling": _matrix(
        "Gemm <alpha = -0.5> (x, w)",
        "FULLY_CONNECTED",
        constants={"w": _normal(6, 7)},
        island=True,
    ),
    "gemm_computed": Case(
        "g (float[5,6] x, float[6,3] z) => (float[?,?] y) { y = Gemm (x, z) }", "BATCH_MATMUL"
    ),
    "gemm_computed_bias": Case(
        "g (float[5,6] x, float[6,3] z) => (float[?,?] y) "
        "{ y = Gemm <alpha = 0.5, beta = 2.0> (x, z, b) }",
        "BATCH_MATMUL",
        {"b": _normal(3)},
        island=True,
    ),
    "gemm_matrix_bias": _matrix(
        "Gemm (x, w, b)", "ADD", constants={"w": _normal(6, 7), "b": _normal(5, 7)}, island=True
    ),
    "matmul": _matrix("MatMul (x, w)", "FULLY_CONNECTED", constants={"w": _normal(6, 7)}),
    "matmul_bias": Case(
        "g (float[2,5,6] x) => (float[?,?,?] y) { m = MatMul (x, w) y = Add (m, b) }",
        "FULLY_CONNECTED",
        {"w": _normal(6, 7), "b": _normal(7)},
    ),
    "matmul_computed": Case(
        "g (float[2,5,6] x, float[2,6,3] z) => (float[?,?,?] y) { y = MatMul (x, z) }",
        "BATCH_MATMUL",
    ),
    "matmul_adjoint": Case(
        "g (float[2,5,6] x, float[2,3,6] z) => (float[?,?,?] y) "
        "{ t = Transpose <perm = [0, 2, 1]> (z) y = MatMul (x, t) }",
        "BATCH_MATMUL",
    ),
    "matmul_vector": Case(
        "g (float[2,5,6] x, float[6] z) => (float[?,?] y) { y = MatMul (x, z) }", "BATCH_MATMUL"
    ),
    "max_pool_line": Case(
        "g (float[1,4,11] x) => (float[?,?,?] y) "
        "{ y = MaxPool <kernel_shape = [3], strides = [2], pads = [1, 1]> (x) }",
        "MAX_POOL_2D",
    ),
}
INTEGER = [(name, dtype) for name, case in CASES.items() for dtype in ("int8", "int16")]


@pytest.mark.parametrize("name", CASES)
def test_float(name: str, parse: Callable[..., Any], check_float: Callable[..., Any]) -> None:
    case = CASES[name]

    lite = check_float(parse(case.text, opset=case.opset, **case.constants))

    assert lite.count(case.emits) == 1


@pytest.mark.parametrize(("name", "dtype"), INTEGER)
def test_integer(
    name: str, dtype: str, parse: Callable[..., Any], check_integer: Callable[..., Any]
) -> None:
    case = CASES[name]
    island = case.island or dtype not in case.dtypes
    model = parse(case.text, opset=case.opset, **case.constants)

    lite = check_integer(model, dtype, lsb=case.lsb, islands=island)

    floats = [n for n in lite.names if n.endswith(":FLOAT32") and not n.startswith("DEQUANTIZE")]
    assert bool(floats) == island, lite.names
