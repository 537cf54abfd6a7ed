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


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64"])
def test_integers_compare_exactly(
    dtype: str, parse: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    text = f"g ({dtype}[6] x, {dtype}[6] z) => (bool[6] y) {{ y = Less (x, z) }}"
    made = lite(parse(text, opset=18))
    ends = np.iinfo(dtype)
    x = np.array([ends.min, ends.max, 3, 3, 0, 100], dtype)
    z = np.array([ends.max, ends.min, 3, 4, 1, 99], dtype)
    for delegate in (True, False):
        found = made.run({"x": x, "z": z}, delegate=delegate)["y"]
        assert found.tolist() == (x < z).tolist()


def test_where_refuses_other_dtypes(parse: Callable[..., Any], lite: Callable[..., Any]) -> None:
    text = "g (bool[4] c, int8[4] x, int8[4] z) => (int8[4] y) { y = Where (c, x, z) }"
    with pytest.raises(UnsupportedError, match="chooses int8") as caught:
        lite(parse(text, opset=18))
    assert caught.value.op_type == "Where"
