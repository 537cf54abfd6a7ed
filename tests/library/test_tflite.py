"""The library's functions on ``.tflite`` files, told by content whatever they are called."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import qdq
from litert_files import models


@pytest.fixture
def conv(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    file, weights = models.conv(size=4)
    return file.save(tmp_path / "no_suffix"), weights


@pytest.fixture
def images() -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(3).normal(size=(5, 4, 4, 3)).astype(np.float32)}


def test_run(conv: tuple[Path, dict[str, np.ndarray]], images: dict[str, np.ndarray]) -> None:
    options = "--tflite_options number_of_threads=1 --tflite_delegates xnnpack"
    done = qdq.run(conv[0], images, options=options)
    assert done.samples == 5 and done.outputs is not None
    assert [array.shape for array in done.outputs["logits"]] == [(1, 5)] * 5


def test_run_to_a_file(conv: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    with pytest.raises(qdq.DatasetError):
        qdq.run(conv[0], {"image": np.ones((1, 3, 4, 4), np.float32)}, tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()
    qdq.run(conv[0], {"image": np.ones((2, 4, 4, 3), np.float32)}, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as found:
        assert found["logits"].shape == (2, 5)


def test_inspect(tmp_path: Path) -> None:
    found = qdq.inspect(models.quantized_conv().save(tmp_path / "m"))
    assert (found.format, found.ops) == ("tflite", {"CONV_2D": 1, "SOFTMAX": 1})
    assert found.quantization.precision == "w8a8"
    assert found.quantization.weights == {"int32": 1, "int8": 1}
    (image,) = found.input_spec
    assert (image.name, image.dtype, image.shape) == ("image", "int8", (1, 4, 4, 2))
    assert (image.scale, image.zero_point) == (pytest.approx(0.1), -3)
    assert [it.scale for it in found.output_spec] == [0.25, 1 / 256]
    assert (found.parameters, found.parameter_bytes) == (9, 18)
    assert found.hazards == ()
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(("name", "kind"), [("MyOp", "custom_ops"), ("FlexConv2D", "flex_ops")])
def test_inspect_names_custom_ops(tmp_path: Path, name: str, kind: str) -> None:
    found = qdq.inspect(models.custom(name).save(tmp_path / "m"))
    assert [(it.kind, it.detail) for it in found.hazards] == [(kind, name)]
    assert found.ops == {name: 1}


def test_inspect_names_open_dimensions(tmp_path: Path) -> None:
    found = qdq.inspect(models.add(dynamic=True).save(tmp_path / "m"))
    (hazard,) = found.hazards
    assert (hazard.kind, hazard.detail) == ("dynamic_dims", "'left', 'right', 'total'")
    assert found.inputs[0].shape == (None, 4)


def test_profile(conv: tuple[Path, dict[str, np.ndarray]]) -> None:
    found = qdq.profile(conv[0], options="--max_profiler_iterations 3 --compute_unit cpu")
    assert len(found.inference.times_us) == 3
    assert "conv, relu" in {node.source for node in found.nodes}
    one = qdq.profile(conv[0], iterations=1, options="--tflite_options number_of_threads=1")
    assert one.environment["threads"] == 1


def test_compare_with_onnx(
    conv: tuple[Path, dict[str, np.ndarray]], images: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path, weights = conv
    same = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        net (float[1,4,4,3] image) => (float[1,5] logits) {
            t = Transpose <perm = [0,3,1,2]> (image)
            p = Conv <pads = [1,1,1,1]> (t, w, b)
            r = Relu(p)
            m = GlobalAveragePool(r)
            f = Flatten(m)
            logits = Gemm <transB = 1> (f, v, c)
        }"""
    )
    arrays = {**weights, "w": np.moveaxis(weights["w"], -1, 1)}
    for name, array in arrays.items():
        tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        same.graph.initializer.append(tensor)
    report = tmp_path / "report.json"
    for a, b in ((same, path), (path, same)):
        found = qdq.compare(a, b, images, report=report)
        assert found.samples == 5 and found.tensors == () and found.skipped == ()
        (row,) = found.outputs
        assert row.name == "logits" and row.metrics.sqnr_db > 90
    assert json.loads(report.read_text())["outputs"][0]["name"] == "logits"


def test_compare_integers_with_the_real_numbers_they_stand_for(tmp_path: Path) -> None:
    path = models.identity("int8", (1, 4), scale=0.5, zero_point=-3).save(tmp_path / "m")
    reference = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        net (float[1,4] x) => (float[1,4] y) { y = Identity(x) }"""
    )
    samples = {"x": np.array([[-2.0, 0.0, 0.5, 10.0], [0.2, 60.0, -62.5, 1.0]], np.float32)}
    (row,) = qdq.compare(reference, path, samples).outputs
    # 0.2 lies between two values of the grid; all the others are on it.
    assert row.metrics.max_abs == pytest.approx(0.2, abs=1e-6)
    (row,) = qdq.compare(path, path, {"x": np.array([[1, 2, 3, 4]], np.int8)}).outputs
    assert row.metrics.exact and row.dtype == "int8"


def test_quantize_and_compile_refuse_it(
    conv: tuple[Path, dict[str, np.ndarray]], images: dict[str, np.ndarray]
) -> None:
    with pytest.raises(qdq.UnsupportedError, match="TFLite"):
        qdq.quantize(conv[0], images)
    with pytest.raises(qdq.UnsupportedError, match="TFLite"):
        qdq.compile(conv[0])


@pytest.fixture
def quantized(quantized_proto: onnx.ModelProto, tmp_path: Path) -> Path:
    onnx.save(quantized_proto, tmp_path / "q.onnx")
    return tmp_path / "q.onnx"


def _images(count: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {"image": rng.normal(size=(count, 3, 8, 8)).astype(np.float32)}


def test_compile(quantized: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.tflite"
    done = qdq.compile(quantized, target, options="--target_runtime tflite")
    assert (done.target_runtime, done.precision, done.output) == ("tflite", "w8a8", target)
    assert [(it.name, it.dtype, it.shape) for it in done.inputs] == [
        ("image", "float32", (1, 3, 8, 8))
    ]
    assert done.verification is not None and not done.verification.failures
    assert any("Verified" in notice for notice in done.notices)
    form = json.loads(json.dumps(done.to_dict(), allow_nan=False))
    assert form["verification"]["passed"]
    found = qdq.inspect(target)
    assert found.ops["CONV_2D"] == 1 and found.quantization.precision == "w8a8"
    (row,) = qdq.compare(quantized, target, _images()).outputs
    assert row.metrics.sqnr_db > 25
    assert hashlib.sha256(quantized.read_bytes()).hexdigest().encode() in target.read_bytes()


def test_compile_with_integer_edges(quantized: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.tflite"
    options = (
        "--target_runtime tflite --quantize_io --force_channel_last_input image "
        "--force_channel_last_output best --output_names best"
    )
    done = qdq.compile(quantized, target, options=options)
    (image,), (best,) = done.input_spec, done.output_spec
    assert (image.dtype, image.shape) == ("int8", (1, 8, 8, 3))
    # uint8 with the zero point 128 is int8 with 0.
    assert (image.scale, image.zero_point) == (pytest.approx(0.03), 0)
    assert (best.name, best.dtype, best.shape) == ("best", "int8", (1, 8, 8, 4))
    assert (best.scale, best.zero_point) == (pytest.approx(0.05), -128)
    assert qdq.inspect(target).input_spec == done.input_spec
    image = np.clip(np.rint(_images()["image"] / np.float32(0.03)), -128, 127).astype(np.int8)
    outputs = qdq.run(target, {"image": np.moveaxis(image, 1, -1)}).outputs
    expected = qdq.run(quantized, _images()).outputs
    assert outputs is not None and expected is not None
    for found, wanted in zip(outputs["best"], expected["scores"], strict=True):
        real = (np.moveaxis(found, -1, 1).astype(np.float32) + 128) * np.float32(0.05)
        assert np.abs(real - wanted).max() <= 0.0501


def test_integer_outputs_are_dequantized_when_asked(quantized: Path, tmp_path: Path) -> None:
    target = tmp_path / "net.tflite"
    made = qdq.compile(quantized, target, options="--target_runtime tflite --quantize_io")
    (output,) = made.output_spec
    (entry,) = made.input_spec
    zeros = {entry.name: [np.full(entry.shape, entry.zero_point, entry.dtype)]}
    (integers,) = qdq.run(target, zeros).outputs.values()

    result = qdq.run(target, zeros, options="--dequantize_outputs")

    (real,) = result.outputs.values()
    assert result.tensors[0].dtype == "float32"
    wanted = (integers[0].astype(np.float32) - output.zero_point) * np.float32(output.scale)
    np.testing.assert_allclose(real[0], wanted, rtol=1e-6)


def test_compile_and_quantize_in_one(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.tflite"
    done = qdq.compile(
        model,
        target,
        options="--target_runtime tflite --quantize_full_type int8",
        calibration=_images(8),
    )
    assert done.precision == "w8a8" and done.report is not None
    assert done.verification is not None
    assert done.verification.outputs[0].basis == "float"


@pytest.fixture
def made_here(model: Path, tmp_path: Path) -> Path:
    qdq.quantize(model, _images(8), tmp_path / "made_here.onnx")
    return tmp_path / "made_here.onnx"


def test_compile_is_verified_against_the_float_model(
    model: Path, made_here: Path, tmp_path: Path
) -> None:
    done = qdq.compile(
        made_here,
        tmp_path / "out.tflite",
        options="--target_runtime tflite --output_names best",
        float_model=model,
        samples=_images(3),
    )
    assert done.verification is not None
    (output,) = done.verification.outputs
    assert (output.output, output.basis, output.samples) == ("best", "float", 3)
    assert output.tflite_db == pytest.approx(output.qdq_db, abs=1)


@pytest.mark.parametrize(
    ("options", "given", "reason"),
    [
        ("--target_runtime onnx", ("float_model",), "the runtime onnx is not verified"),
        ("--target_runtime tflite", ("float_model", "no_verify"), "verification is off"),
        ("--target_runtime tflite", ("other",), "The float model has the inputs"),
        (
            "--target_runtime tflite --quantize_full_type int8",
            ("samples", "calibration"),
            "so is calibration data",
        ),
    ],
)
def test_what_cannot_verify_is_refused(
    options: str, given: tuple[str, ...], reason: str, model: Path, made_here: Path, tmp_path: Path
) -> None:
    other = onnx.load(model)
    other.graph.input[0].name = other.graph.node[0].input[0] = "else"
    words = {
        "float_model": {"float_model": model},
        "other": {"float_model": other},
        "samples": {"samples": _images(2)},
        "calibration": {"calibration": _images(2)},
        "no_verify": {"verify": False},
    }
    chosen = {key: value for word in given for key, value in words[word].items()}
    with pytest.raises((qdq.OptionError, qdq.SpecError), match=reason):
        qdq.compile(made_here, tmp_path / "out.tflite", options=options, **chosen)


def test_a_float_model_is_not_verified_against_another(model: Path, tmp_path: Path) -> None:
    with pytest.raises(qdq.OptionError, match="is float itself"):
        qdq.compile(
            model, tmp_path / "o.tflite", options="--target_runtime tflite", float_model=model
        )


def test_compile_without_verification(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.tflite"
    done = qdq.compile(model, target, options="--target_runtime tflite", verify=False)
    assert done.verification is None and done.to_dict()["verification"] is None
    assert target.exists()


def test_a_model_that_fails_verification_is_not_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qdq.target.tflite.verify import Verification

    def wrong(*_: object, **__: object) -> Verification:
        return Verification((), (), {"XNNPACK": "it is wrong"}, 1)

    monkeypatch.setattr("qdq.target.tflite.verify.verify_tflite", wrong)
    target = tmp_path / "out.tflite"
    with pytest.raises(qdq.VerificationError, match="it is wrong"):
        qdq.compile(model, target, options="--target_runtime tflite")
    assert not target.exists()
