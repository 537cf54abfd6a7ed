"""Constants folded into Conv and Gemm: structure, and numbers against the unfused graph."""

import numpy as np
import pytest

from qdq.graph.optimize import optimize

RNG = np.random.default_rng(5)


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


CHANNEL = {"k": f32(1, 4, 1, 1)}
CONV = {"w": f32(4, 3, 3, 3)}
# name -> (body, weights, operators afterwards)
FOLDED = {
    "mul": ("c = Conv(x, w) y = Mul(c, k)", CONV | CHANNEL, ["Conv"]),
    "mul scalar, constant first": ("c = Conv(x, w) y = Mul(k, c)", CONV | {"k": f32()}, ["Conv"]),
    "add to bias": ("c = Conv(x, w, b) y = Add(c, k)", CONV | CHANNEL | {"b": f32(4)}, ["Conv"]),
    "sub": ("c = Conv(x, w) y = Sub(c, k)", CONV | CHANNEL, ["Conv"]),
    "sub from": ("c = Conv(x, w) y = Sub(k, c)", CONV | CHANNEL, ["Conv"]),
    "div": ("c = Conv(x, w) y = Div(c, k)", CONV | CHANNEL, ["Conv"]),
    "chain": (
        "c = Conv(x, w) m = Mul(c, k) y = Add(m, j)",
        CONV | CHANNEL | {"j": f32(1)},
        ["Conv"],
    ),
    "missing leading dims": ("c = Conv(x, w) y = Mul(c, k)", CONV | {"k": f32(4, 1, 1)}, ["Conv"]),
}
KEPT = {
    "per row": ("c = Conv(x, w) y = Mul(c, k)", CONV | {"k": f32(1, 1, 5, 1)}, ["Conv", "Mul"]),
    "last axis": ("c = Conv(x, w) y = Mul(c, k)", CONV | {"k": f32(5)}, ["Conv", "Mul"]),
    "constant over data": ("c = Conv(x, w) y = Div(k, c)", CONV | CHANNEL, ["Conv", "Div"]),
    "two readers": (
        "c = Conv(x, w) m = Mul(c, k) y = Add(m, c)",
        CONV | CHANNEL,
        ["Conv", "Mul", "Add"],
    ),
    "not finite": (
        "c = Conv(x, w) y = Mul(c, k)",
        CONV | {"k": np.array(np.inf, np.float32)},
        ["Conv", "Mul"],
    ),
}


def text(body):
    return f"agraph (float[2,3,7,7] x) => (float[2,4,5,5] y) {{ {body} }}"


@pytest.mark.parametrize("case", [*FOLDED, *KEPT])
def test_structure_and_numbers(build, run, case):
    body, weights, ops = (FOLDED | KEPT)[case]
    feeds = {"x": f32(2, 3, 7, 7)}
    model = build(text(body), **weights)
    expected = run(model, feeds)["y"]
    optimize(model)
    assert [node.op_type for node in model.graph] == ops
    np.testing.assert_allclose(run(model, feeds)["y"], expected, rtol=1e-4, atol=1e-5)
    assert not optimize(model).modified


def test_gemm(build, run):
    body = (
        "agraph (float[2,3] x) => (float[2,4] y) { g = Gemm(x, w, b) m = Mul(g, k) y = Add(m, j) }"
    )
    model = build(body, w=f32(3, 4), b=f32(4), k=f32(4), j=f32(1, 4))
    feeds = {"x": f32(2, 3)}
    expected = run(model, feeds)["y"]
    optimize(model)
    assert [node.op_type for node in model.graph] == ["Gemm"]
    np.testing.assert_allclose(run(model, feeds)["y"], expected, rtol=1e-4, atol=1e-5)
