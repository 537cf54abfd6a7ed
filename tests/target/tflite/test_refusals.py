"""Models that the target does not take: each told with its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from qdq.base.errors import ModelInvalidError, SpecError, UnsupportedError
from qdq.target.tflite import emit


def test_unknown_op_is_told_with_name_and_place(
    parse: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    model = parse("g (float[1,3] x) => (float[1,3] y) { h = Relu (x) y = Acosh (h) }")

    with pytest.raises(UnsupportedError, match="'make_y' \\(Acosh\\), tensor 'y'"):
        lite(model)


def test_dynamic_input(parse: Callable[..., Any], lite: Callable[..., Any]) -> None:
    with pytest.raises(SpecError, match="not fixed"):
        lite(parse("g (float[N,3] x) => (float[N,3] y) { y = Relu (x) }"))


def test_shape_that_depends_on_data(parse: Callable[..., Any], lite: Callable[..., Any]) -> None:
    with pytest.raises(UnsupportedError, match="depends on the data"):
        lite(parse("g (float[4] x) => (int64[1,N] y) { y = NonZero (x) }"))


def test_empty_tensor(parse: Callable[..., Any], lite: Callable[..., Any]) -> None:
    with pytest.raises(UnsupportedError, match="It is empty: its shape is 2x0"):
        lite(parse("g (float[2,0] x) => (float[2,0] y) { y = Relu (x) }"))


def test_rank_seven(parse: Callable[..., Any], lite: Callable[..., Any]) -> None:
    text = "g (float[1,1,1,1,1,1,2] x) => (float[1,1,1,1,1,1,2] y) { y = Relu (x) }"
    with pytest.raises(UnsupportedError, match="rank 7"):
        lite(parse(text))


@pytest.mark.parametrize("dims", ["2,1,3,1,2", "2,1,3,1,2,2"])
def test_rank_five_and_six(
    dims: str, parse: Callable[..., Any], check_float: Callable[..., Any]
) -> None:
    check_float(parse(f"g (float[{dims}] x) => (float[{dims}] y) {{ y = Relu (x) }}"))


def test_duplicate_output_names(parse: Callable[..., Any], lite: Callable[..., Any]) -> None:
    model: ir.Model = parse(
        "g (float[2] x) => (float[2] y, float[2] z) { y = Relu (x) z = Sigmoid (x) }"
    )
    model.graph.outputs[1].name = "y"

    with pytest.raises(ModelInvalidError, match="2 outputs have the name 'y'"):
        lite(model)


def test_beyond_two_gigabytes(
    parse: Callable[..., Any], lite: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emit, "MAX_BYTES", 1000)
    model = parse(
        "g (float[1,64] x) => (float[1,64] y) { y = MatMul (x, w) }",
        w=np.ones((64, 64), np.float32),
    )

    with pytest.raises(UnsupportedError, match=r"'w'.*exceed 2 GB"):
        lite(model)
