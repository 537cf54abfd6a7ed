"""Relu and Clip in front of a quantizer that saturates there anyway."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.target.onnx.clips import AbsorbClips

X = np.concatenate(
    [np.random.default_rng(0).normal(0, 6, 4000), np.linspace(-0.1, 0.1, 99), [6, -6, 1e9, -1e9, 0]]
).astype(np.float32)[None]
SIX = np.float32(6 / 255)

# Name -> (op, scale, zero point, bounds, absorbed).
CASES = {
    "relu": ("Relu (x)", 0.05, 0, {}, True),
    "relu before a range below zero": ("Relu (x)", 0.05, 3, {}, False),
    "relu6 that fills the range": ("Clip (x, a, b)", SIX, 0, {"a": 0, "b": 6}, True),
    "relu6 above the range": ("Clip (x, a, b)", 0.01, 0, {"a": 0, "b": 6}, True),
    "relu6 below the range": ("Clip (x, a, b)", 0.05, 0, {"a": 0, "b": 6}, False),
    "relu6 with a low end to keep": ("Clip (x, a, b)", SIX, 9, {"a": 0, "b": 6}, False),
    "a low bound only": ("Clip (x, a)", 0.05, 0, {"a": 0}, True),
    "a high bound only": ("Clip (x, , b)", 0.01, 100, {"b": 6}, True),
    "no bound": ("Clip (x)", 0.05, 7, {}, True),
    "hard tanh": ("Clip (x, a, b)", 1 / 128, 128, {"a": -1, "b": 1}, True),
    "a bound half a step inside": ("Clip (x, a, b)", 0.02, 0, {"a": 0, "b": 5.0901}, True),
    "a bound a step inside": ("Clip (x, a, b)", 0.02, 0, {"a": 0, "b": 5.085}, False),
}


def model_of(parse, case, dtype=np.uint8):
    op, scale, zero_point, bounds, _ = CASES[case]
    return parse(
        f"""g (float[1,{X.size}] x) => (float y) {{
            r = {op} q = QuantizeLinear (r, s, z) y = DequantizeLinear (q, s, z) }}""",
        s=np.float32(scale),
        z=dtype(zero_point),
        **{name: np.float32(value) for name, value in bounds.items()},
    )


@pytest.mark.parametrize("case", CASES)
def test_absorbed_only_where_exact(case, parse, run):
    model = model_of(parse, case)
    before = run(model, {"x": X})["y"]
    outcome = AbsorbClips()(model)
    assert outcome.modified is CASES[case][-1]
    assert ([n.op_type for n in model.graph] == ["QuantizeLinear", "DequantizeLinear"]) is (
        CASES[case][-1]
    )
    np.testing.assert_array_equal(run(model, {"x": X})["y"], before)
    assert not AbsorbClips()(model).modified


@pytest.mark.parametrize("seed", range(20))
def test_random_bounds(seed, parse, run):
    rng = np.random.default_rng(seed)
    low, high = sorted(rng.normal(0, 3, 2))
    scale = np.float32((high - low) / 255 * rng.choice([0.98, 1.0, 1.001, 1.02]))
    model = parse(
        f"""g (float[1,{X.size}] x) => (float y) {{
            r = Clip (x, a, b) q = QuantizeLinear (r, s, z) y = DequantizeLinear (q, s, z) }}""",
        s=scale,
        z=np.uint8(np.clip(np.rint(-low / scale), 0, 255)),
        a=np.float32(low),
        b=np.float32(high),
    )
    before = run(model, {"x": X})["y"]
    AbsorbClips()(model)
    np.testing.assert_array_equal(run(model, {"x": X})["y"], before)


OTHERS = {
    "two readers": """r = Relu (x) q = QuantizeLinear (r, s, z) t = Neg (r)
        y = DequantizeLinear (q, s, z)""",
    "no quantizer": "r = Relu (x) t = Neg (r) y = Neg (t)",
    "an output": "t = Relu (x) q = QuantizeLinear (t, s, z) y = DequantizeLinear (q, s, z)",
    "a computed bound": """m = ReduceMax <keepdims = 0> (x) r = Clip (x, , m) t = Neg (x)
        q = QuantizeLinear (r, s, z) y = DequantizeLinear (q, s, z)""",
    "scales per channel": """r = Relu (x) t = Neg (x) q = QuantizeLinear <axis = 0> (r, v, u)
        y = DequantizeLinear <axis = 0> (q, v, u)""",
}


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
def test_left_alone(body, parse):
    constants = {"s": np.float32(0.05), "z": np.uint8(0)}
    constants |= {"v": np.float32([0.05]), "u": np.uint8([0])}
    model = parse(f"g (float[1,8] x) => (float y, float t) {{ {body} }}", **constants)
    count = len(list(model.graph))
    assert not AbsorbClips()(model).modified
    assert len(list(model.graph)) == count


def test_a_bound_with_one_element(parse, run):
    model = parse(
        """g (float[1,8] x) => (float y) {
            r = Relu (x) q = QuantizeLinear (r, s, z) y = DequantizeLinear (q, s, z) }""",
        s=np.float32(0.05),
        z=np.int8(-128),
    )
    x = np.linspace(-3, 30, 8, dtype=np.float32)[None]
    before = run(model, {"x": x})["y"]
    assert AbsorbClips()(model).modified
    np.testing.assert_array_equal(run(model, {"x": x})["y"], before)
