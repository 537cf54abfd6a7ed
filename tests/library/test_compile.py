"""qdq.compile to target onnx: specs, numerics, notices, refusals."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import qdq

NOTICE = "no --target_runtime given: produced ONNX"


def test_a_float_model_keeps_its_results(
    model: Path, images: np.ndarray, expected: np.ndarray, tmp_path: Path
) -> None:
    output = tmp_path / "out.onnx"
    result = qdq.compile(model, output, options="--target_runtime onnx")
    assert result.notices == ()
    assert result.precision is None
    onnx.checker.check_model(str(output), full_check=True)
    found = qdq.run(output, {"image": images}).outputs
    assert found is not None
    np.testing.assert_allclose(np.concatenate(found["scores"]), expected, rtol=1e-5, atol=1e-5)
    document = result.to_dict()
    assert document["output"] == str(output)
    assert document["target_runtime"] == "onnx"
    assert document["precision"] == "float"
    assert document["inputs"] == [{"name": "image", "dtype": "float32", "shape": (1, 3, 8, 8)}]


def test_a_default_that_may_surprise_is_told(model: Path) -> None:
    assert qdq.compile(model).notices == (NOTICE,)


def test_notices_reach_the_listener(model: Path) -> None:
    class Listener:
        heard: list[str] = []  # noqa: RUF012

        def step(self, name: str, total: int) -> None: ...

        def advance(self, units: int = 1) -> None: ...

        def notice(self, text: str) -> None:
            self.heard.append(text)

    qdq.compile(model, progress=Listener())
    assert Listener.heard == [NOTICE]


def test_a_quantized_model_keeps_precision_and_results(
    quantized_proto: onnx.ModelProto, images: np.ndarray
) -> None:
    result = qdq.compile(quantized_proto)
    assert result.precision == "w8a8"
    before = qdq.run(quantized_proto, {"image": images}).outputs
    after = qdq.run(result.model, {"image": images}).outputs
    assert before is not None
    assert after is not None
    # One step of the output's encoding, for sums that round at a tie.
    np.testing.assert_allclose(
        np.concatenate(after["scores"]), np.concatenate(before["scores"]), atol=0.0501
    )


def test_a_dynamic_dim_is_fixed_by_a_spec(
    dynamic_proto: onnx.ModelProto, tmp_path: Path, images: np.ndarray, expected: np.ndarray
) -> None:
    path = tmp_path / "dynamic.onnx"
    onnx.save(dynamic_proto, path)
    for specs in (["image:1x3x8x8"], [qdq.InputSpec("image", (1, 3, 8, 8))]):
        result = qdq.compile(path, input_specs=specs)
        assert result.inputs[0].shape == (1, 3, 8, 8)
        assert result.outputs[0].shape == (1, 4, 8, 8)
        found = qdq.run(result.model, {"image": images}).outputs
        assert found is not None
        np.testing.assert_allclose(np.concatenate(found["scores"]), expected, rtol=1e-5, atol=1e-5)


def test_specs_that_do_not_fit_tell_the_inputs(model: Path) -> None:
    with pytest.raises(qdq.SpecError) as caught:
        qdq.compile(model, input_specs=["image:1x3x9x9"])
    assert "image" in str(caught.value)


@pytest.mark.parametrize("wrong", ["image", "image:", "image:1xax3", "image:1x3:float65"])
def test_specs_that_cannot_be_read(model: Path, wrong: str) -> None:
    with pytest.raises(qdq.SpecError):
        qdq.compile(model, input_specs=[wrong])


def test_a_model_in_memory_is_not_changed(float_proto: onnx.ModelProto) -> None:
    before = float_proto.SerializeToString(deterministic=True)
    qdq.compile(float_proto)
    assert float_proto.SerializeToString(deterministic=True) == before
    graph_model = ir.from_proto(float_proto)
    nodes = [node.op_type for node in graph_model.graph]
    result = qdq.compile(graph_model)
    assert result.model is not graph_model
    assert [node.op_type for node in graph_model.graph] == nodes


@pytest.mark.parametrize(
    ("graph", "part"),
    [
        ("g (float[2] x) => (double[2] y) { y = Cast <to = 11> (x) }", "float64"),
        ("g (float[2] x) => (float[2] y) { [odd] y = acme.Frobnicate (x) }", "'odd'"),
        ("g (float[N] x) => (float[N] y) { y = Relu (x) }", "--input-spec"),
    ],
)
def test_models_that_are_not_supported(tmp_path: Path, graph: str, part: str) -> None:
    head = '<ir_version: 8, opset_import: ["" : 17, "acme" : 1]>'
    onnx.save(onnx.parser.parse_model(head + graph), tmp_path / "odd.onnx")
    with pytest.raises((qdq.UnsupportedError, qdq.SpecError)) as caught:
        qdq.compile(tmp_path / "odd.onnx", tmp_path / "out.onnx")
    assert part in str(caught.value)
    assert not (tmp_path / "out.onnx").exists()


def test_compiling_a_quantized_model_again_changes_nothing(
    quantized_proto: onnx.ModelProto, tmp_path: Path
) -> None:
    onnx.save(quantized_proto, tmp_path / "q.onnx")
    first, second = tmp_path / "1.onnx", tmp_path / "2.onnx"
    assert qdq.compile(tmp_path / "q.onnx", first).changes
    assert qdq.compile(first, second).changes == ()
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "error", "part"),
    [
        ({"options": "--target_runtime tflite"}, qdq.OutputError, "does not end in .tflite"),
        ({"options": "--target_runtime voice_ai"}, qdq.OptionError, "voice_ai runtime"),
        ({"options": "--compute_unit npu"}, qdq.OptionError, "--compute_unit"),
        ({"options": "--quantize_weight_type float16"}, qdq.OptionError, "--quantize_weight_type"),
        ({"device": "Pixel 9"}, qdq.SpecError, "The only device of this version is 'host'"),
    ],
)
def test_refusals_write_nothing(
    model: Path, tmp_path: Path, arguments: dict[str, str], error: type[Exception], part: str
) -> None:
    output = tmp_path / "out.onnx"
    output.write_bytes(b"before")
    with pytest.raises(error) as caught:
        qdq.compile(model, output, **arguments)
    assert part in str(caught.value)
    assert output.read_bytes() == b"before"


def test_the_host_is_a_device(model: Path) -> None:
    assert qdq.compile(model, device="host").device == qdq.compile(model).device != "host"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("tiny.onnx", "would overwrite"),
        ("out.tflite", "does not end in .onnx"),
        ("none/out.onnx", "does not exist"),
    ],
)
def test_outputs_that_are_refused(model: Path, tmp_path: Path, name: str, part: str) -> None:
    before = model.read_bytes()
    with pytest.raises(qdq.OutputError) as caught:
        qdq.compile(model, tmp_path / name)
    assert part in str(caught.value)
    assert model.read_bytes() == before


def test_the_weights_of_the_input_are_not_overwritten(
    float_proto: onnx.ModelProto, tmp_path: Path
) -> None:
    onnx.save(
        float_proto,
        tmp_path / "in.onnx",
        save_as_external_data=True,
        location="out.onnx.data",
        size_threshold=0,
    )
    with pytest.raises(qdq.OutputError, match=r"weights of the input in 'out\.onnx\.data'"):
        qdq.compile(tmp_path / "in.onnx", tmp_path / "out.onnx")


def test_torchscript(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        # TorchScript is deprecated, and is what users have.
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
        traced = torch.jit.trace(module, torch.zeros(1, 3, 8, 8))
        torch.jit.save(traced, tmp_path / "m.pt")
    result = qdq.compile(tmp_path / "m.pt", input_specs={"picture": (1, 3, 8, 8)})
    assert [tensor.name for tensor in result.inputs] == ["picture"]
    picture = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    found = qdq.run(result.model, {"picture": picture}).outputs
    assert found is not None
    expected = module(torch.from_numpy(picture)).detach().numpy()
    np.testing.assert_allclose(next(iter(found.values()))[0], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(qdq.UnsupportedError, match="is TorchScript, and only ONNX"):
        qdq.inspect(tmp_path / "m.pt")
