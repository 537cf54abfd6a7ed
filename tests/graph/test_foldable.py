"""What is foldable, against onnxscript's folder, which is to have the last word."""

import numpy as np
import pytest
from onnxscript.optimizer import fold_constants

from qdq.graph.passes.constants import INPUT_LIMIT, FoldConstants, LiftConstants
from qdq.graph.passes.foldable import has_foldable
from qdq.graph.shapes import infer_shapes

WEIGHTS = {
    "ax": np.array([1], np.int64),
    "dims": np.array([2, 3], np.int64),
    "flat": np.array([-1], np.int64),
    "other": np.array([4, 2, 3], np.int64),
    "w": np.ones((3, 3), np.float32),
    "ids": np.array([0, 1], np.int64),
    "qs": np.array(0.5, np.float32),
    "qz": np.array(0, np.uint8),
}
FOLDABLE = {
    "constants": "c = Mul(w, w) y = MatMul(x, c)",
    "chain of constants": "c = Transpose(w) d = Relu(c) y = MatMul(x, d)",
    "cast to the same": "c = Cast<to=1>(x) y = Relu(c)",
    "cast like": "c = CastLike(x, w) y = Relu(c)",
    "concat of one": "c = Concat<axis=0>(x) y = Relu(c)",
    "reshape to the same": "c = Reshape(x, dims) y = Relu(c)",
    "expand to the same": "c = Expand(x, dims) y = Relu(c)",
    "shape": "s = Shape(x) y = Reshape(x, s)",
    "size": "s = Size(x) t = Cast<to=1>(s) y = Mul(x, t)",
    "identity": "c = Identity(x) y = Relu(c)",
    "dropout": "c = Dropout(x) y = Relu(c)",
}
LEFT = {
    "nothing constant": "c = Relu(x) y = Add(c, x)",
    "weights": "y = MatMul(x, w)",
    "reshape": "c = Reshape(x, flat) y = Reshape(c, dims)",
    "cast": "c = Cast<to=11>(x) y = Cast<to=1>(c)",
    "concat": "c = Concat<axis=0>(x, x) y = Relu(c)",
    "expand": "y = Expand(x, other)",
    "gather": "y = Gather<axis=1>(x, ids)",
    "squeeze": "c = Unsqueeze(x, ax) y = Squeeze(c, ax)",
    "fake quantization of a weight": "q = QuantizeLinear(w, qs, qz) "
    "d = DequantizeLinear(q, qs, qz) y = MatMul(x, d)",
}


def _model(build, body):
    text = f"g (float[2,3] x) => (float y) {{ {body} }}"
    model = build(text, **{name: array for name, array in WEIGHTS.items() if name in body})
    model.graph.outputs[0].shape = None
    infer_shapes(model)
    return model


@pytest.mark.parametrize("body", FOLDABLE.values(), ids=FOLDABLE)
def test_what_the_folder_changes_is_foldable(build, body):
    model = _model(build, body)
    assert has_foldable(model)
    assert fold_constants(model).modified


@pytest.mark.parametrize("body", LEFT.values(), ids=LEFT)
def test_what_is_not_foldable_the_pass_leaves(build, serialized, body, monkeypatch):
    model = _model(build, body)
    assert not has_foldable(model)
    content = serialized(model)
    monkeypatch.setattr("qdq.graph.passes.constants.has_foldable", lambda _: True)
    assert not FoldConstants()(model).modified
    assert serialized(model) == content


@pytest.mark.parametrize("branch", ["If", "Loop"])
def test_graphs_inside_are_looked_into_by_the_folder(build, branch):
    inner = {
        "If": "y = If(c) <then_branch = a () => (float[2,3] t) { t = Mul(x, one) },"
        " else_branch = b () => (float[2,3] e) { e = Neg(x) }>",
        "Loop": "y = Loop(n, c, x) <body = l (int64 i, bool k, float[2,3] s) => "
        "(bool k2, float[2,3] s2) { k2 = Identity(k) s2 = Neg(s) }>",
    }[branch]
    weights = {"one": np.ones((), np.float32), "n": np.array(2, np.int64)}
    model = build(
        f"g (float[2,3] x, bool c) => (float[2,3] y) {{ {inner} }}",
        **{name: array for name, array in weights.items() if f"{name}" in inner},
    )
    infer_shapes(model)
    assert has_foldable(model)


def test_a_large_value_that_stays_is_told(build):
    shape = np.array([INPUT_LIMIT + 1], np.int64)
    model = build("g (float[1] x) => (float y) { c = ConstantOfShape(s) y = Add(x, c) }", s=shape)
    LiftConstants()(model)
    infer_shapes(model)
    notes = FoldConstants()(model).notes
    assert ["kept: its value is large" in str(note) for note in notes] == [True]
