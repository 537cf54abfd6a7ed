"""Functions of real numbers, comparisons and Where: what float parts of vision networks hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qdq.base.errors import UnsupportedError

FUNCTIONS = {
    "Abs": "ABS",
    "Ceil": "CEIL",
    "Cos": "COS",
    "Exp": "EXP",
    "Floor": "FLOOR",
    "Neg": "NEG",
    "Round": "ROUND",
    "Sin": "SIN",
}
COMPARISONS = {
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
}
# A convolution before them leaves the value with its channels last.
CONV = "Conv <kernel_shape = [1, 1]> (x, w)"
WEIGHT = np.diag([1.0, 1.0, -1.0]).astype(np.float32).reshape(3, 3, 1, 1)


@pytest.mark.parametrize("op_type", FUNCTIONS)
def test_function(op_type: str, parse: Callable[..., Any], check_float: Callable[..., Any]) -> None:
    made = check_float(
        parse(
            f"""g (float[1,3,4,5] x) => (float[1,3,4,5] y) {{
                c = {CONV}
                y = {op_type} (c)
            }}""",
            opset=18,
            w=WEIGHT,
        )
    )
    assert made.count(FUNCTIONS[op_type]) == 1
    assert made.count("TRANSPOSE") == 2


@pytest.mark.parametrize(("op_type", "name"), [("Log", "LOG"), ("Sqrt", "SQRT")])
def test_function_of_positive_numbers(
    op_type: str, name: str, parse: Callable[..., Any], check_float: Callable[..., Any]
) -> None:
    text = "g (float[2,7] x) => (float[2,7] y) { a = Abs (x) y = %s (a) }"
    assert check_float(parse(text % op_type, opset=18)).count(name) == 1


@pytest.mark.parametrize("op_type", COMPARISONS)
def test_comparison_and_where(
    op_type: str, parse: Callable[..., Any], check_float: Callable[..., Any]
) -> None:
    made = check_float(
        parse(
            f"""g (float[1,3,4,5] x, float[3,1,1] z) => (float[1,3,4,5] y) {{
                c = {CONV}
                r = Round (c)
                s = Round (z)
                t = {op_type} (r, s)
                y = Where (t, c, z)
            }}""",
            opset=18,
            w=WEIGHT,
        )
    )
    assert made.count(COMPARISONS[op_type]) == made.count("SELECT_V2") == 1


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_integers_whose_kernel_is_wrong_are_refused(
    dtype: str, parse: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    model = parse(f"g ({dtype}[4] x, {dtype}[4] z) => (bool[4] y) {{ y = Equal (x, z) }}", opset=18)
    with pytest.raises(UnsupportedError, match=f"no sound kernel for {dtype}") as caught:
        lite(model)
    assert caught.value.op_type == "Equal"
