"""Tensors that share memory in LiteRT: none is overwritten while somebody still reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qdq.target.tflite import compile_tflite
from qdq.target.tflite.verify import verify_tflite

WRITERS = {
    "softmax": "Softmax (r)",
    "add": "Add (r, k)",
    "sub": "Sub (r, k)",
    "mul": "Mul (r, k)",
    "div": "Div (r, k)",
}
TEXT = """g (float[1,4,5,6] x) => (float[?,?] y, float[1,4,5,6] z) {{
    u = Sigmoid (x) v = {first} r = Reshape (v, flat) t = {last}
    y = Sigmoid (t) z = Tanh (v) }}"""


@pytest.mark.parametrize("first", ["Softmax (u)", "Add (u, one)", "Mul (u, u)"])
@pytest.mark.parametrize("last", WRITERS)
@pytest.mark.parametrize("reader", ["once", "twice"])
def test_a_reshape_does_not_give_its_memory_away(
    first: str,
    last: str,
    reader: str,
    parse: Callable[..., Any],
    check_float: Callable[..., Any],
) -> None:
    text = TEXT.format(first=first, last=WRITERS[last])
    if reader == "once":
        text = text.replace("z = Tanh (v)", "z = Tanh (u)")
    constants = {
        "flat": np.asarray([4, 30]),
        **({"k": np.full((1, 30), 1.5, np.float32)} if "(r, k)" in text else {}),
        **({"one": np.float32(0.5)} if "one" in first else {}),
    }

    made = check_float(parse(text, opset=18, **constants))

    # Only where the memory is read again does it cost a copy.
    assert made.count("SLICE") == (reader == "twice")


def test_through_six_dims(parse: Callable[..., Any], check_float: Callable[..., Any]) -> None:
    text = TEXT.format(first="Add (u, one)", last="Add (q, k)").replace(
        "float[?,?] y", "float[?,?,?,?,?,?] y"
    )
    text = text.replace("t = Add", "q = Reshape (r, six) t = Add")
    model = parse(
        text,
        opset=18,
        flat=np.asarray([4, 30]),
        six=np.asarray([1, 2, 2, 5, 3, 2]),
        one=np.float32(0.5),
        k=np.float32(0.25),
    )

    made = check_float(model)

    assert made.count("SLICE") >= 1


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_on_integers(
    dtype: str, parse: Callable[..., Any], check_integer: Callable[..., Any]
) -> None:
    # No tables: three roundings of a step each.
    text = """g (float[1,4,5,6] x) => (float[?,?] y, float[1,4,5,6] z) {
        u = Relu (x) v = Add (u, x) r = Reshape (v, flat) t = Mul (r, k)
        y = Relu (t) z = Sub (v, u) }"""
    model = parse(text, opset=18, flat=np.asarray([4, 30]), k=np.full((1, 30), 1.5, np.float32))

    check_integer(model, dtype, lsb=3)


@pytest.mark.parametrize("copies", [True, False])
def test_verification_sees_it(
    *, copies: bool, parse: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not copies:
        monkeypatch.setattr("qdq.target.tflite.assemble.with_copies", tuple)
    text = TEXT.format(first="Add (u, one)", last="Mul (r, k)")
    constants = {"k": np.full((1, 30), 1.5, np.float32), "one": np.float32(0.5)}
    model = parse(text, opset=18, flat=np.asarray([4, 30]), **constants)

    found = verify_tflite(compile_tflite(model.clone()).data, float_model=model)

    assert found.overwritten == (() if copies else ("z",))
    assert bool(found.failures) != copies
    assert found.to_dict()["overwritten"] == list(found.overwritten)
