"""Scales that a kernel's fixed-point arithmetic cannot bridge: float islands, told in a notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from qdq.target.tflite.verify import verify_tflite

HEAD = """g (float[2,8] x) => (float[2,8] y) {
    xq = QuantizeLinear (x, sx, zero) xd = DequantizeLinear (xq, sx, zero)"""
TAIL = "yq = QuantizeLinear (h, sy, zero) y = DequantizeLinear (yq, sy, zero) }"


@pytest.fixture
def product(parse: Callable[..., Any]) -> Callable[..., ir.Model]:
    """A matrix product whose accumulator's step is ``ratio`` times its output's."""

    def made(
        call: str, ratio: float, *, dtype: str = "int8", weight: Any = None, bias: Any = None
    ) -> ir.Model:
        integers = np.ones((8, 8), np.int8) if weight is None else weight
        text = f"{HEAD} wd = DequantizeLinear (w, sw, zw) h = {call} {TAIL}"
        constants = {} if bias is None else {"b": np.asarray(bias, np.float32)}
        return parse(
            text,
            opset=21,
            w=integers,
            sw=np.float32(2**-6),
            zw=np.int8(0),
            sx=np.float32(2**-4),
            sy=np.float32(2**-10 / ratio),
            zero=np.asarray(0, dtype),
            **constants,
        )

    return made


def _checked(lite: Any) -> bool:
    found = verify_tflite(lite.model.data)
    assert not found.failures, found.failures
    return bool(lite.model.notices)


@pytest.mark.parametrize("call", ["Gemm (xd, wd)", "MatMul (xd, wd)"])
def test_a_product_that_xnnpack_refuses(
    call: str, product: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    # XNNPACK takes such a product, fails to make it, and goes on with a broken heap.
    below, at = lite(product(call, 255.9)), lite(product(call, 256.0))

    assert not _checked(below)
    assert _checked(at)
    assert "int8 kernel overflows: its inputs' scale" in at.model.notices[0]
    assert "256 times" in at.model.notices[0]


@pytest.mark.parametrize("spatial", ["Conv", "ConvTranspose"])
def test_a_convolution_that_xnnpack_refuses(
    spatial: str, parse: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    def made(ratio: float) -> Any:
        # One channel of two is beyond the bound.
        return parse(
            f"""g (float[1,2,4,4] x) => (float[1,2,4,4] y) {{
            xq = QuantizeLinear (x, sx, zero) xd = DequantizeLinear (xq, sx, zero)
            wd = DequantizeLinear <axis = {axis}> (w, sw, zw) h = {spatial} (xd, wd) {TAIL}""",
            opset=21,
            w=np.ones((2, 2, 1, 1), np.int8),
            sw=np.asarray([1, ratio], np.float32),
            zw=np.zeros(2, np.int8),
            sx=np.float32(1),
            sy=np.float32(1),
            zero=np.int8(0),
        )

    axis = 0 if spatial == "Conv" else 1

    assert not _checked(lite(made(255.9)))
    assert _checked(lite(made(256.0)))


@pytest.mark.parametrize("largest", [127, 2])
def test_sums_that_leave_32_bits(
    largest: int, product: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    # 8 weights at 2^15 steps of the activation, times the ratio: below and above 2^31.
    weight = np.full((8, 8), largest, np.int8)
    limit = 2.0**31 / (8 * largest * 32768)

    inside = lite(product("Gemm (xd, wd)", limit * 0.99, dtype="int16", weight=weight))
    beyond = lite(product("Gemm (xd, wd)", limit * 1.01, dtype="int16", weight=weight))

    assert not _checked(inside)
    assert _checked(beyond)
    assert "its sums may reach" in beyond.model.notices[0]


@pytest.mark.parametrize(("dtype", "ratio"), [("int16", 0.25), ("int8", 128.0)])
def test_sums_of_two_activations(
    dtype: str, ratio: float, parse: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    depth = int(2**31 / ratio / {"int16": 2.0**30, "int8": 255.0**2}[dtype])

    def made(length: int) -> Any:
        return parse(
            f"""g (float[1,1,{length}] x, float[1,{length},1] z) => (float[1,1,1] y) {{
            xq = QuantizeLinear (x, s, zero) xd = DequantizeLinear (xq, s, zero)
            zq = QuantizeLinear (z, s, zero) zd = DequantizeLinear (zq, s, zero)
            h = MatMul (xd, zd) {TAIL}""",
            opset=21,
            s=np.float32(1),
            sy=np.float32(1 / ratio),
            zero=np.asarray(0, dtype),
        )

    assert not lite(made(depth - 1)).model.notices
    assert "its sums may reach" in lite(made(depth + 1)).model.notices[0]


def test_a_bias_between_two_steps_of_the_accumulator(
    product: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    # One step of the accumulator is 32 of the output: half of it would cost 16.
    call, step = "Gemm (xd, wd, b)", 2.0**-10

    exact = lite(product(call, 32, bias=np.full(8, 3 * step)))
    between = lite(product(call, 32, bias=np.full(8, 3.5 * step)))

    assert not _checked(exact)
    assert _checked(between)
    assert "its bias lies between two steps" in between.model.notices[0]


def test_hard_swish_that_does_not_load(parse: Callable[..., Any], lite: Callable[..., Any]) -> None:
    def made(ratio: float) -> Any:
        return parse(
            f"{HEAD} h = HardSwish (xd) {TAIL}",
            opset=21,
            sx=np.float32(0.05),
            sy=np.float32(0.05 / ratio),
            zero=np.int8(0),
        )

    assert not _checked(lite(made(127.9)))
    assert _checked(lite(made(128.1)))
