"""qdq.compare and qdq.profile on files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest

import qdq


@pytest.fixture
def other(tmp_path: Path, float_proto: onnx.ModelProto) -> Path:
    weight = float_proto.graph.initializer[0]
    array = onnx.numpy_helper.to_array(weight) * np.float32(1.01)
    weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
    path = tmp_path / "other.onnx"
    onnx.save(float_proto, path)
    return path


def test_a_model_equals_itself(model: Path, data: Path) -> None:
    result = qdq.compare(model, model, data)
    assert result.samples == 20
    assert [output.name for output in result.outputs] == ["scores"]
    assert result.outputs[0].metrics.exact


def test_a_difference_is_told_and_written(
    model: Path, other: Path, data: Path, images: np.ndarray, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    result = qdq.compare(model, other, data, report=report)
    left = qdq.run(model, {"image": images}).outputs
    right = qdq.run(other, {"image": images}).outputs
    assert left is not None
    assert right is not None
    signal = np.concatenate(left["scores"]).astype(np.float64)
    noise = np.concatenate(right["scores"]) - signal
    sqnr = 10 * np.log10((signal**2).sum() / (noise**2).sum())
    assert result.outputs[0].metrics.sqnr_db == pytest.approx(sqnr, abs=0.01)
    assert json.loads(report.read_text()) == json.loads(json.dumps(result.to_dict()))


def test_without_inner_tensors(model: Path, other: Path, data: Path) -> None:
    assert qdq.compare(model, other, data).tensors
    assert not qdq.compare(model, other, data, tensors=False).tensors


def test_a_report_may_not_overwrite_a_model(model: Path, other: Path, data: Path) -> None:
    before = other.read_bytes()
    with pytest.raises(qdq.OutputError, match="would overwrite"):
        qdq.compare(model, other, data, report=other)
    assert other.read_bytes() == before


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_report_goes_to_a_file_only(model: Path, data: Path, tmp_path: Path, kind: str) -> None:
    report = tmp_path / "report.json"
    if kind == "folder":
        report.mkdir()
    else:
        os.mkfifo(report)
    with pytest.raises(qdq.OutputError, match="not a regular file"):
        qdq.compare(model, model, data, report=report)
    assert not report.is_file()


def test_samples_that_do_not_fit_write_no_report(model: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    with pytest.raises(qdq.DatasetError):
        qdq.compare(model, model, {"image": np.zeros((1, 3, 8, 9), np.float32)}, report=report)
    assert not report.exists()


def test_profile_counts_what_was_asked(model: Path, data: Path) -> None:
    result = qdq.profile(model, iterations=3, threads=1)
    assert len(result.inference.times_us) == 3
    assert result.data == "random data"
    assert {node.op_type for node in result.nodes}
    document = json.loads(json.dumps(result.to_dict()))
    assert document["execution_summary"]["estimated_inference_time"] >= 0
    by_option = qdq.profile(model, options="--max_profiler_iterations 2", inputs=data)
    assert len(by_option.inference.times_us) == 2
    assert by_option.data == "given samples"


def test_profile_with_settings_of_the_runtime(model: Path) -> None:
    options = (
        "--max_profiler_iterations 2 --onnx_options "
        "intra_op_num_threads=1;graph_optimization_level=DISABLE_ALL"
    )
    plain = qdq.profile(model, iterations=2, threads=1)
    result = qdq.profile(model, options=options)
    assert result.environment["threads"] == 1
    assert result.environment["settings"] == (
        "intra_op_num_threads=1;graph_optimization_level=DISABLE_ALL"
    )
    assert plain.environment["settings"] == ""
    # Convolution and activation are one node only where they may be fused.
    assert "Relu" in [node.op_type for node in result.nodes]
    assert "Relu" not in [node.op_type for node in plain.nodes]


def test_profile_stops_after_its_time(model: Path) -> None:
    options = "--max_profiler_iterations 1000000 --max_profiler_time 0.05"
    assert 1 <= len(qdq.profile(model, options=options).inference.times_us) < 1_000_000


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (
            {"iterations": 3, "options": "--max_profiler_iterations 4"},
            "given twice: 3, and 4 by --max_profiler_iterations",
        ),
        ({"options": "--compute_unit npu"}, "NPU"),
        ({"options": "--tflite_delegates qnn"}, "--tflite_delegates"),
        ({"options": "--tflite_delegates xnnpack"}, "is for TFLite models"),
        ({"options": "--tflite_options number_of_threads=1"}, "is for TFLite models"),
        ({"options": "--range_scheme auto"}, "belongs to quantize jobs"),
    ],
)
def test_profile_refuses_options(model: Path, arguments: dict[str, object], part: str) -> None:
    with pytest.raises(qdq.OptionError) as caught:
        qdq.profile(model, **arguments)  # type: ignore[arg-type]
    assert part in str(caught.value)


def test_profile_of_bytes_that_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"")
    with pytest.raises(qdq.ModelCorruptError):
        qdq.profile(tmp_path / "bad.onnx")
