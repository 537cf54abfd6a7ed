"""The whole model against its sources: layouts, dtypes, and what passes every operator's check."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from qdq.base.errors import DatasetError, VerificationError
from qdq.runtime import open_session
from qdq.target.tflite.verify import Basis, Status, verify_tflite
from qdq.target.tflite.verify.activations import without_activation_quantizers
from qdq.target.tflite.verify.ports import moved_to

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(11)
WEIGHT = RNG.integers(-127, 128, (4, 3, 3, 2)).astype(np.int8)
BIAS = np.array([5, -900, 70, 3000], np.int32)
SCALES = np.array([0.011, 0.02, 0.004, 0.01], np.float32)
IN, OUT = (np.float32(0.02), np.int8(3)), (np.float32(0.15), np.int8(-4))

QDQ = """
qdq (float[1,2,8,8] x) => (float[1,4,8,8] y) {
  xq = QuantizeLinear(x, sx, zx)
  xd = DequantizeLinear(xq, sx, zx)
  wd = DequantizeLinear<axis = 0>(w, sw, zw)
  bd = DequantizeLinear<axis = 0>(b, sb, zb)
  c = Conv<pads = [1,1,1,1]>(xd, wd, bd)
  r = Relu(c)
  rq = QuantizeLinear(r, sy, zy)
  y = DequantizeLinear(rq, sy, zy)
}
"""
FLOAT = """
float (float[1,2,8,8] x) => (float[1,4,8,8] y) {
  wd = DequantizeLinear<axis = 0>(w, sw, zw)
  bd = DequantizeLinear<axis = 0>(b, sb, zb)
  c = Conv<pads = [1,1,1,1]>(x, wd, bd)
  y = Relu(c)
}
"""


def onnx_model(text: str) -> ir.Model:
    constants = {
        "w": WEIGHT.transpose(0, 3, 1, 2),
        "b": BIAS,
        "sw": SCALES,
        "zw": np.zeros(4, np.int8),
        "sb": SCALES * IN[0],
        "zb": np.zeros(4, np.int32),
        "sx": np.asarray(IN[0]),
        "zx": np.asarray(IN[1]),
        "sy": np.asarray(OUT[0]),
        "zy": np.asarray(OUT[1]),
    }
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 13]> {text}')
    used = {name for node in proto.graph.node for name in node.input}
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(a), n)
        for n, a in constants.items()
        if n in used
    )
    return ir.from_proto(proto)


def tflite_model(kit: SimpleNamespace, *, weight: Array = WEIGHT, out: Any = OUT) -> bytes:
    """The same with integer inputs and outputs, channels last."""
    tensors = [
        kit.Tensor("x", "int8", (1, 8, 8, 2), *IN),
        kit.Tensor("w", "int8", weight.shape, SCALES, data=weight),
        kit.Tensor("b", "int32", (4,), SCALES * IN[0], data=BIAS),
        kit.Tensor("y", "int8", (1, 8, 8, 4), *out),
    ]
    ones = dict.fromkeys(("strideH", "strideW", "dilationHFactor", "dilationWFactor"), 1)
    op = ("CONV_2D", ["x", "w", "b"], ["y"], {**ones, "fusedActivationFunction": 1, "version": 3})
    return kit.Model(tensors, [op], ["x"], ["y"]).to_bytes()


def samples(count: int = 4) -> list[dict[str, Array]]:
    return [{"x": RNG.normal(0, 1, (1, 2, 8, 8)).astype(np.float32)} for _ in range(count)]


@pytest.mark.parametrize("known", [True, False])
def test_a_right_model_passes(kit: SimpleNamespace, known: bool) -> None:
    float_model = onnx_model(FLOAT) if known else None
    found = verify_tflite(
        tflite_model(kit), samples(), qdq=onnx_model(QDQ), float_model=float_model
    ).require()
    (output,) = found.outputs
    assert output.basis is (Basis.FLOAT if known else Basis.UNROUNDED)
    assert output.qdq_db is not None
    assert output.tflite_db == pytest.approx(output.qdq_db, abs=0.5)
    assert output.qdq_db > 20
    assert output.agreement_db is not None
    assert output.agreement_db > output.qdq_db
    assert "against the" in found.summary_lines()[-1]


def test_random_samples_fit_the_source(kit: SimpleNamespace) -> None:
    found = verify_tflite(tflite_model(kit), qdq=onnx_model(QDQ), float_model=onnx_model(FLOAT))
    (output,) = found.require().outputs
    assert output.samples == 4
    assert output.qdq_db is not None
    # They are in the range of the input, so that hardly anything is cut off.
    assert output.qdq_db > 15


@pytest.mark.parametrize("known", [True, False])
def test_another_weight_passes_every_operator_but_not_the_whole(
    kit: SimpleNamespace, known: bool
) -> None:
    weight = WEIGHT.copy()
    weight[1] = -weight[1]
    found = verify_tflite(
        tflite_model(kit, weight=weight),
        samples(),
        qdq=onnx_model(QDQ),
        float_model=onnx_model(FLOAT) if known else None,
    )
    assert all(check.status is Status.PASSED for check in found.checks)
    with pytest.raises(VerificationError, match=r"output 'y': its SQNR .* dB are lost"):
        found.require()


def test_another_scale_is_caught(kit: SimpleNamespace) -> None:
    data = tflite_model(kit, out=(OUT[0] * np.float32(8), OUT[1]))
    found = verify_tflite(data, samples(), qdq=onnx_model(QDQ), float_model=onnx_model(FLOAT))
    assert len(found.failures) == 1


def test_a_float_model_is_compared_with_its_source(kit: SimpleNamespace) -> None:
    x, y = kit.Tensor("x", "float32", (1, 8)), kit.Tensor("y", "float32", (1, 8))
    data = kit.Model([x, y], [("TANH", ["x"], ["y"], {})], ["x"], ["y"]).to_bytes()
    feed = [{"x": np.linspace(-3, 3, 8, dtype=np.float32)[None]}]
    text = "g (float[1,8] x) => (float[1,8] y) {{ y = {}(x) }}"
    found = verify_tflite(data, feed, float_model=onnx_model(text.format("Tanh"))).require()
    assert found.outputs[0].tflite_db is not None
    assert found.outputs[0].tflite_db > 100
    wrong = verify_tflite(data, feed, float_model=onnx_model(text.format("Erf")))
    assert "of the output's maximum" in wrong.failures[0]


def test_an_output_of_another_shape_fails(kit: SimpleNamespace) -> None:
    text = "g (float[1,2,8,8] x) => (float[1,2,8] y) { y = ReduceMean<axes=[3], keepdims=0>(x) }"
    found = verify_tflite(tflite_model(kit), samples(1), float_model=onnx_model(text))
    assert "its shape [1, 8, 8, 4] is not the source's" in found.failures[0]


def test_samples_that_do_not_fit(kit: SimpleNamespace) -> None:
    with pytest.raises(DatasetError, match="does not fit"):
        verify_tflite(tflite_model(kit), [{"x": np.zeros((1, 3, 8, 8), np.float32)}])
    with pytest.raises(DatasetError, match=r"the inputs \['z'\]"):
        verify_tflite(tflite_model(kit), [{"z": np.zeros((1, 2, 8, 8), np.float32)}])


def test_channels_move_where_told_or_where_nothing_else_fits() -> None:
    cube = RNG.normal(size=(1, 4, 4, 4))
    np.testing.assert_array_equal(moved_to(cube, cube.shape, last=True, forced=False), cube)
    moved = moved_to(cube, cube.shape, last=True, forced=True)
    np.testing.assert_array_equal(moved, cube.transpose(0, 2, 3, 1))
    back = moved_to(moved, cube.shape, last=False, forced=True)
    np.testing.assert_array_equal(back, cube)
    assert moved_to(cube, (1, 4, 4, 5), last=True, forced=False) is None


def test_the_model_without_activation_quantizers_keeps_its_weights() -> None:
    model = onnx_model(QDQ)
    bare = without_activation_quantizers(model)
    assert bare is not None
    (sample,) = samples(1)
    with (
        open_session(bare, optimize=False) as session,
        open_session(onnx_model(FLOAT), optimize=False) as exact,
    ):
        # Only the output, which is quantized last of all, still is.
        expected = exact.run(sample)["y"]
        steps = np.abs(session.run(sample)["y"] - np.minimum(expected, (127 + 4) * OUT[0])) / OUT[0]
    assert steps.max() <= 0.5001
    # The given model is as it was.
    assert [n.op_type for n in model.graph][:2] == ["QuantizeLinear", "DequantizeLinear"]
    assert without_activation_quantizers(onnx_model(FLOAT)) is None
