"""Compile options through qdq.compile: specs in the result and the file, and PTQ inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import qdq

EVERYTHING = (
    "--target_runtime onnx --output_names logits --truncate_64bit_io --truncate_64bit_tensors "
    "--quantize_io --quantize_io_type int8 --force_channel_last_input image "
    "--force_channel_last_output logits"
)


def test_specs_tell_how_to_convert(
    quantized_proto: onnx.ModelProto, images: np.ndarray, tmp_path: Path
) -> None:
    result = qdq.compile(quantized_proto, tmp_path / "q.onnx", options=EVERYTHING)
    (before,) = result.input_spec
    (after,) = result.output_spec
    assert (before.name, before.dtype, before.shape) == ("image", "int8", (1, 8, 8, 3))
    assert (after.name, after.dtype, after.shape) == ("logits", "int8", (1, 8, 8, 4))
    assert (before.zero_point, after.zero_point) == (0, -128)
    reals = images.transpose(0, 2, 3, 1) / np.float32(before.scale)
    integers = np.clip(np.rint(reals) + before.zero_point, -128, 127).astype(np.int8)
    found = qdq.run(tmp_path / "q.onnx", {"image": integers}).outputs
    assert found is not None
    logits = (np.concatenate(found["logits"]).astype(np.int32) - after.zero_point) * after.scale
    expected = qdq.run(quantized_proto, {"image": images}).outputs
    assert expected is not None
    wanted = np.concatenate(expected["scores"]).transpose(0, 2, 3, 1)
    # One step of the output's encoding, for sums that round at a tie.
    np.testing.assert_allclose(logits, wanted, atol=0.0501)
    inspected = qdq.inspect(tmp_path / "q.onnx")
    assert inspected.input_spec == result.input_spec
    assert inspected.output_spec == result.output_spec
    assert inspected.to_dict()["output_spec"][0]["scale"] == after.scale
    assert result.to_dict()["input_spec"][0]["zero_point"] == 0


def test_all_options_again_change_nothing(quantized_proto: onnx.ModelProto, tmp_path: Path) -> None:
    first, second = tmp_path / "1.onnx", tmp_path / "2.onnx"
    qdq.compile(quantized_proto, first, options=EVERYTHING)
    again = qdq.compile(first, second, options=EVERYTHING)
    assert again.changes == ()
    assert first.read_bytes() == second.read_bytes()


def test_float_edges_have_no_scale(model: Path) -> None:
    result = qdq.compile(model)
    assert [spec.scale for spec in (*result.input_spec, *result.output_spec)] == [None, None]
    assert qdq.inspect(model).input_spec == result.input_spec


def test_what_is_asked_for_and_not_done_is_a_notice(model: Path) -> None:
    notices = qdq.compile(model, options="--target_runtime onnx --quantize_io").notices
    assert [notice.split(":")[0] for notice in notices] == ["--quantize_io"] * 2


@pytest.mark.parametrize(
    ("full_type", "precision"),
    [
        ("int8", "w8a8"),
        ("int16", "w8a16"),
        ("w8a16", "w8a16"),
        ("w4a8", "w4a8"),
        ("w4a16", "w4a16"),
    ],
)
def test_quantize_full_type_is_the_quantizer_and_the_compiler(
    model: Path, data: Path, images: np.ndarray, tmp_path: Path, *, full_type: str, precision: str
) -> None:
    result = qdq.compile(
        model,
        tmp_path / "one.onnx",
        options=f"--target_runtime onnx --quantize_full_type {full_type}",
        calibration=data,
    )
    assert result.precision == precision
    assert result.report is not None
    assert result.to_dict()["report"] == result.report.to_dict()
    weights, activations = (f"int{bits}" for bits in precision.removeprefix("w").split("a"))
    qdq.quantize(model, data, tmp_path / "two.onnx", weights=weights, activations=activations)
    qdq.compile(tmp_path / "two.onnx", tmp_path / "three.onnx")
    one = qdq.run(tmp_path / "one.onnx", {"image": images}).outputs
    three = qdq.run(tmp_path / "three.onnx", {"image": images}).outputs
    assert one is not None
    assert three is not None
    np.testing.assert_array_equal(one["scores"], three["scores"])
    assert any("int16: activations become int16" in it for it in result.notices) is (
        full_type == "int16"
    )


def test_calibration_has_the_layout_of_the_model_as_given(model: Path, data: Path) -> None:
    result = qdq.compile(
        model,
        options="--quantize_full_type int8 --quantize_io --force_channel_last_input image",
        calibration=data,
    )
    (spec,) = result.input_spec
    assert (spec.dtype, spec.shape) == ("uint8", (1, 8, 8, 3))
    assert spec.scale is not None


@pytest.mark.parametrize(
    ("options", "given", "part"),
    [
        ("--quantize_full_type int8", False, "needs calibration data"),
        ("", True, "nothing uses it"),
        ("--quantize_full_type float16", True, "no float16 weights yet"),
        ("--quantize_io_type int8", False, "needs --quantize_io"),
        ("--quantize_full_type int8 --quantize_weight_type float16", True, "contradict"),
    ],
)
def test_options_that_do_not_go_together(
    model: Path, data: Path, tmp_path: Path, *, options: str, given: bool, part: str
) -> None:
    output = tmp_path / "out.onnx"
    with pytest.raises((qdq.OptionError, qdq.PrecisionError), match=part):
        qdq.compile(model, output, options=options, calibration=data if given else None)
    assert not output.exists()


def test_a_quantized_model_is_not_quantized_again(
    quantized_proto: onnx.ModelProto, data: Path
) -> None:
    with pytest.raises(qdq.ModelInvalidError, match="quantized already"):
        qdq.compile(quantized_proto, options="--quantize_full_type int8", calibration=data)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ("--output_names a,b", "2 names, and the model has 1 outputs: 'scores'"),
        ("--force_channel_last_input picture", "inputs are 'image'"),
        ("--force_channel_last_output logits", "outputs are 'scores'"),
    ],
)
def test_names_that_do_not_fit(model: Path, tmp_path: Path, options: str, part: str) -> None:
    with pytest.raises(qdq.SpecError, match=part):
        qdq.compile(model, tmp_path / "out.onnx", options=options)
    assert not (tmp_path / "out.onnx").exists()


def test_the_calibration_data_is_not_overwritten(model: Path, data: Path) -> None:
    with pytest.raises(qdq.OutputError):
        qdq.compile(model, data, options="--quantize_full_type int8", calibration=data)


@pytest.mark.parametrize("full_type", ["w4a16"])
def test_a_runtime_refuses_the_precision_it_lacks(
    model: Path, data: Path, tmp_path: Path, *, full_type: str
) -> None:
    output = tmp_path / "out.tflite"
    options = f"--quantize_full_type {full_type} --target_runtime tflite"
    with pytest.raises(qdq.PrecisionError, match=f"tflite does not have {full_type}"):
        qdq.compile(model, output, options=options, calibration=data)
    assert not output.exists()
