"""Dtypes and shapes of inner tensors: what the graph tells is what ONNX Runtime finds."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from qdq.dataset import open_samples
from qdq.graph import infer_shapes
from qdq.runtime import probe as room
from qdq.runtime.probe import probe
from qdq.runtime.session import value_dtypes

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[2,3] x) => (float[n,m] y) {
  a = Relu(x) b = Greater(a, x) c = Cast<to=10>(a) d = Shape(a) e = Cast<to=1>(b) y = Add(a, e)
}"""
NAMES = ("x", "a", "b", "c", "d", "e", "y")
SHAPES = ((2, 3),) * 4 + ((2,),) + ((2, 3),) * 2


def _model(*, inferred: bool) -> ir.Model:
    model = ir.from_proto(onnx.parser.parse_model(TEXT))
    if inferred:
        infer_shapes(model)
    return model


@pytest.mark.parametrize("inferred", [True, False])
def test_told_or_loaded_the_facts_are_the_same(inferred, monkeypatch):
    model = _model(inferred=inferred)
    loaded = []

    def counted(*given):
        loaded.append(given)
        return value_dtypes(*given)

    monkeypatch.setattr(room, "value_dtypes", counted)
    with open_samples({"x": [np.ones((2, 3), np.float32)]}) as samples:
        facts = probe(model, NAMES, samples=samples, inputs={"x": "x"})
    assert bool(loaded) is not inferred
    assert {name: it.dtype for name, it in facts.items()} == value_dtypes(model, NAMES)
    assert tuple(facts[name].shape for name in NAMES) == SHAPES
