"""Relu and Clip between a Conv and its quantizer: accepted, and computed as ONNX Runtime does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import numpy_helper

import qdq
import qnn_files
from qdq.library import CompileResult
from qdq.target.interface import InterfaceRequest, compile_graph
from qdq.target.qnn.clips import SplitClips
from qnn_files import images

Compiled = Callable[..., CompileResult]
PAIR = "c_q = QuantizeLinear (c, sr, zr) c_d = DequantizeLinear (c_q, sr, zr) "
CLIP = "r = Clip (c, low, high)"
TOLERANCE = {"w8a8": 2 * 8 / 255, "w8a16": 40 * 8 / 65535}


def clip_net(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    bounds: tuple[float, float],
    *,
    symmetric: bool,
    text: str = CLIP,
) -> Path:
    monkeypatch.setattr(qnn_files, "QDQ", qnn_files.QDQ.replace("r = Relu (c)", text))
    path = qnn_files.qdq_net(folder, precision, symmetric=symmetric)
    model = onnx.load(path)
    for name, bound in zip(("low", "high"), bounds, strict=True):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(bound), name))
    onnx.save(model, path)
    return path


def samples() -> list[np.ndarray]:
    return [np.clip(2 * image, -1.9, 1.9) for image in images(2)]


def by_onnxruntime(model: Path | bytes) -> np.ndarray:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, {"image": sample})[0] for sample in samples()])


@pytest.mark.parametrize("precision", ["w8a8", "w8a16"])
@pytest.mark.parametrize(
    ("bounds", "symmetric", "text"),
    [
        ((0, 4), True, CLIP),
        ((0, 2), True, CLIP),
        ((-1, 2), True, CLIP),
        ((0, 2), False, CLIP),
        ((-100, 2), True, CLIP),
        ((0, 2), False, PAIR + "r = Clip (c_d, low, high)"),
    ],
)
def test_a_clip_keeps_its_bounds(
    tmp_path: Path,
    compiled: Compiled,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    bounds: tuple[float, float],
    symmetric: bool,
    text: str,
) -> None:
    model = clip_net(tmp_path, monkeypatch, precision, bounds, symmetric=symmetric, text=text)
    done = compiled(model)
    assert done.qnn is not None and done.output is not None
    assert "ReluMinMax" not in done.qnn["op_counts"]
    found = qdq.run(done.output, {"image": samples()}).outputs
    assert found is not None
    expected = by_onnxruntime(model)
    np.testing.assert_allclose(np.stack(found["scores"]), expected, atol=TOLERANCE[precision])


@pytest.mark.no_qnn_needed
@pytest.mark.parametrize("bounds", [(0, 4), (0, 1.7), (-1.3, 2.2), (-100, 0.9), (0.3, 100)])
@pytest.mark.parametrize("precision", ["w8a8", "w8a16"])
def test_no_integer_changes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    bounds: tuple[float, float],
) -> None:
    path = clip_net(tmp_path, monkeypatch, precision, bounds, symmetric=True)
    model = ir.load(path)
    compile_graph(model, InterfaceRequest())
    before = ir.to_proto(model).SerializeToString()
    done = SplitClips()(model)
    assert done.modified
    after = ir.to_proto(model)
    onnx.checker.check_model(after, full_check=True)
    assert "Clip" not in {node.op_type for node in after.graph.node}
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    outputs = [
        ort.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
        for proto in (before, after.SerializeToString())
    ]
    for sample in samples():
        ours, theirs = (it.run(None, {"image": sample})[0] for it in outputs)
        np.testing.assert_array_equal(ours, theirs)
    assert not SplitClips()(model).modified
