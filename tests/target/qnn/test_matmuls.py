"""MatMuls of two 16-bit activations: exact on the HTP, and compiled on the chips that are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

import qdq
from qdq.library import CompileResult
from qdq.target.qnn.matmuls import WideMatMuls
from qnn_files import S24, text_net

Compiled = Callable[..., CompileResult]
V68, V73 = "Dragonwing RB3 Gen 2 Vision Kit", "Dragonwing IQ-9075 EVK"
SCORES = """
    <ir_version: 10, opset_import: ["" : 21]>
    scores (float[1,4,30,16] a, float[1,4,16,30] b) => (float[1,4,30,30] y) {
        a_q = QuantizeLinear (a, sa, za)
        a_d = DequantizeLinear (a_q, sa, za)
        b_q = QuantizeLinear (b, sb, zb)
        b_d = DequantizeLinear (b_q, sb, zb)
        m = MatMul (a_d, b_d)
        y_q = QuantizeLinear (m, sy, zy)
        y = DequantizeLinear (y_q, sy, zy)
    }
"""
# Of the second operand: a grid around 0, one that is not, and all that a signed type has.
OPERANDS = {
    "uint16, symmetric": (5 / 32768, np.uint16(32768)),
    "uint16, asymmetric": (8 / 65535, np.uint16(24000)),
    "int16": (5 / 32768, np.int16(0)),
}


def net(folder: Path, scale: float, zero: np.generic, *, wide: type = np.uint16) -> Path:
    middle = wide(32768) if wide is np.uint16 else wide(128)
    return text_net(
        folder,
        SCORES,
        sa=np.float32(10 / np.iinfo(wide).max),
        za=middle,
        sb=np.float32(scale),
        zb=zero,
        sy=np.float32(60 / 65535),
        zy=np.uint16(32768),
    )


def feeds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"a": (1, 4, 30, 16), "b": (1, 4, 16, 30)}
    return {
        name: np.clip(rng.normal(0.2, 1, shape), -2.9, 4.9).astype(np.float32)
        for name, shape in shapes.items()
    }


def computed(model: ir.Model) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, feeds())[0])


def sqnr(reference: np.ndarray, found: np.ndarray) -> float:
    error = np.square(reference.astype(np.float64) - found).sum()
    return float(10 * np.log10(np.square(reference.astype(np.float64)).sum() / error))


@pytest.mark.parametrize("device", [V73, S24])
@pytest.mark.parametrize("name", OPERANDS)
def test_the_product_is_exact(tmp_path: Path, compiled: Compiled, name: str, device: str) -> None:
    """About 72 dB of the product of the reals; an 8-bit operand would leave 41."""
    done = compiled(net(tmp_path, *OPERANDS[name]), device=device)
    assert done.output is not None
    found = qdq.run(done.output, {key: [value] for key, value in feeds().items()}).outputs
    assert found is not None
    inputs = feeds()
    assert sqnr(inputs["a"].astype(np.float64) @ inputs["b"], found["y"][0]) > 65


@pytest.mark.parametrize("name", OPERANDS)
def test_a_chip_without_the_product_takes_its_own(
    tmp_path: Path, compiled: Compiled, name: str
) -> None:
    """What the compiler has there is the product of 16 by 8 bits."""
    done = compiled(net(tmp_path, *OPERANDS[name]), device=V68)
    assert done.output is not None
    found = qdq.run(done.output, {key: [value] for key, value in feeds().items()}).outputs
    assert found is not None
    inputs = feeds()
    assert sqnr(inputs["a"].astype(np.float64) @ inputs["b"], found["y"][0]) > 30


@pytest.mark.no_qnn_needed
@pytest.mark.parametrize("arch", [68, 75])
@pytest.mark.parametrize("name", OPERANDS)
def test_no_value_changes_around_the_middle(tmp_path: Path, name: str, arch: int) -> None:
    model = ir.load(net(tmp_path, *OPERANDS[name]))
    before = computed(model)
    done = WideMatMuls(arch)(model)
    assert done.modified == ((arch < 73) == (name == "int16"))
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    after = computed(model)
    if done.modified and name == "uint16, asymmetric":
        assert sqnr(before, after) > 75
    else:
        np.testing.assert_array_equal(after, before)
    assert not WideMatMuls(arch)(model).modified


@pytest.mark.no_qnn_needed
def test_operands_of_8_bits_and_constants_stay(tmp_path: Path) -> None:
    narrow = ir.load(net(tmp_path, *OPERANDS["uint16, symmetric"], wide=np.uint8))
    assert not WideMatMuls(75)(narrow).modified
    byte = ir.load(net(tmp_path, 10 / 255, np.uint8(128)))
    assert not WideMatMuls(75)(byte).modified
    constant = ir.load(net(tmp_path, *OPERANDS["uint16, symmetric"]))
    for node in constant.graph:
        if node.outputs[0].name == "b_d":
            integers = ir.Value(
                name="w",
                type=ir.TensorType(ir.DataType.UINT16),
                const_value=ir.tensor(np.zeros((1, 4, 16, 30), np.uint16)),
            )
            constant.graph.register_initializer(integers)
            node.replace_input_with(0, integers)
    assert not WideMatMuls(75)(constant).modified


@pytest.mark.no_qnn_needed
def test_readers_share_what_is_inserted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = "n = MatMul (a_d, b_d) o = MatMul (a_d, b_d) m = Add (n, o)"
    text = SCORES.replace("m = MatMul (a_d, b_d)", twice)
    monkeypatch.setitem(globals(), "SCORES", text)
    model = ir.load(net(tmp_path, *OPERANDS["uint16, symmetric"]))
    before = computed(model)
    assert WideMatMuls(79)(model).modified
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph) == 4
    np.testing.assert_array_equal(computed(model), before)
