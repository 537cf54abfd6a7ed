"""Conv: kinds, paddings, ranks, dtypes and granularities against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qdq.base.errors import UnsupportedError

DTYPES = ("int8", "int16")
# Channels, outputs, kernel, attributes.
CASES = {
    "pointwise": (8, 12, (1, 1), ""),
    "valid": (4, 6, (3, 3), ""),
    "same": (4, 6, (3, 3), "pads = [1, 1, 1, 1]"),
    "same_stride": (4, 6, (3, 3), "pads = [1, 0, 1, 1], strides = [2, 2]"),
    "torch_stride": (4, 6, (3, 3), "pads = [1, 1, 1, 1], strides = [2, 2]"),
    "uneven": (4, 6, (3, 2), "pads = [2, 0, 1, 1], strides = [1, 2]"),
    "dilated": (4, 6, (3, 3), "pads = [2, 2, 2, 2], dilations = [2, 2]"),
    "auto_upper": (4, 6, (4, 3), 'auto_pad = "SAME_UPPER", strides = [2, 3]'),
    "auto_lower": (4, 6, (4, 3), 'auto_pad = "SAME_LOWER", strides = [2, 3]'),
    "depthwise": (6, 6, (3, 3), "group = 6, pads = [1, 1, 1, 1]"),
    "depthwise_twice": (4, 8, (3, 3), "group = 4, pads = [1, 1, 1, 1]"),
    "depthwise_dilated": (4, 4, (3, 3), "group = 4, pads = [2, 2, 2, 2], dilations = [2, 2]"),
    "grouped": (8, 12, (3, 3), "group = 4, pads = [1, 1, 1, 1]"),
}


def _weights(channels: int, outputs: int, kernel: tuple[int, ...], attributes: str) -> Any:
    group = next((int(a.split("=")[1]) for a in attributes.split(",") if "group" in a), 1)
    random = np.random.default_rng(3)
    weight = random.standard_normal((outputs, channels // group, *kernel)).astype(np.float32)
    weight *= np.linspace(0.2, 2, outputs, dtype=np.float32).reshape(-1, *(1,) * (weight.ndim - 1))
    return {"w": weight, "b": random.standard_normal(outputs).astype(np.float32)}


@pytest.fixture
def conv(parse: Callable[..., Any]) -> Callable[..., Any]:
    def made(case: str, *, after: str = "", bias: bool = True) -> Any:
        channels, outputs, kernel, attributes = CASES[case]
        constants = _weights(channels, outputs, kernel, attributes)
        inputs = "x, w, b" if bias else "x, w"
        if not bias:
            del constants["b"]
        call = f"Conv <{attributes}> ({inputs})" if attributes else f"Conv ({inputs})"
        body = f"c = {call} y = {after} (c)" if after else f"y = {call}"
        return parse(
            f"g (float[1,{channels},11,10] x) => (float[?,?,?,?] y) {{ {body} }}", **constants
        )

    return made


@pytest.mark.parametrize("case", CASES)
def test_float(case: str, conv: Callable[..., Any], check_float: Callable[..., Any]) -> None:
    lite = check_float(conv(case))

    depthwise = case.startswith("depthwise")
    assert lite.count("DEPTHWISE_CONV_2D") == depthwise
    assert lite.count("CONV_2D") == (not depthwise)
    assert lite.count("PAD") == (case in ("torch_stride", "uneven", "auto_lower"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_integer(
    case: str, dtype: str, conv: Callable[..., Any], check_integer: Callable[..., Any]
) -> None:
    lite = check_integer(conv(case), dtype)

    kernel = next(op for op in lite.operators if op.name.endswith("CONV_2D"))
    assert kernel.dtype == dtype.upper()
    assert len(kernel.inputs[1].quantization.scale) == CASES[case][1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("after", ["Relu", "Clip6", "Clip3", "Clip1"])
def test_fused_activation(
    after: str,
    dtype: str,
    parse: Callable[..., Any],
    check_integer: Callable[..., Any],
    check_float: Callable[..., Any],
) -> None:
    low, high = {"Clip6": (0, 6), "Clip3": (-0.5, 3), "Clip1": (-1, 1), "Relu": (0, 0)}[after]
    call = "Relu (c)" if after == "Relu" else "Clip (c, low, high)"
    constants = _weights(4, 6, (3, 3), "")
    if after != "Relu":
        constants |= {"low": np.float32(low), "high": np.float32(high)}
    model = parse(
        f"g (float[1,4,9,9] x) => (float[?,?,?,?] y) {{ c = Conv (x, w, b) y = {call} }}",
        **constants,
    )

    # Two transposes at the edges; bounds that no activation has cost MAXIMUM and MINIMUM.
    assert len(check_float(model).operators) == (5 if after == "Clip3" else 3)
    assert check_integer(model, dtype).count("CONV_2D") == 1


@pytest.mark.parametrize("dtype", ["float", *DTYPES])
def test_one_dimension(
    dtype: str,
    parse: Callable[..., Any],
    check_float: Callable[..., Any],
    check_integer: Callable[..., Any],
) -> None:
    constants = _weights(4, 6, (3,), "")
    model = parse(
        "g (float[1,4,17] x) => (float[?,?,?] y) "
        "{ y = Conv <pads = [1, 1], strides = [2], dilations = [1]> (x, w, b) }",
        **constants,
    )

    if dtype == "float":
        check_float(model)
    else:
        check_integer(model, dtype)


@pytest.mark.parametrize("dtype", ["float", *DTYPES])
def test_without_bias(
    dtype: str,
    conv: Callable[..., Any],
    check_float: Callable[..., Any],
    check_integer: Callable[..., Any],
) -> None:
    model = conv("same", bias=False)

    if dtype == "float":
        check_float(model)
    else:
        check_integer(model, dtype)


def test_three_dimensions_are_refused(parse: Callable[..., Any], lite: Callable[..., Any]) -> None:
    model = parse(
        "g (float[1,2,4,4,4] x) => (float[?,?,?,?,?] y) { y = Conv (x, w) }",
        w=np.ones((3, 2, 2, 2, 2), np.float32),
    )

    with pytest.raises(UnsupportedError, match="'make_y' \\(Conv\\): Convolutions over 3 dims"):
        lite(model)
