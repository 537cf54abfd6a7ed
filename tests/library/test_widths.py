"""Models of 8 and 16 bits: every target keeps them integer where widths meet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

import qdq

RNG = np.random.default_rng(2)
NET = """
    <ir_version: 10, opset_import: ["" : 17]>
    net (float[1,4,8,8] x) => (float[1,5] y) {
        c = Conv <pads = [1,1,1,1]> (x, w, b)
        r = Relu (c)
        c2 = Conv <pads = [1,1,1,1]> (r, w2, b)
        a = Add (r, c2)
        k = Concat <axis = 1> (a, c2)
        m = MaxPool <kernel_shape = [2,2], strides = [2,2]> (k)
        p = GlobalAveragePool (m)
        f = Flatten (p)
        y = Gemm (f, v, d)
    }
"""
SAMPLES = {"x": RNG.normal(size=(12, 4, 8, 8)).astype(np.float32)}
WIDE = ["c2", "a", "k", "m", "p", "y", "c|r", "c|r|a", "c2|k", ".*"]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = onnx.parser.parse_model(NET)
    shapes = {"w": (4, 4, 3, 3), "w2": (4, 4, 3, 3), "b": (4,), "v": (8, 5), "d": (5,)}
    for name, shape in shapes.items():
        array = RNG.normal(0, 0.3, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for node in model.graph.node:
        node.name = node.output[0]
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def mixed(net: Path, tmp_path: Path) -> Callable[[str], Path]:
    """``mixed(expression)``: the net with 16 bits for the nodes that match, else 8."""

    def made(expression: str) -> Path:
        out = tmp_path / "mixed.onnx"
        qdq.quantize(net, SAMPLES, out, options=f"--override '{expression}=int16'")
        return out

    return made


def outputs(model: Path) -> np.ndarray[Any, Any]:
    found = qdq.run(model, {"x": list(SAMPLES["x"][:, None])}).outputs
    assert found is not None
    return np.concatenate(found["y"])


@pytest.mark.parametrize("expression", WIDE)
def test_tflite_computes_all_of_it_in_integers(
    expression: str, mixed: Callable[[str], Path], tmp_path: Path
) -> None:
    model = mixed(expression)
    compiled = tmp_path / "mixed.tflite"
    done = qdq.compile(model, compiled, options="--target_runtime tflite")
    found = qdq.inspect(compiled)
    assert found.quantization.dequantize_nodes == 1, "of the output alone"
    assert not any("float" in notice.split(":")[0] for notice in done.notices if "stays" in notice)
    floats = set(found.quantization.activations) - {"int8", "int16"}
    assert not floats
    step = np.ptp(outputs(model)) / 255
    assert np.abs(outputs(compiled) - outputs(model)).max() <= 2 * step


@pytest.mark.parametrize("expression", WIDE)
def test_onnx_keeps_every_encoding(
    expression: str, mixed: Callable[[str], Path], tmp_path: Path
) -> None:
    model = mixed(expression)
    compiled = tmp_path / "compiled.onnx"
    qdq.compile(model, compiled, options="--target_runtime onnx")
    step = np.ptp(outputs(model)) / 255
    assert np.abs(outputs(compiled) - outputs(model)).max() <= 2 * step


@pytest.mark.parametrize("target", ["htp-v73", "htp-v68"])
@pytest.mark.parametrize("expression", WIDE)
def test_htp_has_nothing_to_object(
    expression: str, target: str, mixed: Callable[[str], Path]
) -> None:
    found = qdq.lint(mixed(expression), target=target).findings
    assert [finding for finding in found if not finding.repaired] == []
