"""The official clients, unmodified, against a real server; numbers against ONNX Runtime here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from acceptance.harness import SCRIPTS
from qdq.base.qnn_package import qnn_available

pytestmark = [pytest.mark.medium, pytest.mark.timeout(900)]

NAMES = sorted(file.stem for file in SCRIPTS.glob("*.py") if file.stem != "client_side")
# Scripts that need an optional package of the server, and its name.
NEEDS = {"qnn": "onnxruntime-qnn"}
# Signal to noise in dB that a tiny network of random weights keeps, with room to spare.
PRECISIONS = {"w8a8": 20.0, "w8a16": 30.0}

RunChecks = Callable[[str], tuple[dict[str, Any], Path]]


def _need(name: str) -> None:
    """Skip, or fail where nothing may be skipped, without what the script ``name`` needs."""
    package = NEEDS.get(name)
    if package is None or qnn_available():
        return
    reason = f"The package {package} is not installed (extra [qnn])"
    if os.environ.get("QDQ_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.parametrize("name", NAMES)
def test_checks_pass(run_checks: RunChecks, name: str) -> None:
    _need(name)
    found, _ = run_checks(name)
    assert found["checks"]
    errors = {check: result["error"] for check, result in found["checks"].items()}
    failed = [f"{check}: {error}" for check, error in errors.items() if error]
    assert not failed, f"{len(failed)} of {len(errors)} checks failed\n" + "\n".join(failed)


def test_every_public_function_was_called(run_checks: RunChecks) -> None:
    for name in NAMES:
        _need(name)
    results = [run_checks(name)[0] for name in NAMES]
    called = set().union(*(result["called"] for result in results))
    missing = set(results[0]["public"]) - called
    assert len(results[0]["public"]) > 60
    assert sorted(missing) == []


def _run(model: Path, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs of ONNX Runtime, sample by sample, concatenated."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    count = len(next(iter(inputs.values())))
    samples = [{name: value[i : i + 1] for name, value in inputs.items()} for i in range(count)]
    runs = [session.run(None, sample) for sample in samples]
    return [np.concatenate(parts) for parts in zip(*runs, strict=True)]


def _stored(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as arrays:
        return dict(arrays)


def _sqnr(expected: np.ndarray, found: np.ndarray) -> float:
    noise = np.sum((expected - found.astype(np.float64)) ** 2)
    return float(10 * np.log10(np.sum(expected.astype(np.float64) ** 2) / noise))


@pytest.mark.parametrize(
    "name", ["compiled", "default", "from_external_onnx", "from_external_zip", "from_memory"]
)
def test_compiled_computes_the_same(run_checks: RunChecks, assets: Path, name: str) -> None:
    folder = run_checks("compile")[1]
    inputs = _stored(folder / "inputs.npz")
    (expected,) = _run(assets / "net.onnx", inputs)
    (found,) = _run(folder / f"{name}.onnx", inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("source", ["traced_pt", "exported_pt2"])
def test_compiled_torch_computes_the_same(run_checks: RunChecks, assets: Path, source: str) -> None:
    folder = run_checks("compile")[1]
    stored = _stored(assets / "torch.npz")
    (found,) = _run(folder / f"from_{source}.onnx", {"image": stored["image"]})
    np.testing.assert_allclose(found, stored["expected"], rtol=1e-4, atol=1e-5)


def test_channels_last_moves_the_axis(run_checks: RunChecks, assets: Path) -> None:
    folder = run_checks("compile")[1]
    inputs = _stored(folder / "inputs.npz")
    (expected,) = _run(assets / "net.onnx", inputs)
    moved = {"image": np.moveaxis(inputs["image"], 1, -1)}
    (found,) = _run(folder / "channels_last.onnx", moved)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_truncated_inputs(run_checks: RunChecks, assets: Path) -> None:
    folder = run_checks("compile")[1]
    ids = np.array([[9, 0, 1, 5, 5, 2]])
    (expected,) = _run(assets / "lookup64.onnx", {"ids": ids.astype(np.int64)})
    (found,) = _run(folder / "truncated.onnx", {"ids": ids.astype(np.int32)})
    np.testing.assert_array_equal(found, expected)


def test_encodings_became_pairs(run_checks: RunChecks, assets: Path) -> None:
    folder = run_checks("compile")[1]
    compiled = folder / "from_net_aimet.onnx"
    scales = {
        float(onnx.numpy_helper.to_array(tensor).ravel()[0])
        for tensor in onnx.load(compiled).graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    }
    # The scale that the encodings give the input: 8 / 255.
    assert any(abs(scale - 8 / 255) < 1e-6 for scale in scales)
    inputs = _stored(folder / "inputs.npz")
    (expected,) = _run(assets / "net.onnx", inputs)
    assert _sqnr(expected, _run(compiled, inputs)[0]) > 15


@pytest.mark.parametrize("name", PRECISIONS)
def test_quantized_is_close(run_checks: RunChecks, assets: Path, name: str) -> None:
    folder = run_checks("quantize")[1]
    inputs = _stored(folder / "inputs.npz")
    (expected,) = _run(assets / "net.onnx", inputs)
    (found,) = _run(folder / f"{name}.onnx", inputs)
    assert PRECISIONS[name] < _sqnr(expected, found) < 120


def test_integer_chain_is_close(run_checks: RunChecks, assets: Path) -> None:
    folder = run_checks("quantize")[1]
    (expected,) = _run(assets / "net.onnx", _stored(folder / "chain_inputs.npz"))
    assert _sqnr(expected, _stored(folder / "chain_outputs.npz")["logits"]) > 18


@pytest.mark.parametrize("name", ["outputs", "compiled_outputs"])
def test_inference_is_that_of_onnx_runtime(run_checks: RunChecks, assets: Path, name: str) -> None:
    folder = run_checks("inference_profile")[1]
    (expected,) = _run(assets / "net.onnx", _stored(folder / "inputs.npz"))
    found = _stored(folder / f"{name}.npz")["logits"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_tflite_inference_is_that_of_onnx_runtime(run_checks: RunChecks, assets: Path) -> None:
    folder = run_checks("inference_profile")[1]
    (expected,) = _run(assets / "net.onnx", _stored(folder / "inputs.npz"))
    found = _stored(folder / "tflite_outputs.npz")["logits"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_integer_tflite_is_close(run_checks: RunChecks, assets: Path) -> None:
    folder = run_checks("inference_profile")[1]
    (expected,) = _run(assets / "net.onnx", _stored(folder / "inputs.npz"))
    assert _sqnr(expected, _stored(folder / "int8_outputs.npz")["logits"]) > 18


@pytest.mark.parametrize("bits", ["32", "64"])
def test_integer_inputs(run_checks: RunChecks, assets: Path, bits: str) -> None:
    folder = run_checks("inference_profile")[1]
    ids = np.array([[0, 1, 2, 3, 4, 9]], f"int{bits}")
    (expected,) = _run(assets / f"lookup{bits}.onnx", {"ids": ids})
    np.testing.assert_array_equal(_stored(folder / f"rows{bits}.npz")["rows"], expected)


def test_the_simulator_computes_as_onnx_runtime(run_checks: RunChecks, assets: Path) -> None:
    _need("qnn")
    folder = run_checks("qnn")[1]
    (expected,) = _run(assets / "net.onnx", _stored(folder / "inputs.npz"))
    # The w8a8 model as far as any w8a8 model; the float one as far as fp16 reaches.
    assert _sqnr(expected, _stored(folder / "outputs.npz")["logits"]) > PRECISIONS["w8a8"]
    assert _sqnr(expected, _stored(folder / "float_outputs.npz")["logits"]) > 50
