"""Bad models for the TFLite target, through the library: an error with its place, or a notice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import qdq
from bad_models import MODELS

REFUSED = [name for name, bad in MODELS.items() if bad.error]
COMPILED = [name for name, bad in MODELS.items() if not bad.error]


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    bad = MODELS[name]
    onnx.save(bad.build(), tmp_path / "m.onnx")
    options = f"--target_runtime tflite {bad.options}"

    with pytest.raises(qdq.QdqError) as caught:
        qdq.compile(tmp_path / "m.onnx", tmp_path / "m.tflite", options=options)

    assert type(caught.value).__name__ == bad.error
    assert int(caught.value.failure_type) == bad.failure
    assert bad.told in str(caught.value)
    assert caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_and_told(name: str, tmp_path: Path) -> None:
    bad = MODELS[name]
    model = bad.build()
    onnx.save(model, tmp_path / "m.onnx")
    options = f"--target_runtime tflite {bad.options}"

    done = qdq.compile(tmp_path / "m.onnx", tmp_path / "m.tflite", options=options)

    notices = done.model.notices
    assert any(bad.told in notice for notice in notices) if bad.told else notices == ()
    # ONNX Runtime refuses two nodes of one name.
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, tmp_path / "m.onnx")
    (port,) = model.graph.input
    shape = [dim.dim_value for dim in port.type.tensor_type.shape.dim]
    given = np.random.default_rng(1).standard_normal([1, *shape[1:]]).astype(np.float32)
    if shape[0] == 1:
        wanted = qdq.run(tmp_path / "m.onnx", {"x": given}).outputs
        found = qdq.run(tmp_path / "m.tflite", {"x": given}).outputs
        assert wanted is not None and found is not None
        for one, other in zip(wanted.values(), found.values(), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.medium
def test_more_than_two_gigabytes(tmp_path: Path) -> None:
    # 2.24 GB of weights that take no room: a file with a hole.
    rows, columns = 4, 140_000_000
    size = rows * columns * 4
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[rows, columns])
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", str(size))):
        weight.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "m")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, columns])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "m.onnx")
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(size)

    with pytest.raises(qdq.UnsupportedError, match="'w': The model's constants exceed 2 GB"):
        qdq.compile(tmp_path / "m.onnx", tmp_path / "m.tflite", options="--target_runtime tflite")
