"""Ops that a model spells out are one op, with one Q/DQ pair, in what the quantizer makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

SPELLED = """g (float[1,4,8] x) => (float[1,4,8] y) {
    m = ReduceMean <axes = [-1]> (x)  c = Sub (x, m)  p = Pow (c, two)
    v = ReduceMean <axes = [-1]> (p)  a = Add (v, epsilon)  r = Sqrt (a)  n = Div (c, r)
    f = Mul (n, w)  l = Add (f, b)
    d = Div (l, root)  e = Erf (d)  s = Add (e, one)  h = Mul (l, s)  y = Mul (h, half) }"""


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_gelu_and_layer_normalization(
    activations: str, parse: Callable[..., Any], quantize: Callable[..., Any], run: Any
) -> None:
    rng = np.random.default_rng(0)
    numbers = {"two": 2, "one": 1, "half": 0.5, "epsilon": 1e-5, "root": np.sqrt(2)}
    constants = {name: np.float32(number) for name, number in numbers.items()}
    affine = {name: rng.normal(1, 0.2, 8).astype(np.float32) for name in "wb"}
    model = parse(SPELLED, opset=13, **constants, **affine)
    samples = [{"x": rng.normal(size=(1, 4, 8)).astype(np.float32)} for _ in range(8)]
    done = quantize(model.clone(), samples, activations=activations).model
    ops = [node.op_type for node in done.graph if "Linear" not in node.op_type]
    assert ops == ["LayerNormalization", "Gelu"]
    assert sum(node.op_type == "QuantizeLinear" for node in done.graph) <= 4
    for sample in samples[:2]:
        exact, found = run(model, sample)["y"], run(done, sample)["y"]
        assert np.abs(found - exact).max() < (0.1 if activations == "int8" else 1e-3)
