"""Stages on ``.tflite`` files, sound ones and hostile ones: the children may die, nothing else."""

from __future__ import annotations

import random
import struct

import numpy as np
import onnx
import pytest

from bad_models import MODELS
from litert_files import models
from litert_files.hostile import CORRUPT, INVALID, UNRUNNABLE, UNSUPPORTED
from qdq.base.errors import (
    ChildCrashError,
    ChildMemoryError,
    ModelCorruptError,
    ModelInvalidError,
    QdqError,
    UnsupportedError,
)
from qdq.base.progress import NO_PROGRESS
from qdq.dataset import open_samples, write_h5
from qdq.library import inspect
from qdq.worker import Limits, open_output, run_stage

_LIMITS = Limits(wall_s=60, memory_bytes=1 << 30, output_bytes=64 << 20)
_ERRORS = {
    **dict.fromkeys(CORRUPT, ModelCorruptError),
    **dict.fromkeys(INVALID, ModelInvalidError),
    **dict.fromkeys(UNSUPPORTED, UnsupportedError),
}
_MAKERS = {**CORRUPT, **INVALID, **UNSUPPORTED}
# One of each kind here; all of them are read in tests/runtime.
_SOME = ("truncated_half", "huge_count", "shared_bomb", "cycle", "writes_constant", "negative_dim")


@pytest.fixture
def stage(tmp_path):
    def run(name, spec=None, /, **inputs):
        return run_stage(
            name,
            spec or {},
            scratch=tmp_path / f"scratch-{name}",
            inputs=[(path, key) for key, path in inputs.items()],
            limits=_LIMITS,
            progress=NO_PROGRESS,
        )

    return run


def _output(tmp_path, name, file):
    with open_output(tmp_path / f"scratch-{name}", file, max_bytes=1 << 30) as opened:
        return opened.read()


@pytest.fixture
def conv(tmp_path):
    return models.conv(size=4)[0].save(tmp_path / "blob")


@pytest.fixture
def dataset(tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(1, 4, 4, 3)).astype(np.float32) for _ in range(3)]
    write_h5(tmp_path / "data.h5", {"image": images})
    return (tmp_path / "data.h5").rename(tmp_path / "dataset_blob")


def test_inspect(stage, tmp_path):
    found = stage("inspect_model", model=models.quantized_conv().save(tmp_path / "blob"))
    assert (found["format"], found["ops"]) == ("tflite", {"CONV_2D": 1, "SOFTMAX": 1})
    (image,) = found["input_spec"]
    assert (image["dtype"], image["zero_point"]) == ("int8", -3)
    assert image["scale"] == pytest.approx(0.1)


def test_inspect_names_what_cannot_run(stage, tmp_path):
    (tmp_path / "blob").write_bytes(UNRUNNABLE["flex_op"]())
    found = stage("inspect_model", model=tmp_path / "blob")
    assert found["hazards"] == [{"kind": "flex_ops", "detail": "FlexConv2D"}]


def test_compile(stage, tmp_path):
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        net (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }"""
    )
    onnx.save(model, tmp_path / "blob")
    found = stage(
        "compile",
        {"options": "--target_runtime tflite --output_names best"},
        model=tmp_path / "blob",
    )
    assert (found["output"], found["target_runtime"]) == ("model.tflite", "tflite")
    assert [(it["name"], it["shape"]) for it in found["output_spec"]] == [("best", [1, 4])]
    (tmp_path / "out").write_bytes(_output(tmp_path, "compile", "model.tflite"))
    assert inspect(tmp_path / "out").format == "tflite"


def test_run(stage, tmp_path, conv, dataset):
    found = stage("run", {"options": "--compute_unit cpu"}, model=conv, dataset=dataset)
    assert found["samples"] == 3
    assert found["outputs"] == [{"name": "logits", "dtype": "float32", "shape": [1, 5]}]
    (tmp_path / "out.h5").write_bytes(_output(tmp_path, "run", "output.h5"))
    with open_samples(tmp_path / "out.h5") as outputs:
        assert len(outputs) == 3
    assert "with LiteRT" in (tmp_path / "scratch-run" / "log.txt").read_text()


def test_profile(stage, conv):
    options = "--max_profiler_iterations 3 --tflite_options number_of_threads=1"
    profile = stage("profile", {"options": options}, model=conv)["profile"]
    assert profile["environment"]["runtime"] == "LiteRT"
    assert "conv, relu" in {row["name"] for row in profile["execution_detail"]}
    assert {row["compute_unit"] for row in profile["execution_detail"]} == {"CPU"}


@pytest.mark.parametrize(
    ("what", "name"),
    [*(("inspect_model", name) for name in _SOME), ("run", "cycle"), ("profile", "huge_count")],
)
def test_hostile_files_are_refused(stage, tmp_path, dataset, what, name):
    (tmp_path / "blob").write_bytes(_MAKERS[name]())
    inputs = {"dataset": dataset} if what == "run" else {}
    with pytest.raises(_ERRORS[name]):
        stage(what, {}, model=tmp_path / "blob", **inputs)


@pytest.mark.parametrize(("what", "name"), [("run", "custom_op"), ("profile", "flex_op")])
def test_custom_ops_are_refused_by_name(stage, tmp_path, dataset, what, name):
    (tmp_path / "blob").write_bytes(UNRUNNABLE[name]())
    inputs = {"dataset": dataset} if what == "run" else {}
    with pytest.raises(UnsupportedError) as caught:
        stage(what, {}, model=tmp_path / "blob", **inputs)
    assert caught.value.op_type in {"Secret/Op", "FlexConv2D"}


def _huge():
    file = models.add()
    for tensor in file.graph.tensors:
        tensor.shape = [1 << 15, 1 << 20]
    return file


def _short_bias():
    # LiteRT lets it pass, and its kernel reads behind the end.
    file = models.conv(size=4)[0]
    file.graph.tensors[2].shape = [4]
    file.model.buffers[file.graph.tensors[2].buffer].data = np.zeros(16, np.uint8)
    return file


@pytest.mark.parametrize("make", [_huge, _short_bias])
def test_what_only_running_shows_ends_the_child_at_most(stage, tmp_path, make):
    path = make().save(tmp_path / "blob")
    allowed = (ModelInvalidError, UnsupportedError, ChildCrashError, ChildMemoryError)
    try:
        stage("profile", {"options": "--max_profiler_iterations 1"}, model=path)
    except QdqError as error:
        assert isinstance(error, allowed), error


@pytest.mark.medium
@pytest.mark.parametrize("seed", range(25))
def test_changed_files_run_in_children_only(stage, tmp_path, dataset, seed):
    """Whatever the bytes are, the stage ends, and with an error of the tree if not well."""
    rng = random.Random(seed)
    data = bytearray(models.conv(size=4)[0].data())
    for _ in range(rng.choice((1, 2, 4))):
        value = rng.choice((0, 1, 2, 0xFF, 0xFFFFFFFF, 0x7FFFFFFF, rng.getrandbits(32)))
        struct.pack_into("<I", data, rng.randrange(8, len(data) - 4), value)
    (tmp_path / "blob").write_bytes(data)
    try:
        stage("run", {}, model=tmp_path / "blob", dataset=dataset)
    except QdqError as error:
        assert error.cause


# One of each failure type here; a child takes seconds to start.
_QUICK = {"zero_point_of_another_type", "dynamic_shape", "empty"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in _QUICK else pytest.mark.medium)
        for name, bad in MODELS.items()
        if bad.error
    ],
)
def test_bad_models_fail_their_job_with_its_type(stage, tmp_path, name):
    bad = MODELS[name]
    onnx.save(bad.build(), tmp_path / "blob")
    with pytest.raises(QdqError) as caught:
        stage("compile", {"options": "--target_runtime tflite"}, model=tmp_path / "blob")
    assert type(caught.value).__name__ == bad.error
    assert int(caught.value.failure_type) == bad.failure
    assert bad.told in str(caught.value)


@pytest.mark.parametrize("name", ["asymmetric_int16", "activations_per_channel"])
def test_float_islands_are_in_the_log_of_the_job(stage, tmp_path, name):
    onnx.save(MODELS[name].build(), tmp_path / "blob")
    stage("compile", {"options": "--target_runtime tflite"}, model=tmp_path / "blob")
    log = (tmp_path / "scratch-compile" / "log.txt").read_text()
    assert MODELS[name].told in log
