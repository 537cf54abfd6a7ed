"""Sessions: what goes in and out, requested outputs, and each failure as a leaf of the tree."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from qdq.base.errors import (
    ChildMemoryError,
    DatasetError,
    InternalError,
    ModelCorruptError,
    ModelInvalidError,
    OutputError,
    SpecError,
    UnsupportedError,
)
from qdq.runtime import session as session_module
from qdq.runtime.ort import TensorInfo
from qdq.runtime.session import open_session, value_dtypes

_X = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)


def _values(model, names, feed):
    """The oracle: onnx.reference with all names as outputs."""
    proto = ir.to_proto(model)
    proto = onnx.shape_inference.infer_shapes(proto)
    infos = {v.name: v for v in (*proto.graph.value_info, *proto.graph.output, *proto.graph.input)}
    del proto.graph.output[:]
    proto.graph.output.extend(infos[name] for name in names)
    return ReferenceEvaluator(proto).run(None, feed)


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("model", ["float_model", "qdq_model"])
def test_run_against_reference(model, optimize, request):
    model = request.getfixturevalue(model)
    with open_session(model, optimize=optimize, threads=1) as session:
        assert session.inputs == (TensorInfo("x", "float32", (None, 4)),)
        assert session.outputs == (TensorInfo("y", "float32", (None, 3)),)
        found = session.run({"x": _X})
    # One step of the output's grid where the fused kernel rounds otherwise.
    tolerance = 0.0626 if optimize else 1e-6
    np.testing.assert_allclose(found["y"], _values(model, ["y"], {"x": _X})[0], atol=tolerance)


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("names", [["r"], ["h", "r", "y"], ["y", "h"], ["x_q", "r_q"]])
def test_requested_values_in_order(qdq_model, names, optimize):
    before = ir.to_proto(qdq_model).SerializeToString()
    with open_session(qdq_model, optimize=optimize, outputs=names) as session:
        assert [info.name for info in session.outputs] == names
        found = session.run_values({"x": _X})
    for got, want in zip(found, _values(qdq_model, names, {"x": _X}), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, atol=1e-5)
    assert ir.to_proto(qdq_model).SerializeToString() == before


def test_requested_twice_is_returned_once(float_model):
    with open_session(float_model, outputs=["r", "r"]) as session:
        assert [info.name for info in session.outputs] == ["r"]


@pytest.mark.parametrize("optimize", [True, False])
def test_inputs_and_initializers_can_be_requested(float_model, optimize):
    with open_session(float_model, optimize=optimize, outputs=["x", "w1", "y"]) as session:
        found = session.run({"x": _X})
    np.testing.assert_array_equal(found["x"], _X)
    np.testing.assert_array_equal(found["w1"], float_model.graph.initializers["w1"].const_value)


@pytest.mark.parametrize("outputs", [None, ["h"]])
def test_path_gives_the_same_as_memory(float_model, tmp_path, outputs):
    ir.save(float_model, tmp_path / "m.onnx")
    with (
        open_session(tmp_path / "m.onnx", outputs=outputs, optimize=False) as one,
        open_session(float_model, outputs=outputs, optimize=False) as other,
    ):
        for got, want in zip(one.run_values({"x": _X}), other.run_values({"x": _X}), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("outputs", [None, ["h"]])
@pytest.mark.parametrize("as_path", [True, False])
def test_external_data(float_model, tmp_path, outputs, as_path):
    with open_session(float_model, outputs=outputs) as session:
        want = session.run_values({"x": _X})[0]
    path = tmp_path / "m.onnx"
    ir.save(float_model, path, external_data="w.bin", size_threshold_bytes=0)
    model = path if as_path else ir.load(path)
    with open_session(model, outputs=outputs) as session:
        np.testing.assert_array_equal(session.run_values({"x": _X})[0], want)
    if not as_path:
        assert isinstance(model.graph.initializers["w1"].const_value, ir.ExternalTensor)


@pytest.mark.parametrize("outputs", [None, ["h", "x"]])
def test_large_model_goes_through_a_folder_that_is_removed(float_model, outputs, monkeypatch):
    monkeypatch.setattr(session_module, "_LARGEST_IN_MEMORY", 10)
    tensors = {name: v.const_value for name, v in float_model.graph.initializers.items()}
    session = open_session(float_model, outputs=outputs)
    folder = Path(session._folder.name)
    assert (folder / "model.onnx").exists()
    monkeypatch.undo()
    with open_session(float_model, outputs=outputs) as small:
        for got, want in zip(
            session.run_values({"x": _X}), small.run_values({"x": _X}), strict=True
        ):
            np.testing.assert_array_equal(got, want)
    session.close()
    session.close()
    assert not folder.exists()
    assert all(
        value.const_value is tensors[name] for name, value in float_model.graph.initializers.items()
    )


def test_folder_is_removed_when_loading_fails(parse, monkeypatch, tmp_path):
    monkeypatch.setattr(session_module, "_LARGEST_IN_MEMORY", 1)
    monkeypatch.setattr(session_module.tempfile, "tempdir", str(tmp_path))
    bad = parse("g (float[1] x) => (float[1] y) <float[1] w = {1}> { [n] y = Nope(x, w) }")
    with pytest.raises(UnsupportedError):
        open_session(bad)
    assert list(tmp_path.iterdir()) == []


def test_full_disk(float_model, monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(session_module, "_LARGEST_IN_MEMORY", 1)
    monkeypatch.setattr(session_module.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(session_module.ir, "save", full)
    with pytest.raises(OutputError, match="No space left"):
        open_session(float_model)
    assert list(tmp_path.iterdir()) == []


def test_closed_session(float_model):
    session = open_session(float_model)
    session.close()
    with pytest.raises(InternalError, match="closed"):
        session.run({"x": _X})


@pytest.mark.parametrize("optimize", [True, False])
def test_unused_input_and_output_that_is_an_input(parse, optimize):
    model = parse(
        "g (float[2] x, int64[1] unused) => (float[2] y, float[2] x) { y = Neg(x) }",
    )
    sample = {"x": np.array([1, 2], np.float32), "unused": np.array([3])}
    with open_session(model, optimize=optimize) as session:
        assert [info.name for info in session.inputs] == ["x", "unused"]
        found = session.run(sample)
    np.testing.assert_array_equal(found["y"], [-1, -2])
    np.testing.assert_array_equal(found["x"], [1, 2])


def test_zero_sized_and_dynamic(parse):
    model = parse("g (float[N,M] x) => (float[M,N] y) { y = Transpose(x) }")
    with open_session(model) as session:
        assert session.inputs[0].shape == (None, None)
        for shape in ((0, 3), (2, 0), (2, 5)):
            assert session.run({"x": np.ones(shape, np.float32)})["y"].shape == shape[::-1]


def test_scalar_input(parse):
    model = parse("g (float x, float[2] z) => (float[2] y) { y = Add(x, z) }")
    with open_session(model) as session:
        sample = {"x": np.array(2, np.float32), "z": np.ones(2, np.float32)}
        np.testing.assert_array_equal(session.run(sample)["y"], [3, 3])


@pytest.mark.parametrize(
    "dtype",
    ["int8", "uint8", "int16", "uint16", "int32", "int64", "bool", "float16", "float32", "double"],
)
def test_dtypes_pass(parse, dtype):
    name = {"double": "float64"}.get(dtype, dtype)
    onnx_name = {"float32": "float"}.get(dtype, dtype)
    model = parse(f"g ({onnx_name}[2] x) => ({onnx_name}[2] y) {{ y = Identity(x) }}")
    with open_session(model) as session:
        assert session.inputs[0].dtype == session.outputs[0].dtype == name
        x = np.array([0, 1]).astype(name)
        found = session.run({"x": x})["y"]
    assert found.dtype == x.dtype
    np.testing.assert_array_equal(found, x)


def test_initializer_that_is_an_input_is_no_input(parse):
    model = parse(
        "g (float[1] x, float[1] w) => (float[1] y) <float[1] w = {4}> { y = Add(x, w) }",
        ir_version=8,
        opset=17,
    )
    with open_session(model) as session:
        assert [info.name for info in session.inputs] == ["x"]
        assert session.run({"x": np.ones(1, np.float32)})["y"] == 5


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ({}, "no inputs"),
        ({"z": _X}, "has 'z'"),
        ({"x": _X, "z": _X}, "'x', 'z'"),
        ({"x": _X.astype(np.float64)}, "float64"),
        ({"x": _X[0]}, "shape 4,"),
        ({"x": _X[:, :3]}, "2x3.*takes \\?x4"),
    ],
)
def test_wrong_sample(float_model, sample, words):
    with open_session(float_model) as session, pytest.raises(DatasetError, match=words):
        session.run(sample)


@pytest.mark.parametrize(
    ("text", "kind", "node", "op_type"),
    [
        ("(float[3] x) => (float[3] y) { [n1] y = com.x.Foo(x) }", UnsupportedError, None, None),
        ("(float[3] x) => (float[3] y) { [n1] y = Foo(x) }", UnsupportedError, "n1", "Foo"),
        (
            "(float[3] x, int64[3] z) => (float[3] y) { [n1] y = Add(x, z) }",
            ModelInvalidError,
            "n1",
            "Add",
        ),
        (
            "(float[3] x, float[4] z) => (float[3] y) { [n1] y = Add(x, z) }",
            ModelInvalidError,
            "n1",
            "Add",
        ),
        ("(float[3] x) => (float[3] y) { [n1] y = Relu(x, x) }", ModelInvalidError, "n1", "Relu"),
        ("(float[3] x) => (float[3] y) { [n1] y = Relu<k=1>(x) }", ModelInvalidError, "n1", "Relu"),
    ],
)
def test_load_failures(parse, text, kind, node, op_type):
    with pytest.raises(kind) as caught:
        open_session(parse("g " + text, domains=', "com.x" : 1'))
    assert caught.value.remedy
    assert "onnxruntime_src" not in str(caught.value)
    if node:
        assert (caught.value.node, caught.value.op_type) == (node, op_type)
    else:
        assert caught.value.op_type == "com.x:Foo"


@pytest.mark.parametrize("versions", [{"opset": 99}, {"ir_version": 99}])
def test_newer_versions(parse, versions):
    model = parse("g (float[1] x) => (float[1] y) { y = Neg(x) }", **versions)
    with pytest.raises(UnsupportedError):
        open_session(model)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x08"])
@pytest.mark.parametrize("outputs", [None, ["y"]])
def test_not_a_model(tmp_path, data, outputs):
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    # An empty proto parses; then it is the requested output that is missing.
    with pytest.raises((ModelCorruptError, SpecError)):
        open_session(path, outputs=outputs)


def test_no_such_file(tmp_path):
    with pytest.raises(ModelCorruptError, match="not a file"):
        open_session(tmp_path / "none.onnx")


@pytest.mark.parametrize("as_path", [True, False])
@pytest.mark.parametrize("large", [True, False])
def test_unknown_output(float_model, tmp_path, as_path, large, monkeypatch):
    if large:
        monkeypatch.setattr(session_module, "_LARGEST_IN_MEMORY", 1)
    model = float_model
    if as_path:
        model = tmp_path / "m.onnx"
        ir.save(float_model, model)
    with pytest.raises(SpecError, match="'nope'") as caught:
        open_session(model, outputs=["y", "nope"])
    assert caught.value.tensor == "nope"


def test_run_failure_names_the_node(parse):
    model = parse("g (float[3] x, float[K] z) => (float[M] y) { [n1] y = Add(x, z) }")
    sample = {"x": np.ones(3, np.float32), "z": np.ones(4, np.float32)}
    with open_session(model) as session, pytest.raises(ModelInvalidError) as caught:
        session.run(sample)
    assert (caught.value.node, caught.value.op_type) == ("n1", "Add")
    assert "3 by 4" in str(caught.value) and "onnxruntime_src" not in str(caught.value)


def test_run_out_of_memory(parse):
    model = parse("g (int64[2] s) => (float[N,M] y) { [n1] y = ConstantOfShape(s) }")
    with open_session(model) as session, pytest.raises(ChildMemoryError) as caught:
        session.run({"s": np.array([10_000_000, 10_000_000])})
    assert caught.value.node == "n1"


def test_sequence_output_is_unsupported(parse):
    model = parse("g (float[3] x) => (seq(float[3]) y) { y = SequenceConstruct(x) }")
    with pytest.raises(UnsupportedError) as caught:
        open_session(model)
    assert caught.value.tensor == "y"


def test_value_dtypes(parse):
    model = parse(
        """g (float[2] x) => (float[2] y) {
            s = SequenceConstruct(x) b = Cast<to=16>(x) i = Cast<to=7>(x) y = Neg(x) }"""
    )
    assert value_dtypes(model, ["i", "s", "b", "y"]) == {
        "i": "int64",
        "s": "seq(tensor(float))",
        "b": "bfloat16",
        "y": "float32",
    }


@pytest.mark.parametrize("told", [None, "0"])
@pytest.mark.parametrize("what", ["session", "doctor"])
def test_nothing_is_left_in_the_users_home(tmp_path, told, what):
    """ONNX Runtime's telemetry leaves an identifier there, unless it is told before its import."""
    home = tmp_path / "home"
    home.mkdir()
    ir.save(
        ir.from_onnx_text(
            '<ir_version: 8, opset_import: ["": 17]> g (float[1] x) => (float[1] y) {y = Relu(x)}'
        ),
        tmp_path / "m.onnx",
    )
    code = (
        "import sys, numpy as np; from qdq.runtime import open_session\n"
        "with open_session(sys.argv[1]) as session: session.run({'x': np.ones(1, np.float32)})"
    )
    words = ["-c", code, str(tmp_path / "m.onnx")] if what == "session" else ["-m", "qdq", "doctor"]
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment = {**kept, "HOME": str(home)}
    if told is not None:
        # Who wants it says so.
        environment["ORT_DISABLE_TELEMETRY"] = told
    subprocess.run([sys.executable, *words], env=environment, check=True, capture_output=True)
    left = [path.name for path in home.rglob("*") if path.is_file()]
    assert bool(left) is (told == "0")
