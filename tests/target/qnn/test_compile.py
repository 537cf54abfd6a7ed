"""Context binaries and DLCs: what they are for, what they are called, what they compute."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import qdq
from qdq.library import CompileResult
from qnn_files import RB3, S24, S25, float_net, images, qdq_net

Compiled = Callable[..., CompileResult]
# What an output may differ by from ONNX Runtime, in steps of its grid: rounding in accumulators.
LSB = {"w8a8": 2, "w8a16": 40, "w4a16": 40}
STEPS = {"w8a8": 255, "w8a16": 65535, "w4a16": 65535}
RANGE = 8.0


def by_onnxruntime(model: Path, samples: list[np.ndarray]) -> list[np.ndarray]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return [session.run(None, {"image": sample})[0] for sample in samples]


@pytest.mark.parametrize("device", [S24, S25])
@pytest.mark.parametrize("precision", ["w8a8", "w8a16", "w4a16"])
def test_a_quantized_model_computes_as_onnxruntime_does(
    tmp_path: Path, compiled: Compiled, precision: str, device: str
) -> None:
    model = qdq_net(tmp_path, precision)
    done = compiled(model, device=device)
    assert done.precision == precision
    assert done.output is not None
    found = qdq.run(done.output, {"image": images()}, device=device)
    assert found.runtime == "Qualcomm HTP simulator, QAIRT 2.51"
    assert found.outputs is not None
    tolerance = LSB[precision] * RANGE / STEPS[precision]
    for ours, theirs in zip(found.outputs["scores"], by_onnxruntime(model, images()), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=tolerance * 1.001)
        assert np.ptp(theirs) > 20 * tolerance


def test_a_float_model_computes_in_float16(tmp_path: Path, compiled: Compiled) -> None:
    model = float_net(tmp_path)
    done = compiled(model)
    assert done.qnn is not None and done.precision is None
    assert done.qnn["precision"] == "float16"
    assert done.output is not None
    found = qdq.run(done.output, {"image": images()}).outputs
    assert found is not None
    expected = by_onnxruntime(model, images())
    np.testing.assert_allclose(np.stack(found["scores"]), np.stack(expected), atol=5e-3)
    # It is no float32: that would agree to the last bits.
    assert np.abs(np.stack(found["scores"]) - np.stack(expected)).max() > 1e-6


def test_a_relu_that_the_quantizer_does_not_absorb(tmp_path: Path, compiled: Compiled) -> None:
    model = qdq_net(tmp_path, "w8a16", symmetric=True)
    done = compiled(model)
    assert any("same grid before it" in change for change in done.changes)
    assert done.output is not None
    found = qdq.run(done.output, {"image": images()}).outputs
    assert found is not None
    expected = np.stack(by_onnxruntime(model, images()))
    np.testing.assert_allclose(np.stack(found["scores"]), expected, atol=0.01)


@pytest.mark.parametrize(
    ("device", "soc", "chipset", "arch"), [(S24, 57, "SM8650", "v75"), (S25, 69, "SM8750", "v79")]
)
def test_what_is_read_back(
    tmp_path: Path, compiled: Compiled, device: str, soc: int, chipset: str, arch: str
) -> None:
    done = compiled(qdq_net(tmp_path), "--quantize_io --qnn_graph_name my_net", device=device)
    assert done.output is not None and done.qnn is not None
    qnn = done.qnn
    assert (qnn["soc_model"], qnn["chipset"], qnn["hexagon"]) == (soc, chipset, arch)
    assert qnn["graph_names"] == ["my_net"]
    assert qnn["qairt_version"] == "2.51.0" and qnn["build_id"].startswith("v2.51.0.")
    data = done.output.read_bytes()
    assert (qnn["sha256"], qnn["size"]) == (hashlib.sha256(data).hexdigest(), len(data))
    (image,), (scores,) = done.input_spec, done.output_spec
    assert (image.name, image.dtype, image.shape) == ("image", "uint8", (1, 3, 8, 8))
    assert image.scale == pytest.approx(4 / 255) and image.zero_point == 128
    assert (scores.dtype, scores.zero_point) == ("uint8", 128)
    assert qnn["op_counts"]["Conv2d"] == 1
    assert qnn["prepare_us"]["Graph Optimizations"] > 0
    json.dumps(done.to_dict(), allow_nan=False)
    seen = qdq.inspect(done.output)
    assert seen.format == "qnn_context_binary" and seen.qnn is not None
    assert seen.qnn["sha256"] == qnn["sha256"]
    assert (seen.input_spec, seen.output_spec) == (done.input_spec, done.output_spec)


def test_settings_reach_the_binary(tmp_path: Path, compiled: Compiled) -> None:
    model = qdq_net(tmp_path)
    done = compiled(
        model,
        "--qnn_context_binary_vtcm 4 --qnn_context_binary_optimization_level 3",
    ).qnn
    assert done is not None
    assert (done["vtcm_mb"], done["optimization_level"]) == (4, 3)
    same = compiled(
        model,
        "--qnn_options default_graph_htp_vtcm_size=4;default_graph_htp_optimizations=O=3;"
        "context_enable_graphs=tiny",
        name="same.bin",
    ).qnn
    assert same is not None
    assert same["sha256"] == done["sha256"]


def test_the_same_bytes_in_fresh_processes(tmp_path: Path) -> None:
    model = qdq_net(tmp_path, "w8a16")
    digests = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        output = tmp_path / name / "x.bin"
        words = ["compile", str(model), "-o", str(output), "--device", S24]
        words += ["--options", "--target_runtime qnn_context_binary"]
        subprocess.run([sys.executable, "-m", "qdq", *words], check=True, capture_output=True)
        digests.add(hashlib.sha256(output.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_one_binary_for_several_devices(tmp_path: Path, compiled: Compiled) -> None:
    done = compiled(qdq_net(tmp_path), device=[S25, S24])
    assert done.qnn is not None and done.qnn["chipset"] == "SM8650"
    assert "the oldest of their chips" in " ".join(done.notices)


@pytest.mark.parametrize("name", ["out.onnx", "out.zip"])
def test_precompiled_onnx(tmp_path: Path, name: str) -> None:
    model = qdq_net(tmp_path)
    options = "--target_runtime precompiled_qnn_onnx"
    done = qdq.compile(model, tmp_path / name, device=S24, options=options)
    folder = tmp_path / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(folder) as archive:
            assert archive.namelist() == [
                "model.onnx/",
                "model.onnx/model.onnx",
                "model.onnx/model_qnn.bin",
            ]
            archive.extractall(tmp_path / "unpacked")
        folder = tmp_path / "unpacked" / "model.onnx"
    assert sorted(it.name for it in folder.iterdir()) == ["model.onnx", "model_qnn.bin"]
    (node,) = onnx.load(folder / "model.onnx").graph.node
    assert node.op_type == "EPContext"
    seen = qdq.inspect(folder)
    assert seen.format == "precompiled_qnn_onnx"
    assert seen.input_spec == done.input_spec
    found = qdq.run(folder, {"image": images()}).outputs
    assert found is not None
    expected = np.stack(by_onnxruntime(model, images()))
    np.testing.assert_allclose(np.stack(found["scores"]), expected, atol=2.01 * RANGE / 255)


def test_a_binary_becomes_onnx(tmp_path: Path, compiled: Compiled) -> None:
    binary = compiled(qdq_net(tmp_path)).output
    assert binary is not None
    done = qdq.compile(binary, tmp_path / "wrapped.onnx")
    assert done.target_runtime == "precompiled_qnn_onnx" and done.qnn is not None
    assert (tmp_path / "wrapped.onnx" / "model_qnn.bin").read_bytes() == binary.read_bytes()
    with pytest.raises(qdq.OptionError, match="compiled already"):
        qdq.compile(binary, tmp_path / "x.onnx", options="--quantize_io")
    with pytest.raises(qdq.SpecError, match="has SM8750"):
        qdq.compile(binary, tmp_path / "x.onnx", device=S25)
    assert not (tmp_path / "x.onnx").exists()


def test_a_dlc_and_its_source(tmp_path: Path) -> None:
    model = qdq_net(tmp_path)
    options = "--target_runtime qnn_dlc --qnn_graph_name net_a"
    done = qdq.compile(model, tmp_path / "m.dlc", device=S24, options=options)
    assert done.source == tmp_path / "m.source.onnx" and done.source.is_file()
    assert done.qnn is not None and done.qnn["graph_names"] == ["net_a"]
    with zipfile.ZipFile(tmp_path / "m.dlc") as archive:
        assert "model" in archive.namelist()
    seen = qdq.inspect(tmp_path / "m.dlc")
    assert (seen.format, seen.quantization.precision) == ("qnn_dlc", "w8a8")
    result = qdq.run(tmp_path / "m.dlc", {"image": images()}, device=S24)
    assert any("DLC cannot be run by itself" in text for text in result.notices)
    assert result.outputs is not None
    expected = np.stack(by_onnxruntime(model, images()))
    found = np.stack(result.outputs["scores"])
    np.testing.assert_allclose(found, expected, atol=2.01 * RANGE / 255)


def test_a_chip_without_float16_refuses_float(tmp_path: Path, compiled: Compiled) -> None:
    with pytest.raises(qdq.UnsupportedError, match=r"QCS6490 \(Hexagon v68\) has no float16"):
        compiled(float_net(tmp_path), device=RB3)
    assert compiled(qdq_net(tmp_path), device=RB3).qnn is not None


@pytest.mark.parametrize("wide", ["g", "c", "scores"])
def test_widths_that_meet_are_converted(tmp_path: Path, compiled: Compiled, wide: str) -> None:
    """The compiler refuses to fall back to the CPU: all of it runs on HTP."""
    source = float_net(tmp_path)
    model = onnx.load(source)
    for node in model.graph.node:
        node.name = node.output[0]
    onnx.save(model, source)
    mixed = tmp_path / "mixed.onnx"
    samples = {"image": np.concatenate(images())}
    qdq.quantize(source, samples, mixed, options=f"--override {wide}=int16")
    assert {"uint8", "uint16"} <= set(qdq.inspect(mixed).quantization.activations)
    done = compiled(mixed)
    assert done.output is not None
    found = qdq.run(done.output, {"image": images()}).outputs
    assert found is not None
    expected = by_onnxruntime(mixed, images())
    # One step of an 8-bit tensor before the last op may turn; steps of the output tell how far.
    step = np.ptp(expected) / 255
    for ours, theirs in zip(found["scores"], expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=3 * step)
