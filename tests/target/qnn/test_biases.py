"""Biases on 16-bit activations: what the HTP keeps of a sum, and that ours leave no offset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

import qdq
from qdq.graph import infer_shapes
from qdq.library import CompileResult
from qdq.target.qnn.biases import RoundBiases
from qnn_files import S24, text_net

Compiled = Callable[..., CompileResult]
CHANNELS = 32
V68, V79 = "Dragonwing RB3 Gen 2 Vision Kit", "Samsung Galaxy S25"
NET = """
    <ir_version: 10, opset_import: ["" : 21]>
    g (float{shape} x) => (float{result} y) {{
        x_q = QuantizeLinear (x, sx, zx)
        x_d = DequantizeLinear (x_q, sx, zx)
        w_d = DequantizeLinear <axis = 0> (w, sw, zw)
        b_d = DequantizeLinear <axis = 0> (b, sb, zb)
        c = {op} (x_d, w_d, b_d)
        y_q = QuantizeLinear (c, sy, zy)
        y = DequantizeLinear (y_q, sy, zy)
    }}
"""
SPATIAL = "[1,32,12,12]"
# The op, the shapes of input, weight and output.
OPS = {
    "Conv": ("Conv <pads = [1,1,1,1]>", SPATIAL, (32, 32, 3, 3), SPATIAL),
    "pointwise": ("Conv", SPATIAL, (32, 32, 1, 1), SPATIAL),
    "depthwise": ("Conv <group = 32, pads = [1,1,1,1]>", SPATIAL, (32, 1, 3, 3), SPATIAL),
    "Gemm": ("Gemm <transB = 1>", "[60,32]", (32, 32), "[60,32]"),
}
STRIDED = (
    "Conv <group = 32, pads = [1,1,1,1], strides = [2,2]>",
    SPATIAL,
    (32, 1, 3, 3),
    "[1,32,6,6]",
)
# One step of the product of the scales of input and weight.
UNIT = 1 / 1024 / 64


def net(folder: Path, case: tuple[str, str, tuple[int, ...], str], **other: np.ndarray) -> Path:
    op, shape, weight, result = case
    rng = np.random.default_rng(0)
    constants = {
        "sx": np.float32(1 / 1024),
        "zx": np.uint16(32768),
        "w": rng.integers(-127, 128, weight).astype(np.int8),
        "sw": np.full(CHANNELS, 1 / 64, np.float32),
        "zw": np.zeros(CHANNELS, np.int8),
        "b": (np.arange(CHANNELS) * 37 - 500).astype(np.int32),
        "sb": np.full(CHANNELS, UNIT, np.float32),
        "zb": np.zeros(CHANNELS, np.int32),
        # Eight units: fine enough to see a 256 of them.
        "sy": np.float32(8 * UNIT),
        "zy": np.uint16(32768),
    }
    return text_net(folder, NET.format(op=op, shape=shape, result=result), **{**constants, **other})


def sample(case: tuple[str, str, tuple[int, ...], str]) -> np.ndarray:
    shape = [int(dim) for dim in case[1].strip("[]").split(",")]
    return (np.random.default_rng(1).integers(-60, 60, shape) / 1024).astype(np.float32)


def inferred(path: Path) -> ir.Model:
    model = ir.load(path)
    infer_shapes(model)
    return model


def computed(model: Path | bytes, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def channel_errors(
    model: Path, done: CompileResult, case: tuple[str, str, tuple[int, ...], str]
) -> np.ndarray:
    """Return by how many units each channel is off on average."""
    x = sample(case)
    assert done.output is not None
    found = qdq.run(done.output, {"x": [x]}).outputs
    assert found is not None
    error = (found["y"][0].astype(np.float64) - computed(model, x)) / UNIT
    return np.asarray(error.mean(tuple(axis for axis in range(error.ndim) if axis != 1)))


@pytest.mark.parametrize("device", [V68, S24, V79])
@pytest.mark.parametrize("name", OPS)
def test_no_offset_is_left(tmp_path: Path, compiled: Compiled, name: str, device: str) -> None:
    """Each channel within 128 and what few values leave of chance; their mean near 0."""
    model = net(tmp_path, OPS[name])
    errors = channel_errors(model, compiled(model, device=device), OPS[name])
    assert np.abs(errors).max() < 128 + 50
    assert abs(errors.mean()) < 50


@pytest.mark.parametrize("name", OPS)
def test_what_the_npu_drops(
    tmp_path: Path, compiled: Compiled, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Without the pass: the sum in 256s rounded down, the bias in 256s nearer to zero."""
    monkeypatch.setattr(RoundBiases, "rewrite", lambda *_: False)
    model = net(tmp_path, OPS[name])
    errors = channel_errors(model, compiled(model), OPS[name])
    bias = np.arange(CHANNELS) * 37 - 500
    np.testing.assert_allclose(errors, np.trunc(bias / 256) * 256 - bias - 128, atol=50)


def test_depthwise_with_stride_2_is_exact(tmp_path: Path, compiled: Compiled) -> None:
    model = net(tmp_path, STRIDED)
    errors = channel_errors(model, compiled(model), STRIDED)
    assert np.abs(errors).max() < 8


@pytest.mark.no_qnn_needed
@pytest.mark.parametrize("name", OPS)
def test_rounded_up_by_half_a_unit(tmp_path: Path, name: str) -> None:
    path = net(tmp_path, OPS[name])
    model = inferred(path)
    assert RoundBiases()(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    x = sample(OPS[name])
    moved = computed(ir.to_proto(model).SerializeToString(), x) - computed(path, x)
    steps = np.unique(np.rint(moved / UNIT / 8) * 8)
    # Within half a unit of the 128 that the sum loses.
    assert steps.min() >= 128 - 128 - 8 and steps.max() <= 128 + 128 + 8
    assert not RoundBiases()(model).modified


@pytest.mark.no_qnn_needed
@pytest.mark.parametrize(
    "other",
    [
        {"zx": np.uint8(128)},
        {"sb": np.full(CHANNELS, 2 * UNIT, np.float32)},
        {"w": np.zeros((32, 32, 3, 3), np.uint8), "zw": np.full(CHANNELS, 128, np.uint8)},
        {"b": (np.arange(CHANNELS) * 256).astype(np.int32)},
    ],
)
def test_left_alone(tmp_path: Path, other: dict[str, np.ndarray]) -> None:
    """8-bit activations, a bias of another scale, other weights, what is rounded already."""
    assert not RoundBiases()(inferred(net(tmp_path, OPS["Conv"], **other))).modified


@pytest.mark.no_qnn_needed
def test_the_exact_one_is_left_alone(tmp_path: Path) -> None:
    assert not RoundBiases()(inferred(net(tmp_path, STRIDED))).modified
