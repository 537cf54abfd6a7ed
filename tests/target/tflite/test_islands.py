"""Ops that compute in float between integers: which, and that each is told with its cause."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

IN = """g (float[1,4,3] x, float[1,3,4] z) => ({out}) {{
    xq = QuantizeLinear (x, s, o) xd = DequantizeLinear (xq, s, o)
    zq = QuantizeLinear (z, s, o) zd = DequantizeLinear (zq, s, o)
    {body} }}"""
SETTINGS = {"s": np.float32(0.05), "t": np.float32(0.07), "o": np.int8(3)}
END = "yq = QuantizeLinear (h, s, o) y = DequantizeLinear (yq, s, o)"


def _graph(parse: Callable[..., Any], body: str, *, out: str = "y", **constants: Any) -> Any:
    outputs = ", ".join(f"float[?,?,?] {name}" for name in out.split())
    text = IN.format(out=outputs, body=body)
    return parse(text, opset=21, **SETTINGS, **constants)


@pytest.mark.parametrize(
    ("body", "out", "why"),
    [
        (
            "h = Relu (xd) yq = QuantizeLinear (h, s, o) y = DequantizeLinear (yq, s, o) "
            "wq = QuantizeLinear (h, t, o) w = DequantizeLinear (wq, t, o)",
            "y w",
            "its output 'h' is quantized with several encodings",
        ),
        # The optimiser makes one op of two equal ones.
        (
            "h = Relu (xd) yq = QuantizeLinear (h, s, o) y = DequantizeLinear (yq, s, o) "
            "k = Relu (xd) wq = QuantizeLinear (k, t, o) w = DequantizeLinear (wq, t, o)",
            "y w",
            "is quantized with several encodings",
        ),
        (f"h = Relu (xd) {END}", "y h", "its output 'h' is also read without being quantized"),
        (f"h = Add (xd, k) {END}", "y", "its constant 'k' is not quantized"),
        (f"h = MatMul (xd, m) {END}", "y", "its constant 'm' is not quantized"),
    ],
)
def test_an_island_is_told_with_its_cause(
    body: str,
    out: str,
    why: str,
    parse: Callable[..., Any],
    lite: Callable[..., Any],
    run: Callable[..., Any],
    samples: Callable[..., Any],
) -> None:
    k, m = np.asarray([1, -1, 0.5], np.float32), np.eye(3, 4, dtype=np.float32)
    constants = {name: a for name, a in (("k", k), ("m", m)) if f" {name})" in body}
    model = _graph(parse, body, out=out, **constants)

    made = lite(model)

    (notice,) = made.model.notices
    assert why in notice
    assert "computes in float32 between integers" in notice
    (sample,) = samples(model, count=1)
    wanted = run(model, sample)
    for name, array in made.run(sample).items():
        np.testing.assert_allclose(array, wanted[name], atol=1e-5)


@pytest.mark.parametrize("clip", ["Relu (p)", "Clip (p, a, b)"])
def test_an_activation_behind_a_product_of_two_activations(
    clip: str,
    parse: Callable[..., Any],
    check_qdq: Callable[..., Any],
    check_float: Callable[..., Any],
    samples: Callable[..., Any],
) -> None:
    bounds = {"a": np.float32(-0.5), "b": np.float32(0.7)} if "Clip" in clip else {}
    quantized = _graph(parse, f"p = MatMul (xd, zd) h = {clip} {END}", **bounds)
    plain = parse(
        "g (float[1,4,3] x, float[1,3,4] z) => (float[1,4,4] y) {"
        f" p = MatMul (x, z) y = {clip} }}",
        **bounds,
    )

    assert check_float(plain).count("BATCH_MATMUL") == 1
    made = check_qdq(quantized, samples(quantized))

    assert "BATCH_MATMUL:INT8" in made.names
