"""Arithmetic spellings of layer normalization: structure, and numbers against its definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qdq.graph import fusion_opset, optimize, raise_opset

RANDOM = np.random.default_rng(0)
NUMBERS = {
    "two": np.array(2, np.float32),
    "one": np.array(1, np.float32),
    "half": np.array(0.5, np.float32),
    "epsilon": np.array(1e-3, np.float32),
    "w": RANDOM.normal(1, 0.3, 6).astype(np.float32),
    "v": RANDOM.normal(0, 0.3, (1, 6)).astype(np.float32),
    "wide": RANDOM.normal(1, 0.3, (4, 6)).astype(np.float32),
    "single": np.array([2], np.float32),
    "rows": RANDOM.normal(1, 0.3, (4, 1)).astype(np.float32),
}
CENTRED = "m = ReduceMean <axes = [-1]> (x) c = Sub (x, m)"
SPREAD = "s = Mul (c, c) a = ReduceMean <axes = [-1]> (s) g = Add (a, epsilon)"
AFFINE = "f = Mul (n, w) y = Add (f, v)"
SPELLINGS = {
    "power and division": (
        f"{CENTRED} s = Pow (c, two) a = ReduceMean <axes = [-1]> (s) g = Add (a, epsilon) "
        f"r = Sqrt (g) n = Div (c, r) {AFFINE}"
    ),
    "product and reciprocal": (
        f"{CENTRED} {SPREAD} r = Sqrt (g) i = Reciprocal (r) n = Mul (i, c) {AFFINE}"
    ),
    "power one half, one over it": (
        f"{CENTRED} {SPREAD} r = Pow (g, half) i = Div (one, r) n = Mul (c, i) {AFFINE}"
    ),
    "two subtractions": (
        f"{CENTRED} c2 = Sub (x, m) s = Mul (c2, c2) a = ReduceMean <axes = [-1]> (s) "
        f"g = Add (epsilon, a) r = Sqrt (g) n = Div (c, r) f = Mul (w, n) y = Add (v, f)"
    ),
}
KEPT = {
    "mean of another axis": (
        "m = ReduceMean <axes = [1]> (x) c = Sub (x, m) s = Mul (c, c) "
        "a = ReduceMean <axes = [1]> (s) g = Add (a, epsilon) r = Sqrt (g) y = Div (c, r)"
    ),
    "two axes": (
        f"{CENTRED} s = Mul (c, c) a = ReduceMean <axes = [1, 2]> (s) g = Add (a, epsilon) "
        "r = Sqrt (g) y = Div (c, r)"
    ),
    "no epsilon": f"{CENTRED} {SPREAD} r = Sqrt (a) y = Div (c, r)",
    "a large addend": f"{CENTRED} {SPREAD} b = Add (a, one) r = Sqrt (b) y = Div (c, r)",
    "not centred": (
        "s = Mul (x, x) a = ReduceMean <axes = [-1]> (s) g = Add (a, epsilon) r = Sqrt (g) "
        "y = Div (x, r)"
    ),
    "variance of another": (
        f"{CENTRED} s = Mul (x, x) a = ReduceMean <axes = [-1]> (s) g = Add (a, epsilon) "
        "r = Sqrt (g) y = Div (c, r)"
    ),
}
X = RANDOM.normal(0.5, 2, (2, 4, 6)).astype(np.float32)
NORMALIZE = f"{CENTRED} {SPREAD} r = Sqrt (g) n = Div (c, r)"


def graph(body: str) -> str:
    return f"g (float[2,4,6] x) => (float[2,4,6] y) {{ {body} }}"


def normalized(axes: tuple[int, ...] = (-1,)) -> np.ndarray:
    x = X.astype(np.float64)
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-3)


@pytest.mark.parametrize("name", SPELLINGS)
def test_one_op(
    name: str, build: Callable[..., Any], run: Callable[..., Any], ops: Callable[..., list[str]]
) -> None:
    model = build(graph(SPELLINGS[name]), opset=17, **NUMBERS)
    optimize(model)
    assert ops(model) == ["LayerNormalization"]
    found = run(model, {"x": X})["y"]
    expected = normalized() * NUMBERS["w"] + NUMBERS["v"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert not optimize(model).modified


@pytest.mark.parametrize(
    ("tail", "left", "expected"),
    [
        ("y = Identity (n)", [], lambda n: n),
        ("y = Mul (n, w)", [], lambda n: n * NUMBERS["w"]),
        ("y = Add (n, v)", [], lambda n: n + NUMBERS["v"]),
        # These are no parameters of the normalized dim.
        ("y = Mul (n, single)", ["Mul"], lambda n: n * 2),
        ("y = Mul (n, rows)", ["Mul"], lambda n: n * NUMBERS["rows"]),
        ("y = Add (n, wide)", ["Add"], lambda n: n + NUMBERS["wide"]),
        ("y = Mul (n, x)", ["Mul"], lambda n: n * X),
    ],
)
def test_factor_and_offset(
    tail: str,
    left: list[str],
    expected: Callable[[np.ndarray], np.ndarray],
    build: Callable[..., Any],
    run: Callable[..., Any],
    ops: Callable[..., list[str]],
) -> None:
    model = build(graph(f"{NORMALIZE} {tail}"), opset=17, **NUMBERS)
    optimize(model)
    assert ops(model) == ["LayerNormalization", *left]
    found = run(model, {"x": X})["y"]
    np.testing.assert_allclose(found, expected(normalized()), rtol=1e-4, atol=1e-5)


def test_two_dims(
    build: Callable[..., Any], run: Callable[..., Any], ops: Callable[..., list[str]]
) -> None:
    body = NORMALIZE.replace("[-1]", "[-1, 1]") + " y = Mul (n, wide)"
    model = build(graph(body), opset=17, **NUMBERS)
    optimize(model)
    assert ops(model) == ["LayerNormalization"]
    expected = normalized((1, 2)) * NUMBERS["wide"]
    np.testing.assert_allclose(run(model, {"x": X})["y"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", KEPT)
def test_left_alone(
    name: str, build: Callable[..., Any], run: Callable[..., Any], ops: Callable[..., list[str]]
) -> None:
    model = build(graph(KEPT[name]), opset=17, **NUMBERS)
    before = run(model, {"x": X})["y"]
    optimize(model)
    assert "LayerNormalization" not in ops(model)
    np.testing.assert_allclose(run(model, {"x": X})["y"], before, rtol=1e-5, atol=1e-6)
    assert fusion_opset(model) == 0


def test_opset_before_the_operator(
    build: Callable[..., Any], run: Callable[..., Any], ops: Callable[..., list[str]]
) -> None:
    model = build(graph(SPELLINGS["power and division"]), opset=12, **NUMBERS)
    optimize(model)
    assert "LayerNormalization" not in ops(model)
    assert fusion_opset(model) == 17
    raise_opset(model, 18)
    optimize(model)
    assert ops(model) == ["LayerNormalization"]
    expected = normalized() * NUMBERS["w"] + NUMBERS["v"]
    np.testing.assert_allclose(run(model, {"x": X})["y"], expected, rtol=1e-4, atol=1e-5)
