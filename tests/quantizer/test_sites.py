"""Weights, constants and activations as placed."""

from __future__ import annotations

import numpy as np
import pytest


def ones(*shape):
    return np.ones(shape, np.float32)


IMAGE = "float[1,4,5,5] x"
MATRIX = "float[3,4] x"
B4, B6 = ones(4), ones(6)

# Name -> (input, call, weight, bias, axis for portable, axis for htp-v68).
WEIGHTS = {
    "conv": (IMAGE, "Conv (x, w, b)", ones(6, 4, 3, 3), B6, 0, 0),
    "depthwise": (IMAGE, "Conv <group = 4> (x, w, b)", ones(4, 1, 3, 3), B4, 0, 0),
    "grouped": (IMAGE, "Conv <group = 2> (x, w, b)", ones(6, 2, 3, 3), B6, 0, 0),
    "transposed": (IMAGE, "ConvTranspose (x, w, b)", ones(4, 6, 3, 3), B6, 1, 1),
    "transposed in groups": (
        IMAGE,
        "ConvTranspose <group = 2> (x, w, b)",
        ones(4, 3, 3, 3),
        B6,
        None,
        None,
    ),
    "gemm": (MATRIX, "Gemm (x, w, b)", ones(4, 6), B6, 1, None),
    "gemm transB": (MATRIX, "Gemm <transB = 1> (x, w, b)", ones(6, 4), B6, 0, None),
    "matmul": (MATRIX, "MatMul (x, w)", ones(4, 6), None, 1, None),
    "batched matmul": ("float[2,3,4] x", "MatMul (x, w)", ones(2, 4, 6), None, 2, None),
    "vector": (MATRIX, "MatMul (x, w)", ones(4), None, None, None),
}


@pytest.mark.parametrize("target", ["portable", "htp-v68"])
@pytest.mark.parametrize("case", WEIGHTS)
def test_weight_axes(case, target, parse, place):
    given, call, weight, bias, portable, old = WEIGHTS[case]
    constants = {"w": weight} | ({} if bias is None else {"b": bias})
    placement = place(
        parse(f"g ({given}) => (float y) {{ y = {call} }}", **constants), target=target
    )
    (site,) = placement.weights
    assert site.tensor == "w"
    assert site.uses == (("make_y", 1),)
    assert site.axis == (portable if target == "portable" else old)
    (consumer,) = site.consumers
    assert (consumer.input_tensor, consumer.output_tensor) == ("x", "y")
    assert consumer.bias == (None if bias is None else "b")
    assert placement.constants == ()
    assert [s.tensor for s in placement.activations] == ["x", "y"]


def test_the_bias_of_matmul_and_the_end_of_its_group(parse, place):
    model = parse(
        f"g ({MATRIX}) => (float y) {{ m = MatMul (x, w) a = Add (b, m) y = Relu (a) }}",
        w=ones(4, 6),
        b=B6,
    )
    placement = place(model)
    (site,) = placement.weights
    assert (site.consumers[0].bias, site.consumers[0].output_tensor) == ("b", "y")
    assert placement.constants == ()


def test_a_shared_weight_is_one_site(parse, place):
    model = parse(
        f"""g ({MATRIX}) => (float y) {{
            p = MatMul (x, w) n = Abs (x) q = MatMul (n, w) y = Add (p, q) }}""",
        w=ones(4, 6),
    )
    (site,) = place(model).weights
    assert site.uses == (("make_p", 1), ("make_q", 1))
    assert [c.input_tensor for c in site.consumers] == ["x", "n"]


def test_a_weight_shared_along_two_axes_is_two_sites(parse, place):
    model = parse(
        """g (float[3,4] x) => (float y) {
            p = Gemm (x, w) q = Gemm <transB = 1> (x, w) y = Add (p, q) }""",
        w=ones(4, 4),
    )
    assert [(site.axis, site.uses) for site in place(model).weights] == [
        (1, (("make_p", 1),)),
        (0, (("make_q", 1),)),
    ]


def test_a_computed_weight_is_an_activation(parse, place):
    model = parse("g (float[3,4] x, float[4,6] w) => (float y) { y = MatMul (x, w) }")
    placement = place(model)
    assert placement.weights == ()
    assert [s.tensor for s in placement.activations] == ["x", "w", "y"]


def test_a_constant_on_the_left_is_a_constant_operand(parse, place):
    model = parse("g (float[4,6] x) => (float y) { y = MatMul (w, x) }", w=ones(3, 4))
    placement = place(model)
    assert placement.weights == ()
    assert [(s.tensor, s.uses) for s in placement.constants] == [("w", (("make_y", 0),))]
    assert [s.tensor for s in placement.activations] == ["x", "y"]


def test_a_computed_bias_stays_float(parse, place):
    model = parse("g (float[3,4] x, float[6] c) => (float y) { y = Gemm (x, w, c) }", w=ones(4, 6))
    placement = place(model)
    assert [s.tensor for s in placement.activations] == ["x", "y"]
    assert placement.weights[0].consumers[0].bias is None


def test_constant_operands_and_who_shares_them(parse, place):
    model = parse(
        f"""g ({MATRIX}) => (float y) {{
            a = Add (x, c) m = Mul (c, a) y = Concat <axis = 0> (m, c) }}""",
        c=ones(3, 4),
    )
    constants = [(s.tensor, s.like, s.uses) for s in place(model).constants]
    assert constants == [
        ("c", None, (("make_a", 1), ("make_m", 0))),
        ("c", "y", (("make_y", 1),)),
    ]


@pytest.mark.parametrize(
    ("call", "constants"),
    [
        ("Clip (x, k)", {"k": np.float32(0)}),
        ("Pad (x, n, k)", {"n": np.ones(4, np.int64), "k": np.float32(7)}),
        ("Pow (x, k)", {"k": np.float32(2)}),
        ("Resize (x, , k)", {"k": np.float32([2, 2])}),
        (
            'Resize <coordinate_transformation_mode = "tf_crop_and_resize"> (x, r, k)',
            {"r": np.float32([0, 0, 1, 1]), "k": np.float32([2, 2])},
        ),
        ("BatchNormalization (x, k, k, k, k)", {"k": ones(4)}),
    ],
)
def test_parameters_that_stay_float(call, constants, parse, place):
    placement = place(parse(f"g ({MATRIX}) => (float y) {{ y = {call} }}", **constants))
    assert placement.constants == placement.weights == ()
    assert [s.tensor for s in placement.activations] == ["x", "y"]


def test_the_scale_of_a_normalization_is_quantized_its_bias_is_not(parse, place):
    model = parse(
        f"g ({MATRIX}) => (float y) {{ y = LayerNormalization (x, s, b) }}",
        opset=17,
        s=ones(4),
        b=ones(4),
    )
    assert [s.tensor for s in place(model).constants] == ["s"]


def test_outputs_that_are_optional(parse, place):
    model = parse(
        f"g ({MATRIX}) => (float y) {{ y, , d = LayerNormalization (x, s) }}", opset=17, s=ones(4)
    )
    assert "y" in {s.tensor for s in place(model).activations}


def test_sites_are_in_graph_order_and_owners_once(parse, place):
    model = parse(
        "g (float[2] x, float[2] z) => (float y) { a = Neg (z) b = Abs (x) y = Add (b, a) }"
    )
    placement = place(model)
    assert [s.tensor for s in placement.activations] == ["x", "z", "a", "b", "y"]
    assert placement.owners == ("x", "z", "a", "b", "y")


def test_nothing_to_place(parse, place):
    model = parse("g (int64[2] x) => (int64[2] y) { y = Add (x, x) }")
    placement = place(model)
    assert (placement.activations, placement.weights, placement.constants) == ((), (), ())
    assert placement.islands == ()
