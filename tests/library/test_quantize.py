"""qdq.quantize: files in, files out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import qdq


@pytest.mark.parametrize(
    ("weights", "activations", "precision", "least_db"),
    [
        ("int8", "int8", "w8a8", 25.0),
        ("int8", "int16", "w8a16", 30.0),
        ("int4", "int8", "w4a8", 12.0),
        ("int4", "int16", "w4a16", 12.0),
        ("int16", "int16", "w16a16", 60.0),
    ],
)
def test_a_quantized_model_is_close_to_the_float_one(
    model: Path,
    data: Path,
    images: np.ndarray,
    expected: np.ndarray,
    tmp_path: Path,
    *,
    weights: str,
    activations: str,
    precision: str,
    least_db: float,
) -> None:
    output, report = tmp_path / "out.onnx", tmp_path / "report.json"
    result = qdq.quantize(
        model, data, output, weights=weights, activations=activations, report=report
    )
    assert result.precision.name == precision
    onnx.checker.check_model(str(output), full_check=True)
    assert qdq.inspect(output).quantization.precision == precision
    found = qdq.run(output, {"image": images}).outputs
    assert found is not None
    noise = np.concatenate(found["scores"]) - expected
    assert 10 * np.log10((expected**2).sum() / (noise**2).sum()) > least_db
    document = json.loads(json.dumps(result.to_dict()))
    assert document["output"] == str(output)
    assert document["report_files"] == [str(report)]
    assert document["report"] == json.loads(report.read_text())


def test_in_memory(float_proto: onnx.ModelProto, images: np.ndarray) -> None:
    before = float_proto.SerializeToString(deterministic=True)
    result = qdq.quantize(float_proto, {"image": images}, options="--range_scheme min_max")
    assert result.output is None
    assert result.options.get_text("range_scheme") == "min_max"
    assert qdq.inspect(result.model).quantization.precision == "w8a8"
    assert float_proto.SerializeToString(deterministic=True) == before


def test_a_graph_in_memory_is_not_changed(float_proto: onnx.ModelProto, images: np.ndarray) -> None:
    graph_model = ir.from_proto(float_proto)
    qdq.quantize(graph_model, {"image": images})
    assert ir.to_proto(graph_model).SerializeToString(deterministic=True) == ir.to_proto(
        ir.from_proto(float_proto)
    ).SerializeToString(deterministic=True)


def test_reports_by_suffix(model: Path, data: Path, tmp_path: Path) -> None:
    page, document = tmp_path / "report.HTML", tmp_path / "report.txt"
    result = qdq.quantize(model, data, report=[page, document])
    assert result.report_files == (page, document)
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert "Histogram of image" in page.read_text()
    assert json.loads(document.read_text()) == json.loads(json.dumps(result.report.to_dict()))


def test_figures_are_made_for_pages_alone(model: Path, data: Path, tmp_path: Path) -> None:
    assert qdq.quantize(model, data, report=tmp_path / "report.json").report.figures is None
    assert qdq.quantize(model, data).report_files == ()


def test_two_reports_in_one_file_are_refused(model: Path, data: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    with pytest.raises(qdq.OutputError, match="would overwrite"):
        qdq.quantize(model, data, report=[page, page])
    assert not page.exists()


def test_few_samples_are_noticed(float_proto: onnx.ModelProto, images: np.ndarray) -> None:
    result = qdq.quantize(float_proto, {"image": images[:1]})
    assert any("1 sample" in notice for notice in result.notices)


@pytest.mark.parametrize(
    ("arguments", "error", "part"),
    [
        ({"weights": "int16"}, qdq.PrecisionError, "w16a8"),
        (
            {"weights": "int4", "activations": "int16", "options": "--quantize_target tflite"},
            qdq.PrecisionError,
            "w4a16",
        ),
        (
            {"weights": "int16", "activations": "int16", "options": "--quantize_target tflite"},
            qdq.PrecisionError,
            "w16a16",
        ),
        ({"weights": "float16"}, qdq.PrecisionError, "'float16' is not a dtype"),
        ({"options": "--lite_mp percentage=101"}, qdq.OptionError, "percentage"),
        ({"options": "--range_scheme best"}, qdq.OptionError, "auto, mse_minimizer, min_max"),
    ],
)
def test_refusals_write_nothing(
    model: Path,
    data: Path,
    tmp_path: Path,
    *,
    arguments: dict[str, str],
    error: type[Exception],
    part: str,
) -> None:
    output = tmp_path / "out.onnx"
    output.write_bytes(b"before")
    with pytest.raises(error) as caught:
        qdq.quantize(model, data, output, report=tmp_path / "report.json", **arguments)
    assert part in str(caught.value)
    assert output.read_bytes() == b"before"
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.onnx", "data.npz", "out.onnx"}


def test_a_model_that_is_quantized_already(
    quantized_proto: onnx.ModelProto, images: np.ndarray
) -> None:
    with pytest.raises(qdq.ModelInvalidError, match="quantized already"):
        qdq.quantize(quantized_proto, {"image": images})


def test_samples_that_do_not_fit(model: Path) -> None:
    with pytest.raises(qdq.DatasetError, match="picture"):
        qdq.quantize(model, {"picture": np.zeros((1, 3, 8, 8), np.float32)})


@pytest.mark.parametrize("kind", ["output", "report"])
def test_inputs_are_never_overwritten(model: Path, data: Path, tmp_path: Path, kind: str) -> None:
    before = model.read_bytes()
    output = model if kind == "output" else tmp_path / "out.onnx"
    report = model if kind == "report" else None
    with pytest.raises(qdq.OutputError, match="would overwrite"):
        qdq.quantize(model, data, output, report=report)
    assert model.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.onnx", "data.npz"}
