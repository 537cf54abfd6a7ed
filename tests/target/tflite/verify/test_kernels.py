"""Random single operators: TFLite's kernels agree with the references, within the table."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdq.target.tflite.verify.check import OpCheck, Status, check_ops
from qdq.target.tflite.verify.interpreter import Kernels, run_tflite
from qdq.target.tflite.verify.reader import read_tflite

Array = np.ndarray[Any, Any]
Rng = np.random.Generator
Make = Callable[[SimpleNamespace, Rng, str], Any]

SAME, VALID = 0, 1


def image(kit, rng: Rng, dtype: str, shape, name: str = "x", values=None, low=None, high=None):
    """Return a fed tensor and its values over the whole range of its dtype."""
    if dtype == "float32":
        real = rng.normal(0, 2, shape) if low is None else rng.uniform(low, high, shape)
        return kit.Tensor(name, dtype, tuple(shape)), real.astype(np.float32)
    info = np.iinfo(dtype)
    raw = rng.integers(info.min, info.max + 1, shape).astype(dtype)
    if low is None:
        low, high = -float(rng.uniform(0, 6)), float(rng.uniform(0.5, 8))
    scale, zero = kit.encoding(np.array([low, high]), dtype)
    if dtype == "int16" and low == 0:
        raw = np.abs(np.maximum(raw, -32767))
    return kit.Tensor(name, dtype, tuple(shape), scale, zero), raw


def weights(kit, rng: Rng, dtype: str, shape, axis: int, per_channel: bool, count: int, scale_x):
    """Return constant weights and bias as a convolution of ``dtype`` wants them."""
    if dtype == "float32":
        w = kit.Tensor("w", dtype, shape, data=rng.normal(0, 1, shape).astype(np.float32))
        b = kit.Tensor("b", dtype, (count,), data=rng.normal(0, 1, count).astype(np.float32))
        return w, b
    low = rng.uniform(0.002, 0.02, count if per_channel else 1).astype(np.float32)
    data = rng.integers(-127, 128, shape).astype(np.int8)
    w = kit.Tensor("w", "int8", shape, low, 0, axis, data)
    kind = "int64" if dtype == "int16" else "int32"
    scale = (np.float32(scale_x) * low).astype(np.float32)
    bias = (rng.normal(0, 1, count) / np.broadcast_to(scale, count)).astype(kind)
    return w, kit.Tensor("b", kind, (count,), scale, 0, 0, bias)


def conv_options(rng: Rng, *, dilation: bool = True) -> dict[str, int]:
    chosen = {
        "padding": int(rng.integers(0, 2)),
        "strideH": int(rng.integers(1, 3)),
        "strideW": int(rng.integers(1, 3)),
        "fusedActivationFunction": int(rng.choice([0, 1, 3])),
    }
    if dilation and chosen["strideH"] == chosen["strideW"] == 1:
        chosen |= {"dilationHFactor": int(rng.integers(1, 3)), "dilationWFactor": 2}
    elif dilation:
        chosen |= {"dilationHFactor": 1, "dilationWFactor": 1}
    return chosen


def conv_2d(kit, rng: Rng, dtype: str):
    groups, count, depth = rng.choice([[1, 5, 3], [1, 8, 16], [2, 8, 4], [4, 8, 2]])
    shape = (int(count), int(rng.integers(1, 4)), int(rng.integers(1, 4)), int(depth))
    x, raw = image(kit, rng, dtype, (2, 8, 9, int(groups * depth)))
    per_channel = bool(rng.integers(0, 2))
    w, b = weights(kit, rng, dtype, shape, 0, per_channel, int(count), x.scale or 1)
    options = conv_options(rng, dilation=groups == 1) | {"version": 3}
    if groups > 1:
        options |= {"dilationHFactor": 1, "dilationWFactor": 1}
    return kit.Single("CONV_2D", [x, w, b], {"x": raw}, ("auto",), dtype, options)


def depthwise_conv_2d(kit, rng: Rng, dtype: str):
    depth, times = int(rng.integers(1, 9)), int(rng.integers(1, 3))
    shape = (1, int(rng.integers(1, 4)), int(rng.integers(1, 4)), depth * times)
    x, raw = image(kit, rng, dtype, (1, 8, 9, depth))
    per_channel = bool(rng.integers(0, 2)) or dtype == "int16"
    w, b = weights(kit, rng, dtype, shape, 3, per_channel, depth * times, x.scale or 1)
    options = conv_options(rng) | {"depthMultiplier": times, "version": 3}
    return kit.Single("DEPTHWISE_CONV_2D", [x, w, b], {"x": raw}, ("auto",), dtype, options)


def transpose_conv(kit, rng: Rng, dtype: str):
    count, depth, stride = int(rng.integers(1, 6)), int(rng.integers(1, 6)), int(rng.integers(1, 3))
    kernel = int(rng.integers(stride, 4))
    x, raw = image(kit, rng, dtype, (1, 5, 6, depth))
    padding = int(rng.integers(0, 2))
    size = [n * stride if padding == SAME else (n - 1) * stride + kernel for n in (5, 6)]
    target = kit.Tensor("s", "int32", (4,), data=np.array([1, *size, count], np.int32))
    shape = (count, kernel, kernel, depth)
    w, b = weights(kit, rng, dtype, shape, 0, bool(rng.integers(0, 2)), count, x.scale or 1)
    options = {"padding": padding, "strideH": stride, "strideW": stride, "version": 3}
    return kit.Single("TRANSPOSE_CONV", [target, w, x, b], {"x": raw}, ("auto",), dtype, options)


def fully_connected(kit, rng: Rng, dtype: str):
    count, depth = int(rng.integers(1, 20)), int(rng.integers(1, 80))
    x, raw = image(kit, rng, dtype, (3, depth))
    per_channel = bool(rng.integers(0, 2)) and dtype == "int8"
    w, b = weights(kit, rng, dtype, (count, depth), 0, per_channel, count, x.scale or 1)
    options = {"fusedActivationFunction": int(rng.choice([0, 1])), "version": 5}
    return kit.Single("FULLY_CONNECTED", [x, w, b], {"x": raw}, ("auto",), dtype, options)


def batch_matmul(kit, rng: Rng, dtype: str):
    a, raw = image(kit, rng, dtype, (2, 5, 7), "a")
    flip = bool(rng.integers(0, 2))
    b, other = image(kit, rng, dtype, (2, 6, 7) if flip else (2, 7, 6), "b")
    feeds = {"a": raw, "b": other}
    return kit.Single("BATCH_MATMUL", [a, b], feeds, ("auto",), dtype, {"adjY": flip, "version": 3})


def binary(name: str, output: str = "auto", fused: bool = True, low=None, high=None) -> Make:
    def make(kit, rng: Rng, dtype: str):
        shapes = [
            ((2, 3, 4, 5), (2, 3, 4, 5)),
            ((2, 3, 4, 5), (1, 1, 1, 5)),
            ((1, 6, 4), (1, 1, 1)),
        ]
        left, right = shapes[rng.integers(len(shapes))]
        a, raw = image(kit, rng, dtype, left, "a")
        b, other = image(kit, rng, dtype, right, "b", low=low, high=high)
        if output == "same":
            b.scale, b.zero = a.scale, a.zero
        version = {"int8": 2, "float32": 1}.get(dtype, 2)
        options: dict[str, Any] = {"version": version}
        if fused:
            options["fusedActivationFunction"] = int(rng.choice([0, 1]))
        return kit.Single(name, [a, b], {"a": raw, "b": other}, (output,), dtype, options)

    return make


def unary(name: str, output: tuple[Any, ...] = ("auto",), low=None, high=None, **options) -> Make:
    def make(kit, rng: Rng, dtype: str):
        x, raw = image(kit, rng, dtype, (2, 5, 6, 7), low=low, high=high)
        fixed = output
        if output[0] == "fixed" and dtype != "float32":
            fixed = ("fixed", *(output[1] if dtype == "int8" else output[2]))
        return kit.Single(name, [x], {"x": raw}, fixed, dtype, {"version": 2, **options})

    return make


def prelu(kit, rng: Rng, dtype: str):
    x, raw = image(kit, rng, dtype, (2, 5, 6, 7))
    a, alpha = image(kit, rng, dtype, (1, 1, 7), "a", low=-0.5, high=0.9)
    a.data = alpha
    return kit.Single("PRELU", [x, a], {"x": raw}, ("auto",), dtype)


def pool(name: str, output: str = "same") -> Make:
    def make(kit, rng: Rng, dtype: str):
        x, raw = image(kit, rng, dtype, (1, 8, 9, 5))
        options = conv_options(rng, dilation=False) | {"version": 2}
        options |= {"filterHeight": int(rng.integers(1, 4)), "filterWidth": int(rng.integers(1, 4))}
        return kit.Single(name, [x], {"x": raw}, (output,), dtype, options)

    return make


def reduction(name: str, output: str = "auto") -> Make:
    def make(kit, rng: Rng, dtype: str):
        x, raw = image(kit, rng, dtype, (2, 5, 6, 7))
        axes = np.array([[1, 2], [3], [2], [1, 2, 3]][rng.integers(4)], np.int32)
        a = kit.Tensor("axes", "int32", axes.shape, data=axes)
        options = {"keepDims": bool(rng.integers(0, 2)), "version": 2}
        return kit.Single(name, [x, a], {"x": raw}, (output,), dtype, options)

    return make


def moved(name: str, *constants: Any, outputs: int = 1, first: bool = False, **options) -> Make:
    """An operator of one image and constant sizes that keeps its input's scale."""

    def make(kit, rng: Rng, dtype: str):
        x, raw = image(kit, rng, dtype, (1, 4, 6, 8))
        made = []
        for i, value in enumerate(constants):
            data = np.array(value, np.int32)
            made.append(kit.Tensor(f"c{i}", "int32", data.shape, data=data))
        inputs = [*made, x] if first else [x, *made]
        return kit.Single(name, inputs, {"x": raw}, ("same",), dtype, dict(options), outputs)

    return make


def pad_v2(kit, rng: Rng, dtype: str):
    x, raw = image(kit, rng, dtype, (1, 4, 6, 8))
    pads = kit.Tensor(
        "p", "int32", (4, 2), data=np.array([[0, 0], [1, 2], [0, 1], [0, 0]], np.int32)
    )
    value = kit.Tensor("v", dtype, (1,), x.scale, x.zero, data=np.array([-7], raw.dtype))
    return kit.Single("PADV2", [x, pads, value], {"x": raw}, ("same",), dtype, {"version": 2})


def concatenation(kit, rng: Rng, dtype: str):
    axis = int(rng.integers(1, 4))
    shapes = [[1, 4, 6, 8], [1, 4, 6, 8]]
    shapes[1][axis] = 3
    a, raw = image(kit, rng, dtype, shapes[0], "a")
    b, other = image(kit, rng, dtype, shapes[1], "b")
    b.scale, b.zero = a.scale, a.zero
    options = {"axis": axis, "version": 2}
    return kit.Single("CONCATENATION", [a, b], {"a": raw, "b": other}, ("same",), dtype, options)


def gather(kit, rng: Rng, dtype: str):
    x, raw = image(kit, rng, dtype, (1, 4, 6, 8))
    spots = kit.Tensor("i", "int32", (3,), data=np.array([5, 0, 2], np.int32))
    return kit.Single("GATHER", [x, spots], {"x": raw}, ("same",), dtype, {"axis": 2, "version": 2})


def resize(name: str, doubled: bool = False) -> Make:
    def make(kit, rng: Rng, dtype: str):
        x, raw = image(kit, rng, dtype, (1, 5, 7, 3))
        sizes = [[10, 14], [20, 28], [7, 5], [3, 20], [15, 21]]
        sizes = np.array(sizes[rng.integers(2 if doubled else 5)], np.int32)
        size = kit.Tensor("s", "int32", (2,), data=sizes)
        modes = [{}, {"halfPixelCenters": True}, {"alignCorners": True}]
        mode = modes[rng.integers(2 if doubled else 3)]
        return kit.Single(name, [x, size], {"x": raw}, ("same",), dtype, {**mode, "version": 3})

    return make


def quantize(source: str) -> Make:
    def make(kit, rng: Rng, dtype: str):
        x, raw = image(kit, rng, source, (1, 4, 6, 8))
        return kit.Single("QUANTIZE", [x], {"x": raw}, ("auto",), dtype, {"version": 2})

    return make


def dequantize(source: str) -> Make:
    def make(kit, rng: Rng, dtype: str):
        x, raw = image(kit, rng, source, (1, 4, 6, 8))
        return kit.Single("DEQUANTIZE", [x], {"x": raw}, ("auto",), dtype, {"version": 2})

    return make


UNIT = ("fixed", (1 / 256, -128), (1 / 32768, 0))
SIGNED = ("fixed", (1 / 128, 0), (1 / 32768, 0))
ALL, SMALL, FLOAT8 = ("float32", "int8", "int16"), ("int8", "int16"), ("float32", "int8")
EVERY = (*ALL, "uint8")

CATALOGUE: dict[str, tuple[Make, tuple[str, ...]]] = {
    "CONV_2D": (conv_2d, ALL),
    "DEPTHWISE_CONV_2D": (depthwise_conv_2d, ALL),
    "TRANSPOSE_CONV": (transpose_conv, ALL),
    "FULLY_CONNECTED": (fully_connected, ALL),
    "BATCH_MATMUL": (batch_matmul, ALL),
    "ADD": (binary("ADD"), EVERY),
    "SUB": (binary("SUB"), EVERY),
    "MUL": (binary("MUL"), EVERY),
    "DIV": (binary("DIV", low=0.5, high=4.0), ("float32",)),
    "MAXIMUM": (binary("MAXIMUM", "same", fused=False), ALL),
    "MINIMUM": (binary("MINIMUM", "same", fused=False), ALL),
    "SQUARED_DIFFERENCE": (binary("SQUARED_DIFFERENCE", fused=False), FLOAT8),
    "RELU": (unary("RELU"), ALL),
    "RELU6": (unary("RELU6"), FLOAT8),
    "RELU_N1_TO_1": (unary("RELU_N1_TO_1", version=1), FLOAT8),
    "LEAKY_RELU": (unary("LEAKY_RELU", alpha=0.1), ALL),
    "PRELU": (prelu, FLOAT8),
    "ELU": (unary("ELU", version=1), FLOAT8),
    "HARD_SWISH": (unary("HARD_SWISH", version=1), FLOAT8),
    "GELU": (unary("GELU", approximate=False), FLOAT8),
    "GELU tanh": (unary("GELU", approximate=True), FLOAT8),
    "LOGISTIC": (unary("LOGISTIC", UNIT), ALL),
    "TANH": (unary("TANH", SIGNED), ALL),
    "SOFTMAX": (unary("SOFTMAX", UNIT, beta=1.0), ALL),
    "LOG_SOFTMAX": (unary("LOG_SOFTMAX", ("fixed", (16 / 256, 127), (1, 0))), FLOAT8),
    "ABS": (unary("ABS"), ALL),
    "NEG": (unary("NEG", ("same",), version=1), ("float32",)),
    "SQRT": (unary("SQRT", low=0.0, high=5.0), ALL),
    "RSQRT": (unary("RSQRT", low=0.5, high=5.0), ("float32",)),
    "EXP": (unary("EXP"), FLOAT8),
    "LOG": (unary("LOG", low=0.5, high=5.0), ("float32",)),
    "SQUARE": (unary("SQUARE", version=1), ("float32",)),
    "MAX_POOL_2D": (pool("MAX_POOL_2D"), EVERY),
    "AVERAGE_POOL_2D": (pool("AVERAGE_POOL_2D"), EVERY),
    "MEAN": (reduction("MEAN"), EVERY),
    "SUM": (reduction("SUM"), ALL),
    "REDUCE_MAX": (reduction("REDUCE_MAX", "same"), ALL),
    "REDUCE_MIN": (reduction("REDUCE_MIN", "same"), ALL),
    "CONCATENATION": (concatenation, EVERY),
    "SPLIT": (moved("SPLIT", 3, outputs=2, first=True, numSplits=2, version=2), ALL),
    "SPLIT_V": (moved("SPLIT_V", [3, -1], 3, outputs=2, numSplits=2, version=2), ALL),
    "SLICE": (moved("SLICE", [0, 1, 2, 0], [1, 2, -1, 3], version=2), ALL),
    "STRIDED_SLICE": (
        moved("STRIDED_SLICE", [0, 1, 5, 0], [1, 4, 0, 8], [1, 1, -2, 3], beginMask=1, version=2),
        ALL,
    ),
    "PAD": (moved("PAD", [[0, 0], [1, 2], [3, 0], [0, 0]], version=2), EVERY),
    "PADV2": (pad_v2, ALL),
    "MIRROR_PAD": (moved("MIRROR_PAD", [[0, 0], [1, 2], [3, 0], [0, 0]], mode=0, version=2), ALL),
    "RESHAPE": (moved("RESHAPE", [1, 24, 8], newShape=[1, 24, 8]), EVERY),
    "TRANSPOSE": (moved("TRANSPOSE", [0, 3, 1, 2], version=2), EVERY),
    "SQUEEZE": (moved("SQUEEZE", squeezeDims=[0]), ALL),
    "EXPAND_DIMS": (moved("EXPAND_DIMS", 1), ALL),
    "TILE": (moved("TILE", [1, 2, 1, 1], version=3), FLOAT8),
    "BROADCAST_TO": (moved("BROADCAST_TO", [3, 4, 6, 8], version=3), ("float32", "int8")),
    "GATHER": (gather, ALL),
    "DEPTH_TO_SPACE": (moved("DEPTH_TO_SPACE", blockSize=2, version=2), FLOAT8),
    "SPACE_TO_DEPTH": (moved("SPACE_TO_DEPTH", blockSize=2, version=2), FLOAT8),
    "RESIZE_NEAREST_NEIGHBOR": (resize("RESIZE_NEAREST_NEIGHBOR"), ALL),
    "RESIZE_BILINEAR": (resize("RESIZE_BILINEAR"), FLOAT8),
    "RESIZE_BILINEAR doubled": (resize("RESIZE_BILINEAR", doubled=True), ALL),
    "QUANTIZE": (quantize("float32"), (*SMALL, "uint8")),
    "QUANTIZE int8": (quantize("int8"), (*SMALL, "uint8")),
    "QUANTIZE int16": (quantize("int16"), SMALL),
    "QUANTIZE uint8": (quantize("uint8"), ("int8",)),
    "DEQUANTIZE int8": (dequantize("int8"), ("float32",)),
    "DEQUANTIZE uint8": (dequantize("uint8"), ("float32",)),
    "DEQUANTIZE int16": (dequantize("int16"), ("float32",)),
}
CASES = [(name, dtype) for name, (_, dtypes) in CATALOGUE.items() for dtype in dtypes]


def checked(kit, name: str, dtype: str, kernels: Kernels, seed: int) -> list[OpCheck]:
    rng = np.random.default_rng(seed)
    single = CATALOGUE[name][0](kit, rng, dtype)
    data = single.model(rng).to_bytes()
    model = read_tflite(data)
    run = run_tflite(data, kernels)
    names = {tensor.name: tensor.index for tensor in model.tensors}
    run.invoke({names[key]: value for key, value in single.feeds.items()})
    return list(check_ops(model, run.tensor, run.delegated()))


@pytest.mark.parametrize("kernels", [Kernels.BUILTIN, Kernels.XNNPACK])
@pytest.mark.parametrize(("name", "dtype"), CASES)
@settings(max_examples=5, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_kernel_agrees(kit, name: str, dtype: str, kernels: Kernels, seed: int) -> None:
    checks = checked(kit, name, dtype, kernels, seed)
    expected = {Status.PASSED}
    if name.startswith("RESIZE_BILINEAR") and dtype == "int8" and kernels is Kernels.BUILTIN:
        expected = {Status.UNCHECKED}
    assert {check.status for check in checks} == expected, checks
