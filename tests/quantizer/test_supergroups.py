"""Which chains are one integer op."""

from __future__ import annotations

import numpy as np
import pytest

W = {"w": np.ones((4, 4, 1, 1), np.float32)}
DEPTHWISE = {"w": np.ones((4, 1, 1, 1), np.float32)}
MATRIX = {"w": np.ones((4, 6), np.float32)}
BOUNDS = {"low": np.float32(0), "high": np.float32(6)}
BIAS = {"b": np.ones(6, np.float32)}
IMAGE = "float[1,4,5,5]"

# Name -> (body after "x" to "y", constants, groups by output names); rank of x: 4 or 2.
IMAGES = {
    "conv relu": ("c = Conv (x, w) y = Relu (c)", W, ["c y"]),
    "conv clip": ("c = Conv (x, w) y = Clip (c, low, high)", W | BOUNDS, ["c y"]),
    "conv clip without bounds": ("c = Conv (x, w) y = Clip (c)", W, ["c y"]),
    "conv clip with one bound": ("c = Conv (x, w) y = Clip (c, , high)", W | BOUNDS, ["c y"]),
    "conv clip with a computed bound": (
        "m = ReduceMax <keepdims = 0> (x) c = Conv (x, w) y = Clip (c, , m)",
        W,
        [],
    ),
    "depthwise conv clip": (
        "c = Conv <group = 4> (x, w) y = Clip (c, low, high)",
        DEPTHWISE | BOUNDS,
        ["c y"],
    ),
    "depthwise conv relu": ("c = Conv <group = 4> (x, w) y = Relu (c)", DEPTHWISE, ["c y"]),
    "transposed conv relu": ("c = ConvTranspose (x, w) y = Relu (c)", W, ["c y"]),
    "two readers break it": ("c = Conv (x, w) r = Relu (c) y = Add (c, r)", W, []),
    "a reader that reads twice breaks it": ("c = Conv (x, w) y = Add (c, c)", W, []),
    "add relu": ("a = Add (x, x) y = Relu (a)", {}, ["a y"]),
    "a second relu stays out": ("a = Add (x, x) r = Relu (a) y = Relu (r)", {}, ["a r"]),
    "a computed weight breaks it": (
        "v = Abs (x) k = ReduceMax <axes = [0]> (v) y = Relu (k)",
        {},
        [],
    ),
    "conv sigmoid is none": ("c = Conv (x, w) y = Sigmoid (c)", W, []),
    "a masked add is none": ("a = Add (x, k) y = Relu (a)", {"k": np.float32([-1e9])}, []),
}
MATRICES = {
    "matmul": ("y = MatMul (x, w)", MATRIX, []),
    "matmul bias": ("m = MatMul (x, w) y = Add (m, b)", MATRIX | BIAS, ["m y"]),
    "bias matmul": ("m = MatMul (x, w) y = Add (b, m)", MATRIX | BIAS, ["m y"]),
    "matmul bias relu": ("m = MatMul (x, w) a = Add (m, b) y = Relu (a)", MATRIX | BIAS, ["m a y"]),
    "matmul bias clip": (
        "m = MatMul (x, w) a = Add (m, b) y = Clip (a, low, high)",
        MATRIX | BIAS | BOUNDS,
        ["m a y"],
    ),
    "matmul relu": ("m = MatMul (x, w) y = Relu (m)", MATRIX, ["m y"]),
    "matmul and a scalar": (
        "m = MatMul (x, w) y = Add (m, b)",
        MATRIX | {"b": np.float32([1])},
        [],
    ),
    "matmul and a mask for a bias": (
        "m = MatMul (x, w) y = Add (m, b)",
        MATRIX | {"b": np.full(6, -1e9, np.float32)},
        [],
    ),
    "matmul and a matrix": (
        "m = MatMul (x, w) y = Add (m, b)",
        MATRIX | {"b": np.ones((3, 6), np.float32)},
        [],
    ),
    "matmul residual relu": (
        "m = MatMul (x, w) n = MatMul (x, w) a = Add (m, n) y = Relu (a)",
        MATRIX,
        ["a y"],
    ),
    "gemm relu": ("m = Gemm (x, w, b) y = Relu (m)", MATRIX | BIAS, ["m y"]),
    "a matmul of two activations": ("t = Transpose (x) m = MatMul (x, t) y = Relu (m)", {}, []),
}


def groups_of(placement):
    return {" ".join(name.removeprefix("make_") for name in group) for group in placement.fused}


@pytest.mark.parametrize("target", ["portable", "htp-v68", "ort-x86", "tflite"])
@pytest.mark.parametrize(
    ("kind", "case"),
    [*(("image", c) for c in IMAGES), *(("matrix", c) for c in MATRICES)],
)
def test_groups(kind, case, target, parse, place):
    body, constants, groups = (IMAGES if kind == "image" else MATRICES)[case]
    x = IMAGE if kind == "image" else "float[3,4]"
    model = parse(f"g ({x} x) => (float y) {{ {body} }}", **constants)
    placement = place(model, target=target)
    assert groups_of(placement) == set(groups)
    sites = {site.tensor for site in placement.activations}
    for group in groups:
        *internal, last = group.split()
        assert last in sites
        assert sites.isdisjoint(internal)


@pytest.mark.parametrize("target", ["portable", "tflite"])
def test_an_output_between_breaks_it(target, parse, place):
    model = parse(
        "g (float[1,4,5,5] x) => (float c, float y) { c = Conv (x, w) y = Relu (c) }", **W
    )
    placement = place(model, target=target)
    assert placement.fused == ()
    assert [site.tensor for site in placement.activations] == ["x", "c", "y"]


@pytest.mark.parametrize(("op_type", "fused"), [("Sub", True), ("Mul", True), ("Div", False)])
def test_tflite_has_more_fused_activations(op_type, fused, parse, place):
    model = parse(f"g (float[3] x) => (float y) {{ a = {op_type} (x, x) y = Relu (a) }}")
    assert (place(model, target="tflite").fused != ()) is fused
    assert place(model, target="portable").fused == ()
