"""Each stage, run as the service runs it: from files without names that tell, to files and JSON."""

import hashlib
import io
import json
import shutil
import zipfile

import numpy as np
import onnx
import onnx.reference
import pytest

from qdq import library
from qdq.base.errors import (
    AccuracyError,
    ChildTimeoutError,
    DatasetError,
    ModelCorruptError,
    ModelInvalidError,
    OptionError,
    PrecisionError,
    SpecError,
)
from qdq.dataset import open_samples, write_h5
from qdq.quantizer import pipeline
from qdq.worker import Limits, extract_archive, open_output, run_stage
from qdq.worker.runner import STAGE_KEEPS

_CONV = """<ir_version: 8, opset_import: ["" : 17]>
net (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y) {
    c = Conv <pads = [1, 1, 1, 1]> (x, w)
    y = Relu(c)
}"""


class _Recorder:
    def __init__(self):
        self.steps, self.notices = [], []

    def step(self, name, total):
        self.steps.append(name)

    def advance(self, units=1):
        pass

    def notice(self, text):
        self.notices.append(text)


@pytest.fixture
def conv(tmp_path):
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    model = onnx.parser.parse_model(_CONV)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    path = tmp_path / "blob"
    onnx.save(model, path)
    return path


@pytest.fixture
def samples():
    rng = np.random.default_rng(1)
    return [rng.normal(size=(1, 3, 8, 8)).astype(np.float32) for _ in range(20)]


@pytest.fixture
def dataset(tmp_path, samples):
    path = tmp_path / "data.h5"
    write_h5(path, {"x": samples})
    return path.rename(tmp_path / "dataset_blob")


@pytest.fixture
def stage(tmp_path):
    def run(name, spec=None, /, progress=None, limits=None, **inputs):
        scratch = tmp_path / f"scratch-{name}"
        pairs = [(path, key) for key, path in inputs.items()]
        return run_stage(
            name,
            spec or {},
            scratch=scratch,
            inputs=pairs,
            limits=limits or Limits(),
            progress=progress or _Recorder(),
        )

    return run


def _log(tmp_path, name):
    return (tmp_path / f"scratch-{name}" / "log.txt").read_text()


def _output(tmp_path, name, file):
    with open_output(tmp_path / f"scratch-{name}", file, max_bytes=1 << 30) as opened:
        return opened.read()


def _zip_of(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def _external(tmp_path, conv):
    """An archive with the model and its weights apart, as the client packs a folder."""
    folder = tmp_path / "apart"
    folder.mkdir()
    onnx.save(
        onnx.load(conv),
        folder / "net.onnx",
        save_as_external_data=True,
        location="net.data",
        size_threshold=0,
    )
    members = [("dir/", b""), *((f"dir/{it.name}", it.read_bytes()) for it in folder.iterdir())]
    return _zip_of(tmp_path / "packed", members)


def test_inspect_model(stage, conv):
    found = stage("inspect_model", model=conv)
    assert found["format"] == "onnx" and not found["is_directory"]
    assert found["inputs"] == [
        {
            "name": "x",
            "dtype": "float32",
            "shape": [1, 3, 8, 8],
            "scale": None,
            "zero_point": None,
        }
    ]
    assert found["ops"] == {"Conv": 1, "Relu": 1}
    assert found["parameters"] == 108
    assert found["bytes"] == conv.stat().st_size


def test_inspect_packed_folder(stage, conv, tmp_path):
    found = stage("inspect_model", model=_external(tmp_path, conv))
    assert found["format"] == "onnx" and found["is_directory"]
    assert found["parameters"] == 108
    assert [hazard["kind"] for hazard in found["hazards"]] == ["external_data"]


def test_inspect_tells_torch_without_torch(stage, tmp_path):
    script = _zip_of(tmp_path / "a", [("m/code/x.py", b""), ("m/constants.pkl", b"\x80\x02N.")])
    assert stage("inspect_model", model=script)["format"] == "torchscript"
    program = _zip_of(tmp_path / "b", [("m/archive_format", b"pt2"), ("m/data.pkl", b"")])
    assert stage("inspect_model", model=program)["format"] == "exported_program"


def test_inspect_dataset(stage, dataset):
    found = stage("inspect_dataset", dataset=dataset)
    layout = {"dtype": "float32", "shape": [1, 3, 8, 8]}
    assert found == {
        "samples": 20,
        "inputs": [{"name": "x", **layout, "same_layout": True, "layouts": [layout]}],
    }


def test_inspect_dataset_of_many_shapes(stage, tmp_path):
    path = tmp_path / "d.h5"
    write_h5(path, {"x": [np.zeros((1, 1 + n), np.float32) for n in range(40)]})
    (entry,) = stage("inspect_dataset", dataset=path)["inputs"]
    assert not entry["same_layout"]
    assert entry["shape"] == [1, 1]
    assert len(entry["layouts"]) == 16


def test_compile(stage, conv, samples, tmp_path):
    progress = _Recorder()
    found = stage("compile", {"options": ""}, progress=progress, model=conv)
    assert found["output"] == "model.onnx"
    assert found["target_runtime"] == "onnx" and found["precision"] == "float"
    assert [entry["name"] for entry in found["input_spec"]] == ["x"]
    assert [entry["shape"] for entry in found["output_spec"]] == [[1, 4, 8, 8]]
    assert found["notices"] == progress.notices
    assert "no --target_runtime given" in found["notices"][0]
    compiled = onnx.load_from_string(_output(tmp_path, "compile", "model.onnx"))
    expected = onnx.reference.ReferenceEvaluator(str(conv)).run(None, {"x": samples[0]})
    actual = onnx.reference.ReferenceEvaluator(compiled).run(None, {"x": samples[0]})
    np.testing.assert_allclose(actual[0], expected[0], atol=1e-5)
    log = _log(tmp_path, "compile")
    for words in ("options resolved: none", "changes:", "step compile", "peak memory", "notice: "):
        assert words in log


def test_compile_packed_folder(stage, conv, tmp_path):
    found = stage("compile", model=_external(tmp_path, conv))
    model = onnx.load_from_string(_output(tmp_path, "compile", found["output"]))
    assert sum(np.prod(tensor.dims) for tensor in model.graph.initializer) == 108


def test_compile_with_input_specs(stage, tmp_path):
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        net (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"""
    )
    onnx.save(model, tmp_path / "m")
    spec = {"input_specs": {"x": [[3, 4], "float32"]}}
    found = stage("compile", spec, model=tmp_path / "m")
    assert found["output_spec"][0]["shape"] == [3, 4]
    with pytest.raises(SpecError):
        stage("compile", {"input_specs": {"x": [[3, 5], "float32"]}}, model=tmp_path / "m")


def test_compile_tells_encodings_of_integer_inputs_and_outputs(stage, tmp_path):
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 21]>
        net (uint8[1, 4] x) => (uint8[1, 4] y)
        <float s = {0.5}, uint8 z = {3}, float t = {0.25}, uint8 u = {0}> {
            a = DequantizeLinear(x, s, z)
            b = Relu(a)
            y = QuantizeLinear(b, t, u)
        }"""
    )
    onnx.save(model, tmp_path / "m")
    found = stage("compile", model=tmp_path / "m")
    (x,), (y,) = found["input_spec"], found["output_spec"]
    assert (x["dtype"], x["scale"], x["zero_point"]) == ("uint8", 0.5, 3)
    assert (y["dtype"], y["scale"], y["zero_point"]) == ("uint8", 0.25, 0)


def test_integers_with_channels_last_are_told_and_returned_as_reals(stage, tmp_path):
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 21]>
        net (float[1, 3, 2, 2] x) => (float[1, 3, 2, 2] y)
        <float s = {0.5}, uint8 z = {3}, float t = {0.25}, uint8 u = {7}> {
            q = QuantizeLinear(x, s, z)
            a = DequantizeLinear(q, s, z)
            b = Neg(a)
            r = QuantizeLinear(b, t, u)
            y = DequantizeLinear(r, t, u)
        }"""
    )
    onnx.save(model, tmp_path / "m")
    options = "--quantize_io --force_channel_last_input x --force_channel_last_output y"
    found = stage("compile", {"options": options}, model=tmp_path / "m")
    for spec, expected in zip(
        (*found["input_spec"], *found["output_spec"]), ((0.5, 3), (0.25, 7)), strict=True
    ):
        assert (spec["dtype"], spec["shape"]) == ("uint8", [1, 2, 2, 3])
        assert (spec["scale"], spec["zero_point"]) == expected
    (tmp_path / "compiled").write_bytes(_output(tmp_path, "compile", "model.onnx"))
    x = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    write_h5(tmp_path / "x.h5", {"x": [x]})
    given = {"options": "--dequantize_outputs --max_profiler_iterations 5"}
    told = stage("run", given, model=tmp_path / "compiled", dataset=tmp_path / "x.h5")
    assert [row["dtype"] for row in told["outputs"]] == ["float32"]
    path = tmp_path / "result.h5"
    path.write_bytes(_output(tmp_path, "run", told["output"]))
    reals = np.clip(np.round((np.float32(3) - x) * 0.5 / 0.25) + 7, 0, 255)
    with open_samples(path) as outputs:
        np.testing.assert_array_equal(outputs[0]["y"], (reals - 7).astype(np.float32) * 0.25)
    assert "'y' as float32" in _log(tmp_path, "run")


def test_large_weights_leave_as_one_packed_folder(monkeypatch, tmp_path):
    from qdq.worker.stages import files

    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "model.onnx.data").write_bytes(b"weights" * 1000)
    assert files.pack_model() == "model.zip"
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]
    first = (tmp_path / "model.zip").read_bytes()
    top = extract_archive(tmp_path / "model.zip", tmp_path / "out")
    assert top.name == "model.onnx"
    assert (top / "model.onnx").read_bytes() == b"graph"
    assert (top / "model.onnx.data").read_bytes() == b"weights" * 1000
    assert zipfile.ZipFile(io.BytesIO(first)).namelist()[0] == "model.onnx/"


def test_quantize(stage, conv, dataset, samples, tmp_path):
    found = stage("quantize", {"activations": "int16"}, model=conv, calibration=dataset)
    assert found["output"] == "model.onnx" and found["precision"] == "w8a16"
    assert found["metrics"]["y"]["sqnr_db"] > 30
    assert found["calibration_samples"] + json.loads(_output(tmp_path, "quantize", "report.json"))[
        "report_samples"
    ] in (20, 40)
    assert found["page"] == "report.html"
    assert _output(tmp_path, "quantize", "report.html").startswith(b"<!DOCTYPE html>")
    model = onnx.load_from_string(_output(tmp_path, "quantize", "model.onnx"))
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in model.graph.node}
    log = _log(tmp_path, "quantize")
    for words in ("options resolved", "activation, ", "y: SQNR", "calibrate: ", "peak memory"):
        assert words in log


def test_a_missed_bound_fails_the_stage_by_name_and_gives_no_model(stage, conv, dataset, tmp_path):
    with pytest.raises(AccuracyError, match="every layer at 16 bits") as caught:
        stage(
            "quantize",
            {"options": "--accuracy_bound sqnr>=150"},
            model=conv,
            calibration=dataset,
        )
    assert caught.value.failure_type.name == "UNSUPPORTED"
    assert not list((tmp_path / "scratch-quantize").rglob("model.onnx"))


def test_quantize_tells_of_mixed_precision(stage, conv, dataset, tmp_path):
    options = "--accuracy_bound sqnr>=20 --pareto --sensitivity"
    found = stage("quantize", {"options": options}, model=conv, calibration=dataset)
    assert any("--accuracy_bound sqnr>=20 is met" in notice for notice in found["notices"])
    told = json.loads(_output(tmp_path, "quantize", "report.json"))
    assert told["accuracy_bound"]["bounds"][0]["met"]
    assert all(point["host_latency_ms"] > 0 for point in told["pareto"])
    assert {site["site"] for site in told["sensitivity"]["sites"]} == {"x", "y", "w"}
    page = _output(tmp_path, "quantize", "report.html")
    assert b'id="widths"' in page and b'id="sensitivity"' in page


def test_quantize_goes_on_from_what_another_attempt_kept(stage, conv, dataset, tmp_path):
    whole = stage("quantize", model=conv, calibration=dataset)
    expected = _output(tmp_path, "quantize", "model.onnx")
    assert not any("interrupted" in it for it in whole["notices"])
    # The same work, ended before the model was written.
    source = tmp_path / "stages"
    with open_samples(dataset) as opened:
        given = {"x": [sample["x"] for sample in opened]}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pipeline, "emit_plan", _ended)
        with pytest.raises(KeyboardInterrupt):
            library.quantize(conv, given, report=tmp_path / "page.html", resume=source, options="")
    kept = {path.name: path for path in source.iterdir()}
    assert set(kept) == {"kept_figures.npz", "kept_round.npz"} <= set(STAGE_KEEPS["quantize"])
    shutil.rmtree(tmp_path / "scratch-quantize")
    found = stage("quantize", model=conv, calibration=dataset, **kept)
    assert sum("interrupted" in it for it in found["notices"]) == 2
    assert _output(tmp_path, "quantize", "model.onnx") == expected
    assert not list((tmp_path / "scratch-quantize" / "room").glob("kept_*"))


def _ended(*args, **kwargs):
    raise KeyboardInterrupt


def test_quantize_with_levers_tells_what_they_matched_and_where_all_comes_from(
    stage, conv, dataset, tmp_path
):
    name = onnx.load(conv).graph.node[0].name or "Conv_c"
    options = f"--rounding nearest --override {name}=int16"
    found = stage("quantize", {"options": options}, model=conv, calibration=dataset)
    assert found["sites"]["nodes_by_bits"]["16"] >= 1
    assert f"--override {name}: int16 for {name}" in _log(tmp_path, "quantize")
    told = json.loads(_output(tmp_path, "quantize", "model.onnx.provenance.json"))
    model = _output(tmp_path, "quantize", "model.onnx")
    assert told["model"]["sha256"] == hashlib.sha256(model).hexdigest()
    assert told["source"]["sha256"] == hashlib.sha256(conv.read_bytes()).hexdigest()
    assert told["options"] == options
    assert str(tmp_path) not in json.dumps(told)


def test_a_slow_expression_ends_with_the_time_of_its_child(stage, conv, dataset, tmp_path):
    """Matched in the child only: what the server does with it is to read its syntax."""
    model = onnx.load(conv)
    model.graph.node[0].name = "a" * 48
    onnx.save(model, tmp_path / "slow.onnx")
    with pytest.raises(ChildTimeoutError):
        stage(
            "quantize",
            {"options": "--exclude_nodes '(a|a)*b'"},
            model=tmp_path / "slow.onnx",
            calibration=dataset,
            limits=Limits(wall_s=5),
        )


def test_run(stage, conv, dataset, samples, tmp_path):
    found = stage("run", model=conv, dataset=dataset)
    assert found["samples"] == 20
    path = tmp_path / "result.h5"
    path.write_bytes(_output(tmp_path, "run", found["output"]))
    evaluator = onnx.reference.ReferenceEvaluator(str(conv))
    with open_samples(path) as outputs:
        for index in (0, 19):
            expected = evaluator.run(None, {"x": samples[index]})[0]
            np.testing.assert_allclose(outputs[index]["y"], expected, atol=1e-4)


def test_profile(stage, conv, dataset):
    found = stage("profile", {"options": "--max_profiler_iterations 7"}, model=conv)
    summary = found["profile"]["execution_summary"]
    assert len(summary["all_inference_times"]) == 7
    assert found["profile"]["data"] == "random data"
    assert {row["compute_unit"] for row in found["profile"]["execution_detail"]} == {"CPU"}
    given = stage(
        "profile", {"options": "--max_profiler_iterations 2"}, model=conv, dataset=dataset
    )
    assert given["profile"]["data"] == "given samples"


@pytest.mark.parametrize(
    ("name", "spec", "inputs", "kind"),
    [
        ("compile", {"options": "--nonsense"}, ["model"], OptionError),
        ("compile", {"device": "Pixel"}, ["model"], SpecError),
        ("quantize", {"weights": "int3"}, ["model", "calibration"], PrecisionError),
        ("quantize", {"options": "--nonsense"}, ["model", "calibration"], OptionError),
        ("quantize", {}, ["model"], DatasetError),
        ("run", {"options": "--nonsense"}, ["model", "dataset"], OptionError),
        ("run", {}, ["dataset"], ModelCorruptError),
        ("profile", {"options": "--nonsense"}, ["model"], OptionError),
        ("inspect_dataset", {}, [], DatasetError),
    ],
)
def test_what_was_asked_is_refused_by_its_own_type(stage, conv, dataset, name, spec, inputs, kind):
    files = {key: conv if key == "model" else dataset for key in inputs}
    with pytest.raises(kind):
        stage(name, spec, **files)


def test_errors_name_no_path_of_this_machine(stage, tmp_path):
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(ModelCorruptError) as caught:
        stage("inspect_model", model=empty)
    assert "'inputs/model' is empty" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_kinds_that_are_not_taken(stage, tmp_path):
    lite = tmp_path / "m"
    lite.write_bytes(b"\x1c\0\0\0TFL3" + bytes(60))
    with pytest.raises(ModelCorruptError, match="TFLite file is damaged"):
        stage("inspect_model", model=lite)
    with pytest.raises(ModelInvalidError, match="at its top"):
        stage("inspect_model", model=_zip_of(tmp_path / "z", [("model.onnx", b"")]))
