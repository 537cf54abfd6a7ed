"""Arithmetic spellings of hard sigmoid and hard swish: structure, and numbers against them."""

import numpy as np
import pytest

from qdq.graph.optimize import optimize

SIX = {
    "three": np.array(3, np.float32),
    "zero": np.array(0, np.float32),
    "six": np.array([6], np.float32),
    "sixth": np.array(1 / 6, np.float32),
}
CLIP = "a = Add(x, three) c = Clip(a, zero, six)"
SWISH = {
    "product then division": f"{CLIP} m = Mul(x, c) y = Div(m, six)",
    "product then factor": f"{CLIP} m = Mul(c, x) y = Mul(sixth, m)",
    "division then product": f"{CLIP} d = Div(c, six) y = Mul(x, d)",
    "operator then product": "d = HardSigmoid<alpha=0.16666667, beta=0.5>(x) y = Mul(d, x)",
}
KEPT = {
    "another shift": "a = Add(x, zero2) c = Clip(a, zero, six) y = Div(c, six)",
    "another bound": "a = Add(x, three) c = Clip(a, zero, three) y = Div(c, six)",
    "six over it": f"{CLIP} y = Div(six, c)",
    "another factor": f"{CLIP} m = Mul(z, c) y = Div(m, six)",
}


def text(body, opset_inputs="float[2,5] x"):
    return f"agraph ({opset_inputs}) => (float[2,5] y) {{ {body} }}"


def operators(model):
    return [node.op_type for node in model.graph]


@pytest.fixture
def feeds():
    return {"x": np.linspace(-5, 5, 10, dtype=np.float32).reshape(2, 5)}


@pytest.mark.parametrize(("opset", "expected"), [(13, ["HardSigmoid", "Mul"]), (14, ["HardSwish"])])
@pytest.mark.parametrize("case", SWISH)
def test_hard_swish(build, run, feeds, case, opset, expected):
    model = build(text(SWISH[case]), opset=opset, **SIX)
    before = run(model, feeds)["y"]
    optimize(model)
    assert operators(model) == expected
    np.testing.assert_allclose(run(model, feeds)["y"], before, rtol=1e-5, atol=1e-6)
    assert not optimize(model).modified


@pytest.mark.parametrize("opset", [11, 17])
def test_hard_sigmoid(build, run, feeds, opset):
    model = build(text(f"{CLIP} y = Div(c, six)"), opset=opset, **(SIX | {"six": SIX["six"][0]}))
    before = run(model, feeds)["y"]
    optimize(model)
    assert operators(model) == ["HardSigmoid"]
    np.testing.assert_allclose(run(model, feeds)["y"], before, rtol=1e-5, atol=1e-6)


def test_clip_with_attributes(build, run, feeds):
    model = build(
        text("a = Add(x, three) c = Clip<min=0.0, max=6.0>(a) y = Div(c, six)"), opset=10, **SIX
    )
    before = run(model, feeds)["y"]
    optimize(model)
    assert operators(model) == ["HardSigmoid"]
    np.testing.assert_allclose(run(model, feeds)["y"], before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", KEPT)
def test_what_looks_alike_stays(build, case):
    model = build(
        text(KEPT[case], "float[2,5] x, float[2,5] z"),
        opset=17,
        zero2=np.array(2, np.float32),
        **SIX,
    )
    optimize(model)
    assert "HardSigmoid" not in operators(model)
    assert "HardSwish" not in operators(model)


def test_readers_of_the_parts_keep_them(build, run, feeds):
    body = f"{CLIP} d = Div(c, six) y = Mul(x, d) w = Neg(c)"
    model = build(f"agraph (float[2,5] x) => (float[2,5] y, float[2,5] w) {{ {body} }}", **SIX)
    before = run(model, feeds)
    optimize(model)
    after = run(model, feeds)
    for name, expected in before.items():
        np.testing.assert_allclose(after[name], expected, rtol=1e-5, atol=1e-6)
    assert operators(model).count("HardSwish") == 1
