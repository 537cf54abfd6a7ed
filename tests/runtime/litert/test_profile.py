"""Profiles of ``.tflite`` files: all figures, times of ops under their ONNX names, and honesty."""

import json

import numpy as np
import pytest

from litert_files import models
from litert_files.build import FileBuilder
from litert_files.hostile import INVALID, UNRUNNABLE
from qdq.base.errors import DatasetError, ModelInvalidError, SpecError, UnsupportedError
from qdq.dataset import open_samples
from qdq.runtime import profile_model
from qdq.runtime.litert import op_times as op_times_module
from qdq.runtime.litert.capi import BUILTIN_EVENT, TESTED, XNNPACK_EVENT
from qdq.runtime.litert.model_file import parse_tflite
from qdq.runtime.litert.op_times import (
    OpEvent,
    assign_kernels,
    execution_order,
    op_events,
    op_times,
)
from qdq.runtime.litert.package import package_version


class _Recorder:
    def __init__(self):
        self.total = self.done = 0
        self.notices = []

    def step(self, name, total):
        self.total = total

    def advance(self, units=1):
        self.done += units

    def notice(self, text):
        self.notices.append(text)


def test_the_installed_version_is_tested():
    assert package_version() in TESTED


def test_figures(tmp_path):
    file, _ = models.conv(size=64)
    recorder = _Recorder()
    found = profile_model(file.save(tmp_path / "m"), iterations=7, threads=1, progress=recorder)
    assert recorder.notices == [] and (recorder.done, recorder.total) == (11, 11)
    assert len(found.first_load.times_us) == 1 and len(found.warm_load.times_us) == 3
    assert len(found.inference.times_us) == 7 and found.first_inference_us > 0
    for phase in (found.first_load, found.warm_load, found.inference):
        assert all(time > 0 for time in phase.times_us)
        assert 10 << 20 < phase.peak_memory < 4 << 30
    assert found.inputs == (("image", "float32", (1, 64, 64, 3)),)
    assert found.environment["runtime"] == "LiteRT"
    assert found.environment["litert"] == package_version()
    by_op = {node.op_type: node for node in found.nodes}
    assert by_op["CONV_2D"].source == "conv, relu" and by_op["CONV_2D"].median_us > 0
    assert by_op["FULLY_CONNECTED"].source == "fc" and by_op["MEAN"].source == "pool"
    assert {node.provider for node in found.nodes} == {"XNNPACK"}
    assert sum(node.share for node in found.nodes) == pytest.approx(1)
    form = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert {row["compute_unit"] for row in form["execution_detail"]} == {"CPU"}
    assert "conv, relu" in {row["name"] for row in form["execution_detail"]}


def test_ops_that_xnnpack_does_not_have(tmp_path):
    found = profile_model(models.quantized_conv().save(tmp_path / "m"), iterations=2)
    told = [(node.op_type, node.source, node.provider) for node in found.nodes]
    # A 1x1 convolution is a matrix product to XNNPACK.
    assert told == [("CONV_2D", "conv_out", "XNNPACK"), ("SOFTMAX", "soft", "LiteRT")]
    assert found.inputs == (("image", "int8", (1, 4, 4, 2)),)


def test_names_without_signature(tmp_path):
    found = profile_model(models.add(names=False).save(tmp_path / "m"), iterations=1)
    assert [node.source for node in found.nodes] == ["t:0"]


def test_given_samples(tmp_path):
    data = {"left": np.ones((3, 4), np.float32), "right": np.ones((3, 4), np.float32)}
    with open_samples(data) as samples:
        found = profile_model(models.add().save(tmp_path / "m"), iterations=4, samples=samples)
    assert found.data == "given samples" and len(found.inference.times_us) == 4


def test_wrong_samples(tmp_path):
    data = {"left": np.ones((3, 5), np.float32), "right": np.ones((3, 4), np.float32)}
    with open_samples(data) as samples, pytest.raises(DatasetError, match="1x5"):
        profile_model(models.add().save(tmp_path / "m"), samples=samples)


def test_open_batch(tmp_path):
    recorder = _Recorder()
    path = models.add(dynamic=True).save(tmp_path / "m")
    found = profile_model(path, iterations=2, progress=recorder)
    assert found.inputs[0][2] == (1, 4) and found.nodes == ()
    assert "open dimensions" in recorder.notices[0]


def test_other_open_dimensions_need_data(tmp_path):
    file = models.add(dynamic=True)
    file.graph.tensors[0].shapeSignature = [1, -1]
    with pytest.raises(SpecError, match="left"):
        profile_model(file.save(tmp_path / "m"))


def test_another_version_has_no_times_of_ops(tmp_path, monkeypatch):
    monkeypatch.setattr(op_times_module, "package_version", lambda: "9.9.9")
    recorder = _Recorder()
    found = profile_model(models.add().save(tmp_path / "m"), iterations=1, progress=recorder)
    assert found.nodes == () and found.inference.times_us
    assert "9.9.9" in recorder.notices[0] and TESTED[0] in recorder.notices[0]


def test_a_crash_of_the_profiler_costs_its_times_only(tmp_path, monkeypatch):
    monkeypatch.setattr(op_times_module, "_CHILD", "qdq.no_such_module")
    recorder = _Recorder()
    found = profile_model(models.add().save(tmp_path / "m"), iterations=1, progress=recorder)
    assert found.nodes == () and found.inference.times_us
    assert "left out" in recorder.notices[0]


@pytest.mark.parametrize(
    ("make", "error"),
    [(INVALID["cycle"], ModelInvalidError), (UNRUNNABLE["flex_op"], UnsupportedError)],
)
def test_models_that_do_not_load(tmp_path, make, error):
    (tmp_path / "m").write_bytes(make())
    with pytest.raises(error):
        profile_model(tmp_path / "m", iterations=1)


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    path = models.add().save(tmp_path / "m")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    profile_model(path, iterations=1)
    assert list(folder.iterdir()) == []


def _ops(*types):
    return list(enumerate(types))


@pytest.mark.parametrize(
    ("kernels", "types", "expected"),
    [
        (
            ["Convolution (NHWC, QC8) IGEMM", "Fully Connected (NC, QS8, QC8W) GEMM", "Add (ND)"],
            ["CONV_2D", "CONV_2D", "ADD"],
            [0, 1, 2],
        ),
        # A Pad goes into the convolution after it.
        (["Convolution (NHWC, F32)"] * 2, ["PAD", "CONV_2D", "DEPTHWISE_CONV_2D"], [1, 2]),
        # Two of three Adds: which ones, nobody can tell.
        (["Add (ND)", "Add (ND)"], ["ADD", "ADD", "ADD"], [None, None]),
        # Between neighbours that are known there may be one choice.
        (
            ["Add (ND)", "Convolution (NHWC, F32)", "Add (ND)"],
            ["ADD", "ADD", "CONV_2D", "ADD"],
            [None, 2, 3],
        ),
        # A mean is a reduction and a reshape, beside a reshape of its own.
        (
            ["Mean (ND) Reduce2", "Static Reshape (NC)", "Static Reshape (NC)"],
            ["MEAN", "RESHAPE"],
            [0, None, None],
        ),
        (["Something New (NC)"], ["ADD"], [None]),
        ([], ["ADD"], []),
        # Counts agree and kinds do not.
        (["Deconvolution (NHWC, F32)", "Add (ND)"], ["ADD", "ADD"], [None, None]),
    ],
)
def test_kernels_are_given_ops_where_there_is_one_choice(kernels, types, expected):
    assert assign_kernels(kernels, _ops(*types)) == expected


def test_execution_in_turns():
    file = FileBuilder()
    a, b, c, d, e = (file.tensor(name, (1,)) for name in "abcde")
    file.op("ABS", [a], [b])  # XNNPACK
    file.op("COS", [b], [c])  # LiteRT
    file.op("NEG", [c], [d])  # XNNPACK, after the other
    file.op("EXP", [a], [e])  # XNNPACK, together with the first
    file.edges([a], [d, e])
    graph = parse_tflite(file.data()).main
    assert execution_order(graph, {1}) == [0, 3, 1, 2]
    assert execution_order(graph, set()) == [0, 1, 2, 3]


def test_times_of_ops_in_turns():
    file = FileBuilder()
    a, b, c, d, e = (file.tensor(name, (1,)) for name in "abcde")
    file.op("ABS", [a], [b])
    file.op("COS", [b], [c])
    file.op("ABS", [c], [d])
    file.op("ABS", [a], [e])
    file.edges([a], [d, e])
    events = [
        OpEvent("Abs (NC)", None, (1.0,)),
        OpEvent("Abs (NC)", None, (2.0,)),
        OpEvent("COS", 1, (3.0, 5.0)),
        OpEvent("Abs (NC)", None, (4.0,)),
    ]
    found = op_times(events, parse_tflite(file.data()))
    assert [(it.source, it.median_us) for it in found] == [
        ("b", 1), ("e", 2), ("c", 4), ("d", 4),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "rows",
    [
        None,
        {},
        [[]],
        [["a", 1, 2, [3]]],
        [[BUILTIN_EVENT, 5, 0, [1]]],
        [[XNNPACK_EVENT, "a", 0, []]],
        [[4, "a", 0, [1]]],
        "text",
    ],
)
def test_what_a_child_tells_is_not_trusted(rows):
    assert op_events(rows) == ()


def test_an_op_that_is_not_there_has_no_name():
    model = parse_tflite(models.add().data())
    (found,) = op_times([OpEvent("ADD", 99, (1.0,))], model)
    assert (found.source, found.op_type) == (None, "ADD")
