"""Data against index, length and mask arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.quantizer.data_flow import activation_values

# Name -> (graph, constants, activations).
CASES = {
    "a chain": ("g (float[2,3] x) => (float[2,3] y) { a = Relu (x) y = Neg (a) }", {}, "x a y"),
    "a length computed through float": (
        """g (float[1,4,8] x, int64[1] n) => (float[1,4,8] y, int64[1] m) {
            f = Cast <to = 1> (n)  h = Div (f, two)  c = Ceil (h)  m = Cast <to = 7> (c)
            y = Relu (x) }""",
        {"two": np.float32(2)},
        "x y",
    ),
    "a length from the shape of data": (
        """g (float[1,4,8] x) => (float[?,?,?] y) {
            s = Shape (x)  f = Cast <to = 1> (s)  h = Mul (f, two)  i = Cast <to = 7> (h)
            y = Expand (x, i) }""",
        {"two": np.float32(2)},
        "x y",
    ),
    "a value that only gives its shape": (
        """g (float[1,4] x) => (float[1,4] y, int64[2] s) {
            a = Abs (x)  s = Shape (a)  y = Neg (x) }""",
        {},
        "x y",
    ),
    "a float that only becomes an index": (
        """g (float[1,4] x) => (float[1,4] y, int64[1,4] i) {
            r = Floor (x) i = Cast <to = 7> (r) y = Neg (x) }""",
        {},
        "x y",
    ),
    "an image of bytes": (
        """g (uint8[1,3] x) => (float[1,3] y) {
            f = Cast <to = 1> (x)  d = Div (f, k)  y = Relu (d) }""",
        {"k": np.float32(255)},
        "f d y",
    ),
    "an image of bytes as the output": (
        """g (float[1,3] x) => (uint8[1,3] y) { m = Mul (x, k)  y = Cast <to = 2> (m) }""",
        {"k": np.float32(255)},
        "x m",
    ),
    "ids of tokens": (
        """g (int64[1,3] ids) => (float[1,3,2] y) { e = Gather (table, ids)  y = Relu (e) }""",
        {"table": np.ones((5, 2), np.float32)},
        "e y",
    ),
    "ids cast to float are no data": (
        """g (int64[1,3] ids, float[1,3] x) => (float[1,3] y) {
            f = Cast <to = 1> (ids)  m = Mul (f, k)  y = Add (x, m) }""",
        {"k": np.float32(-10000)},
        "x y",
    ),
    "scores that a detector selects by": (
        """g (float[1,4] x) => (int64[1,1] y) { s = Sigmoid (x)  y = ArgMax <axis = 1> (s) }""",
        {},
        "x s",
    ),
    "an unused input": (
        "g (float[1] x, float[1] unused) => (float[1] y) { y = Neg (x) }",
        {},
        "x y",
    ),
    "an input that is an output": (
        "g (float[1] x) => (float[1] x, float[1] y) { y = Neg (x) }",
        {},
        "x y",
    ),
    "half precision at both ends": (
        """g (float16[1,3] x) => (float16[1,3] y) {
            f = Cast <to = 1> (x)  a = Relu (f)  y = Cast <to = 10> (a) }""",
        {},
        "f a",
    ),
    "half precision throughout": (
        "g (float16[1,3] x) => (float16[1,3] y) { y = Relu (x) }",
        {},
        "",
    ),
}


@pytest.mark.parametrize(("text", "constants", "expected"), CASES.values(), ids=CASES.keys())
def test_activations(text, constants, expected, parse):
    model = parse(text, **constants)
    found = {value.name for value in activation_values(model.graph)}
    assert found == set(expected.split())
