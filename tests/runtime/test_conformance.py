"""What every session does, whatever runs the model: the same tests against both runtimes."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from litert_files import models
from qdq.base.errors import DatasetError, InternalError, ModelCorruptError
from qdq.dataset import open_samples
from qdq.runtime import iter_run, open_runnable, run_model
from qdq.runtime.litert.session import LitertSession
from qdq.runtime.session import OrtSession

_ADD = """<ir_version: 8, opset_import: ["" : 17]>
net (float[1, 4] left, float[1, 4] right) => (float[1, 4] total) { total = Add(left, right) }"""
_OPEN_ADD = _ADD.replace("1, 4", "N, 4")
_LEFT = np.array([[1, 2, 3, 4]], np.float32)
_SAMPLE = {"left": _LEFT, "right": 10 * _LEFT}


def _write(path, kind, *, dynamic=False):
    if kind == "tflite":
        return models.add(dynamic=dynamic).save(path)
    onnx.save(onnx.parser.parse_model(_OPEN_ADD if dynamic else _ADD), path)
    return path


@pytest.fixture(params=["onnx", "tflite"])
def kind(request):
    return request.param


@pytest.fixture
def session(kind, tmp_path):
    with open_runnable(_write(tmp_path / "blob", kind), threads=1) as opened:
        yield opened


def test_the_content_chooses_the_runtime(session, kind):
    assert isinstance(session, OrtSession if kind == "onnx" else LitertSession)


def test_names_dtypes_shapes(session):
    told = [(info.name, info.dtype, info.shape) for info in session.inputs]
    assert told == [("left", "float32", (1, 4)), ("right", "float32", (1, 4))]
    assert [(info.name, info.shape) for info in session.outputs] == [("total", (1, 4))]
    assert {info.scale for info in (*session.inputs, *session.outputs)} == {None}


def test_run(session):
    found = session.run(_SAMPLE)
    assert list(found) == ["total"]
    np.testing.assert_array_equal(found["total"], 11 * _LEFT)
    np.testing.assert_array_equal(session.run_values(_SAMPLE)[0], 11 * _LEFT)


def test_what_is_returned_belongs_to_the_caller(session):
    first = session.run(_SAMPLE)["total"]
    kept = first.copy()
    second = session.run({name: 2 * array for name, array in _SAMPLE.items()})["total"]
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(second, 2 * kept)
    first[:] = 0
    np.testing.assert_array_equal(second, 2 * kept)


def test_arrays_of_any_memory_order(session):
    wide = np.repeat(_LEFT, 2, axis=1)[:, ::2]
    assert not wide.flags.c_contiguous
    np.testing.assert_array_equal(session.run({"left": wide, "right": wide})["total"], 2 * _LEFT)


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ({"left": _LEFT}, "'right'"),
        ({**_SAMPLE, "more": _LEFT}, "'more'"),
        ({"l": _LEFT, "right": _LEFT}, "'l'"),
        ({**_SAMPLE, "right": _LEFT.astype(np.float64)}, "float64"),
        ({**_SAMPLE, "right": _LEFT[:, :3]}, "1x3"),
        ({**_SAMPLE, "right": _LEFT[0]}, "'right'"),
        ({**_SAMPLE, "right": np.float32(1)[()].reshape(())}, "scalar"),
    ],
)
def test_samples_that_do_not_fit(session, sample, words):
    for call in (session.run, session.run_values, session.check_sample):
        with pytest.raises(DatasetError, match=words):
            call(sample)
    np.testing.assert_array_equal(session.run(_SAMPLE)["total"], 11 * _LEFT)


def test_closing(session):
    session.close()
    session.close()
    with pytest.raises(InternalError, match="closed"):
        session.run(_SAMPLE)


def test_open_dimensions(kind, tmp_path):
    with open_runnable(_write(tmp_path / "blob", kind, dynamic=True), threads=1) as session:
        assert session.inputs[0].shape == (None, 4)
        for count in (1, 3, 2, 1):
            rows = np.repeat(_LEFT, count, axis=0)
            found = session.run({"left": rows, "right": rows})["total"]
            np.testing.assert_array_equal(found, 2 * rows)


@pytest.mark.parametrize("optimize", [True, False])
def test_arithmetic(kind, tmp_path, optimize):
    with open_runnable(_write(tmp_path / "blob", kind), optimize=optimize) as session:
        np.testing.assert_array_equal(session.run(_SAMPLE)["total"], 11 * _LEFT)


def test_samples_one_after_the_other(kind, tmp_path):
    path = _write(tmp_path / "blob", kind)
    data = {"left": np.repeat(_LEFT, 3, axis=0), "right": np.repeat(_LEFT, 3, axis=0)}
    with open_samples(data) as samples, open_runnable(path) as session:
        assert len(list(iter_run(session, samples))) == 3
    with open_samples(data) as samples:
        found = run_model(path, samples)
    assert [array.shape for array in found["total"]] == [(1, 4)] * 3


def test_samples_that_fit_no_input_fail_before_anything_runs(kind, tmp_path):
    path = _write(tmp_path / "blob", kind)
    with open_samples({"left": _LEFT}) as samples, pytest.raises(DatasetError):
        run_model(path, samples)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x1c\0\0\0TFL3"])
def test_no_model(tmp_path, data):
    (tmp_path / "blob").write_bytes(data)
    with pytest.raises(ModelCorruptError):
        open_runnable(tmp_path / "blob")
    with pytest.raises(ModelCorruptError):
        open_runnable(tmp_path / "absent")


def test_a_graph_in_memory_is_onnx():
    with open_runnable(ir.from_proto(onnx.parser.parse_model(_ADD))) as session:
        assert isinstance(session, OrtSession)
