"""Arithmetic spellings of Gelu: structure, and numbers against its definition."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qdq.graph import fusion_opset, optimize, raise_opset

NUMBERS = {
    "half": np.array(0.5, np.float32),
    "one": np.array([1], np.float32),
    "two": np.array(2, np.float32),
    "three": np.array(3, np.float32),
    "root": np.array(math.sqrt(2), np.float32),
    "short_root": np.array(1.4142, np.float32),
    "over_root": np.array(math.sqrt(0.5), np.float32),
    "slope": np.array(math.sqrt(2 / math.pi), np.float32),
    "cube": np.array(0.044715, np.float32),
}
ERF = "d = Div(x, root) e = Erf(d) s = Add(e, one)"
TANH = "i = Mul(slope, q) t = Tanh(i) s = Add(one, t)"
CUBIC = f"p = Pow(x, three) c = Mul(cube, p) q = Add(x, c) {TANH}"
SPELLINGS = {
    "torch: product, then half": f"{ERF} m = Mul(x, s) y = Mul(m, half)",
    "half first": f"{ERF} h = Mul(half, x) y = Mul(h, s)",
    "half of the sum": f"{ERF} h = Mul(s, half) y = Mul(h, x)",
    "division by two": f"{ERF} m = Mul(s, x) y = Div(m, two)",
    "factor 1/sqrt(2)": (
        "d = Mul(over_root, x) e = Erf(d) s = Add(one, e) h = Mul(half, x) y = Mul(s, h)"
    ),
    "rounded root": (
        "d = Div(x, short_root) e = Erf(d) s = Add(e, one) h = Mul(x, half) y = Mul(h, s)"
    ),
    "half added to half an erf": (
        "d = Div(x, root) e = Erf(d) g = Mul(e, half) s = Add(g, half) y = Mul(s, x)"
    ),
}
APPROXIMATIONS = {
    "power": f"{CUBIC} h = Mul(half, x) y = Mul(h, s)",
    "products": (
        f"p = Mul(x, x) r = Mul(p, x) c = Mul(r, cube) q = Add(c, x) {TANH} "
        "m = Mul(x, s) y = Mul(m, half)"
    ),
    "x outside": (
        f"p = Mul(x, x) c = Mul(p, cube) f = Add(c, one) q = Mul(x, f) {TANH} "
        "h = Mul(s, half) y = Mul(x, h)"
    ),
}
KEPT = {
    "another root": "d = Div(x, two) e = Erf(d) s = Add(e, one) m = Mul(x, s) y = Mul(m, half)",
    "another factor": f"{ERF} y = Mul(x, s)",
    "another x": f"{ERF} m = Mul(z, s) y = Mul(m, half)",
    "minus one": "d = Div(x, root) e = Erf(d) s = Sub(e, one) m = Mul(x, s) y = Mul(m, half)",
    "another cube": (
        f"p = Mul(x, x) c = Mul(p, cube) q = Add(x, c) {TANH} h = Mul(half, x) y = Mul(h, s)"
    ),
    "a tanh alone": "t = Tanh(x) y = Mul(t, z)",
}
X = np.linspace(-6, 6, 24, dtype=np.float32).reshape(2, 12)
ERFS = np.vectorize(math.erf)


def graph(body: str) -> str:
    return f"g (float[2,12] x, float[2,12] z) => (float[2,12] y) {{ {body} }}"


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + ERFS(x / math.sqrt(2))) / 2


def gelu_by_tanh(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


@pytest.mark.parametrize(
    ("body", "approximate", "formula"),
    [
        *(pytest.param(it, "none", gelu, id=name) for name, it in SPELLINGS.items()),
        *(pytest.param(it, "tanh", gelu_by_tanh, id=name) for name, it in APPROXIMATIONS.items()),
    ],
)
def test_one_op(
    body: str,
    approximate: str,
    formula: Callable[[np.ndarray], np.ndarray],
    build: Callable[..., Any],
    run: Callable[..., Any],
    ops: Callable[..., list[str]],
) -> None:
    model = build(graph(body), opset=20, **NUMBERS)
    optimize(model)
    assert ops(model) == ["Gelu"]
    assert model.graph[0].attributes.get_string("approximate", "none") == approximate
    found = run(model, {"x": X, "z": X})["y"]
    np.testing.assert_allclose(found, formula(X.astype(np.float64)), rtol=1e-4, atol=1e-5)
    assert not optimize(model).modified


@pytest.mark.parametrize("name", KEPT)
def test_left_alone(
    name: str,
    build: Callable[..., Any],
    run: Callable[..., Any],
    ops: Callable[..., list[str]],
) -> None:
    model = build(graph(KEPT[name]), opset=20, **NUMBERS)
    feeds = {"x": X, "z": X + 1}
    before = run(model, feeds)["y"]
    optimize(model)
    assert "Gelu" not in ops(model)
    np.testing.assert_array_equal(run(model, feeds)["y"], before)
    assert fusion_opset(model) == 0


def test_step_that_others_see(build: Callable[..., Any], ops: Callable[..., list[str]]) -> None:
    """An output inside, or a second reader, keeps the arithmetic."""
    body = f"{ERF} m = Mul(x, s) y = Mul(m, half)"
    text = f"g (float[2,12] x) => (float[2,12] y, float[2,12] s) {{ {body} }}"
    model = build(text, opset=20, **NUMBERS)
    optimize(model)
    assert "Gelu" not in ops(model)


def test_constant_that_adds_a_dim(build: Callable[..., Any], ops: Callable[..., list[str]]) -> None:
    body = "d = Div(x, root) e = Erf(d) s = Add(e, one) m = Mul(x, s) y = Mul(m, half)"
    text = f"g (float x) => (float[1] y) {{ {body} }}"
    model = build(text, opset=20, **NUMBERS)
    optimize(model)
    assert "Gelu" not in ops(model)


def test_opset_before_the_operator(
    build: Callable[..., Any], run: Callable[..., Any], ops: Callable[..., list[str]]
) -> None:
    """Left as it is until the opset is raised to what the graph asks for."""
    model = build(graph(SPELLINGS["torch: product, then half"]), opset=13, **NUMBERS)
    optimize(model)
    assert "Gelu" not in ops(model)
    assert fusion_opset(model) == 20
    raise_opset(model, 20)
    optimize(model)
    assert ops(model) == ["Gelu"]
    found = run(model, {"x": X, "z": X})["y"]
    np.testing.assert_allclose(found, gelu(X.astype(np.float64)), rtol=1e-4, atol=1e-5)
