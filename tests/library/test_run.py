"""qdq.run: outputs against the reference, files, refusals."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import qdq
from qdq.base.errors import OptionError
from qdq.base.progress import Progress
from qdq.dataset import open_samples

INTEGERS = """
<ir_version: 8, opset_import: ["" : 17]>
integers (uint8[1,4] x) => (DTYPE[1,4] y, int64[1,4] index, float[1,4] real)
<float s = {0.1}, uint8 z = {7}, float sy = {0.025}, DTYPE zy = {ZERO}>
{
  real = DequantizeLinear (x, s, z)
  y = QuantizeLinear (real, sy, zy)
  index = Cast <to = 7> (real)
}
"""


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_a_file_holds_every_output(
    model: Path, data: Path, expected: np.ndarray, tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / f"out{suffix}"
    result = qdq.run(model, data, output)
    assert result.outputs is None
    assert json.loads(json.dumps(result.to_dict())) == {
        "output": str(output),
        "samples": 20,
        "outputs": [{"name": "scores", "dtype": "float32", "shape": [1, 4, 8, 8]}],
        "runtime": f"ONNX Runtime {metadata.version('onnxruntime')}",
        "notices": [],
    }
    with open_samples(output) as samples:
        found = np.concatenate([sample["scores"] for sample in samples])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_outputs_in_memory(
    float_proto: onnx.ModelProto, images: np.ndarray, expected: np.ndarray
) -> None:
    for source in (float_proto, ir.from_proto(float_proto)):
        result = qdq.run(source, {"image": images})
        assert result.output is None
        assert result.outputs is not None
        found = np.concatenate(result.outputs["scores"])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_threads_do_not_change_much(model: Path, images: np.ndarray, expected: np.ndarray) -> None:
    result = qdq.run(model, {"image": images}, threads=1)
    assert result.outputs is not None
    np.testing.assert_allclose(
        np.concatenate(result.outputs["scores"]), expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("out.csv", "does not end in .npz or .h5"),
        ("out", "does not end in .npz or .h5"),
        ("none/out.npz", "does not exist"),
        ("data.npz", "would overwrite"),
    ],
)
def test_outputs_that_are_refused(
    model: Path, data: Path, tmp_path: Path, name: str, part: str
) -> None:
    before = data.read_bytes()
    with pytest.raises(qdq.OutputError) as caught:
        qdq.run(model, data, tmp_path / name)
    assert part in str(caught.value)
    assert data.read_bytes() == before


@pytest.mark.parametrize("link", ["symbolic", "hard"])
def test_an_output_that_is_an_input_by_another_name(
    model: Path, data: Path, tmp_path: Path, link: str
) -> None:
    other = tmp_path / "other.npz"
    if link == "symbolic":
        other.symlink_to(data)
    else:
        other.hardlink_to(data)
    with pytest.raises(qdq.OutputError, match="would overwrite"):
        qdq.run(model, data, other)


def test_an_output_inside_the_input_folder(model: Path, images: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    np.save(folder / "image.npy", images)
    with pytest.raises(qdq.OutputError, match="would overwrite"):
        qdq.run(model, folder, folder / "out.npz")


@pytest.mark.parametrize(
    ("arrays", "part"),
    [
        ({"picture": np.zeros((2, 3, 8, 8), np.float32)}, "image"),
        ({"image": np.zeros((2, 3, 8, 8), np.int64)}, "int64"),
        ({"image": np.zeros((2, 3, 8, 9), np.float32)}, "1x3x8x9"),
        ({"image": np.full((2, 3, 8, 8), np.nan, np.float32)}, "NaN"),
    ],
)
def test_samples_that_do_not_fit_write_nothing(
    model: Path, tmp_path: Path, arrays: dict[str, np.ndarray], part: str
) -> None:
    output = tmp_path / "out.npz"
    output.write_bytes(b"before")
    with pytest.raises(qdq.DatasetError) as caught:
        qdq.run(model, arrays, output)
    assert part in str(caught.value)
    assert output.read_bytes() == b"before"
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.onnx", "out.npz"}


def test_a_file_that_is_no_model(tmp_path: Path, data: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"not a model at all")
    with pytest.raises(qdq.ModelCorruptError):
        qdq.run(tmp_path / "bad.onnx", data)


def test_a_missing_model(tmp_path: Path, data: Path) -> None:
    with pytest.raises(qdq.ModelCorruptError, match=r"none\.onnx"):
        qdq.run(tmp_path / "none.onnx", data)


class Notices:
    """A Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def step(self, name: str, total: int) -> None:
        pass

    def advance(self, units: int = 1) -> None:
        pass

    def notice(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture(params=[("uint8", 3), ("int8", -5), ("uint16", 1000), ("int16", -2)])
def integers(request: pytest.FixtureRequest) -> onnx.ModelProto:
    dtype, zero = request.param
    text = INTEGERS.replace("DTYPE", dtype).replace("ZERO", str(zero))
    return onnx.parser.parse_model(text.replace(": 17", ": 21") if "16" in dtype else text)


def test_outputs_are_dequantized_when_asked(integers: onnx.ModelProto, tmp_path: Path) -> None:
    x = np.array([[0, 7, 100, 255]], np.uint8)
    feed = {"x": x}
    raw = qdq.run(integers, feed)
    assert raw.outputs is not None
    initial = {it.name: onnx.numpy_helper.to_array(it) for it in integers.graph.initializer}
    assert raw.outputs["y"][0].dtype == initial["zy"].dtype
    notices: Progress = Notices()
    real = qdq.run(integers, feed, options="--dequantize_outputs", progress=notices)
    assert real.outputs is not None
    assert "'y' as float32" in notices.texts[0]  # type: ignore[attr-defined]
    dequantize = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 21]>\n'
        f"dq ({initial['zy'].dtype}[1,4] y) => (float[1,4] r)\n"
        f"<float sy = {{0.025}}, {initial['zy'].dtype} zy = {{{initial['zy']}}}>\n"
        "{ r = DequantizeLinear (y, sy, zy) }"
    )
    reference = onnx.reference.ReferenceEvaluator(dequantize)
    (expected,) = reference.run(None, {"y": raw.outputs["y"][0]})
    (found,) = real.outputs["y"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    # What is no quantized number stays as it is.
    np.testing.assert_array_equal(real.outputs["index"][0], raw.outputs["index"][0])
    assert real.outputs["index"][0].dtype == np.int64
    assert [it.dtype for it in real.tensors] == ["float32", "int64", "float32"]
    file = tmp_path / "out.h5"
    qdq.run(integers, feed, file, options="--dequantize_outputs true")
    with open_samples(file) as samples:
        np.testing.assert_array_equal(samples[0]["y"], expected)


def test_nothing_to_dequantize_is_told(model: Path, data: Path) -> None:
    notices = Notices()
    result = qdq.run(model, data, options="--dequantize_outputs", progress=notices)
    assert result.tensors[0].dtype == "float32"
    assert "no output of the model is a quantized integer" in notices.texts[0]


def test_units_that_are_not_there_are_told(model: Path, data: Path) -> None:
    notices = Notices()
    qdq.run(model, data, options="--compute_unit gpu,cpu", progress=notices)
    assert notices.texts == [
        "--compute_unit: gpu cannot be used on this machine, so the CPU does it all"
    ]


def test_settings_reach_the_session(
    model: Path, images: np.ndarray, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qdq.runtime import session

    seen = []
    load = session.load_session
    monkeypatch.setattr(
        session, "load_session", lambda source, given: seen.append(given) or load(source, given)
    )
    settings = (
        "execution_mode=PARALLEL;intra_op_num_threads=1;inter_op_num_threads=2;"
        "enable_memory_pattern=false;enable_cpu_memory_arena=false;"
        "graph_optimization_level=ENABLE_BASIC"
    )
    result = qdq.run(model, {"image": images}, options=f"--onnx_options {settings}")
    (options,) = seen
    assert options.execution_mode.name == "ORT_PARALLEL"
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 2)
    assert (options.enable_mem_pattern, options.enable_cpu_mem_arena) == (False, False)
    assert options.graph_optimization_level.name == "ORT_ENABLE_BASIC"
    assert result.outputs is not None
    found = np.concatenate(result.outputs["scores"])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ("--max_profiler_iterations 3", "a run is not measured"),
        ("--compute_unit npu", "NPU"),
        ("--onnx_options qnn_enable_htp_fp16_precision=1", "QNN execution provider"),
        ("--onnx_options intra_op_num_threads=2", "threads are given twice: 1, and 2"),
        ("--tflite_options number_of_threads=2", "for TFLite models, and this one is ONNX"),
    ],
)
def test_refused_options(model: Path, data: Path, options: str, part: str) -> None:
    with pytest.raises(OptionError, match=part):
        qdq.run(model, data, threads=1, options=options)
