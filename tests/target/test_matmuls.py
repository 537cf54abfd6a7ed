"""MatMul and Add between dequantized matrices become one Gemm."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.target.onnx.matmuls import JoinMatMulBias

RNG = np.random.default_rng(8)
HEAD = """xq = QuantizeLinear (x, sx, zx) xd = DequantizeLinear (xq, sx, zx)
    wd = DequantizeLinear <axis = 1> (w, sw, zw)"""


def model_of(parse, body, *, shape="3,4", out="float y", bias=(6,)):
    return parse(
        f"g (float[{shape}] x) => ({out}) {{ {HEAD} {body} }}",
        sx=np.float32(0.02),
        zx=np.uint8(100),
        w=RNG.integers(-127, 128, (4, 6)).astype(np.int8),
        sw=RNG.uniform(0.001, 0.02, 6).astype(np.float32),
        zw=np.zeros(6, np.int8),
        b=RNG.normal(0, 1, bias).astype(np.float32),
    )


@pytest.mark.parametrize(
    "body",
    [
        "m = MatMul (xd, wd) y = Add (m, b)",
        "m = MatMul (xd, wd) y = Add (b, m)",
        "m = MatMul (xd, wd) a = Add (m, b) y = Relu (a)",
    ],
)
def test_joined(body, parse, run):
    model = model_of(parse, body)
    sample = {"x": RNG.normal(0, 1, (3, 4)).astype(np.float32)}
    before = run(model, sample)["y"]
    assert JoinMatMulBias()(model).modified
    ops = [node.op_type for node in model.graph]
    assert "Gemm" in ops
    assert not {"MatMul", "Add"} & set(ops)
    gemm = next(node for node in model.graph if node.op_type == "Gemm")
    assert gemm.outputs[0].dtype is not None
    assert [value.name for value in model.graph.outputs] == ["y"]
    np.testing.assert_allclose(run(model, sample)["y"], before, atol=1e-5)
    assert not JoinMatMulBias()(model).modified


LEFT = {
    "another reader": {
        "body": "m = MatMul (xd, wd) y = Add (m, b) v = Neg (m)",
        "out": "float y, float v",
    },
    "an output between": {"body": "m = MatMul (xd, wd) y = Add (m, b)", "out": "float y, float m"},
    "no bias": {"body": "m = MatMul (xd, wd) y = Add (m, m)"},
    "one value for all": {"body": "m = MatMul (xd, wd) y = Add (m, b)", "bias": (1,)},
    "a bias for each element": {"body": "m = MatMul (xd, wd) y = Add (m, b)", "bias": (3, 6)},
    "a bias of higher rank": {"body": "m = MatMul (xd, wd) y = Add (m, b)", "bias": (1, 1, 6)},
    "a batch": {"body": "m = MatMul (xd, wd) y = Add (m, b)", "shape": "2,3,4"},
    "a float input": {"body": "m = MatMul (x, wd) y = Add (m, b)"},
}


@pytest.mark.parametrize("case", LEFT)
def test_left_alone(case, parse):
    assert not JoinMatMulBias()(model_of(parse, **LEFT[case])).modified
