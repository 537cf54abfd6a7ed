import contextlib

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdq.base.errors import (
    ModelCorruptError,
    ModelInvalidError,
    QdqError,
    UnsupportedError,
)
from qdq.graph.load import load_model
from qdq.graph.wire import is_onnx_file

RELU = "g (float[2] x) => (float[2] y) { y = Relu(x) }"


def saved(path, proto):
    path.write_bytes(proto.SerializeToString())
    return path


def test_loads_whatever_the_name(tmp_path, proto_of):
    path = saved(tmp_path / "weights.bin", proto_of(RELU))
    assert is_onnx_file(path)
    assert [n.op_type for n in load_model(path).graph] == ["Relu"]


def test_loads_a_folder_with_one_model(tmp_path, proto_of):
    saved(tmp_path / "a.onnx", proto_of(RELU))
    (tmp_path / "notes.txt").write_text("x")
    assert len(load_model(tmp_path).graph) == 1


@pytest.mark.parametrize("count", [0, 2])
def test_a_folder_needs_exactly_one_model(tmp_path, proto_of, count):
    for index in range(count):
        saved(tmp_path / f"{index}.onnx", proto_of(RELU))
    with pytest.raises(ModelInvalidError, match="exactly one"):
        load_model(tmp_path)


def test_missing_file(tmp_path):
    with pytest.raises(ModelCorruptError, match="does not exist"):
        load_model(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 64, b"PK\x03\x04" + b"x" * 100, b"hello, not a model", b"\xff" * 40, b"\x08"],
    ids=["empty", "zeros", "zip", "text", "ff", "cut"],
)
def test_other_bytes_are_corrupt(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert not is_onnx_file(path)
    with pytest.raises(ModelCorruptError):
        load_model(path)


def test_huge_garbage_is_refused_without_reading_it(tmp_path):
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate(8 << 30)
    with pytest.raises(ModelCorruptError, match="2 GB"):
        load_model(path)


def test_every_truncation_is_corrupt(tmp_path, proto_of):
    whole = proto_of(RELU, w=np.ones(5, np.float32)).SerializeToString()
    path = tmp_path / "m.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises((ModelCorruptError, ModelInvalidError)):
            load_model(path)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_never_escape_the_error_tree(tmp_path, proto_of, data):
    content = bytearray(
        proto_of(
            "g (float[1,2,4] x) => (float[1,3,3] y) { c = Conv(x, w) y = Relu(c) }",
            w=np.ones((3, 2, 2), np.float32),
        ).SerializeToString()
    )
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "m.onnx"
    path.write_bytes(bytes(content))
    with contextlib.suppress(QdqError):
        load_model(path)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_random_bytes_never_escape_the_error_tree(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(QdqError):
        load_model(path)


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("g (float[2] x) => (float[2] y) { y = Add(x, ghost) }", ModelInvalidError, "ghost"),
        ("g (float[2] x) => (float[2] y) { z = Relu(x) }", ModelInvalidError, "'y'"),
        ("g (float[2] x) => (float[2] y) { y = Relu(x) y = Neg(x) }", ModelInvalidError, "once"),
        ("g (float[2] x) => (float[2] y) { y = Relu(z) z = Relu(y) }", ModelInvalidError, "cycle"),
        ("g (float[2] x) => (float[2] y) { y = Relu(x, x) }", ModelInvalidError, "Relu"),
        (
            "g (float[2] x) => (float[2] y) { y = Relu<nonsense=1>(x) }",
            ModelInvalidError,
            "nonsense",
        ),
        ("g (float[2] x) => (float[2] y) { y = NoSuchOp(x) }", ModelInvalidError, "NoSuchOp"),
    ],
    ids=["undefined", "no-output", "redefined", "cycle", "arity", "attribute", "unknown-op"],
)
def test_ill_formed_graphs_name_the_place(build, text, error, match):
    with pytest.raises(error, match=match):
        build(text)


def test_the_undefined_input_names_its_node(build):
    with pytest.raises(ModelInvalidError) as caught:
        build("g (float[2] x) => (float[2] y) { y = Add(x, ghost) }")
    assert caught.value.node == "y"
    assert caught.value.op_type == "Add"


def test_versions_are_required(proto_of, tmp_path):
    no_ir, no_opset = proto_of(RELU), proto_of(RELU)
    no_ir.ClearField("ir_version")
    del no_opset.opset_import[:]
    for proto in (no_ir, no_opset):
        with pytest.raises(ModelInvalidError):
            load_model(saved(tmp_path / "m.onnx", proto))


def test_a_newer_opset_is_unsupported(proto_of, tmp_path):
    with pytest.raises(UnsupportedError, match="999"):
        load_model(saved(tmp_path / "m.onnx", proto_of(RELU, opset=999)))


def test_weights_shorter_than_their_shape_are_corrupt(proto_of, tmp_path):
    raw = proto_of("g (float[2] x) => (float[2] y) { y = Add(x, w) }", w=np.ones(2, np.float32))
    raw.graph.initializer[0].raw_data = b"\0" * 7
    typed = proto_of("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }")
    typed.graph.initializer[0].dims[0] = 1 << 40
    for proto in (raw, typed):
        with pytest.raises(ModelCorruptError) as caught:
            load_model(saved(tmp_path / "m.onnx", proto))
        assert caught.value.tensor == "w"


def test_sparse_weights_are_unsupported(proto_of, tmp_path):
    proto = proto_of(RELU)
    sparse = proto.graph.sparse_initializer.add(dims=[4])
    sparse.values.CopyFrom(onnx.numpy_helper.from_array(np.ones(1, np.float32), "s"))
    sparse.indices.CopyFrom(onnx.numpy_helper.from_array(np.ones(1, np.int64), "i"))
    with pytest.raises(UnsupportedError, match="Sparse"):
        load_model(saved(tmp_path / "m.onnx", proto))


def test_nodes_are_sorted(build):
    model = build("g (float[2] x) => (float[2] y) { y = Relu(z) z = Neg(x) }")
    assert [n.op_type for n in model.graph] == ["Neg", "Relu"]


def test_unknown_dims_share_no_name(build):
    model = build(
        "g (float[?,3] x, float[-1] z) => (float[2] y) { y = Relu(z) }".replace("-1", "n")
    )
    assert model.graph.inputs[0].shape[0].value is None


def test_functions_are_inlined(tmp_path):
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[2] x) => (float[2] y) { y = local.twice(x) }
        <domain: "local", opset_import: ["" : 17]>
        twice (a) => (b) { b = Add(a, a) }"""
    )
    model = load_model(saved(tmp_path / "m.onnx", proto))
    assert [n.op_type for n in model.graph] == ["Add"]
    assert not model.functions
    assert "local" not in model.opset_imports


def test_weights_listed_as_inputs_are_no_inputs_in_old_models(tmp_path):
    proto = onnx.parser.parse_model(
        """<ir_version: 3, opset_import: ["" : 8]>
        g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }"""
    )
    model = load_model(saved(tmp_path / "m.onnx", proto))
    assert [value.name for value in model.graph.inputs] == ["x"]
    onnx.checker.check_model(ir.serde.serialize_model(model))


def test_subgraphs_and_custom_ops_load_for_inspection(tmp_path):
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "my" : 1]>
        g (bool c, float[2] x) => (float[2] y) {
          z = my.Op(x)
          y = If(c) <then_branch = t () => (float[2] a) { a = Relu(z) },
                     else_branch = e () => (float[2] b) { b = Neg(z) }>
        }"""
    )
    assert len(load_model(saved(tmp_path / "m.onnx", proto)).graph) == 2


def test_no_two_nodes_have_one_name(tmp_path, proto_of):
    text = """g (float[2] x) => (float[2] y)
        { [a] p = Neg(x) [a] q = Relu(p) [a_2] r = Abs(q) s = Neg(r) y = Relu(s) }"""
    model = load_model(saved(tmp_path / "m.onnx", proto_of(text)))
    assert [n.name or "" for n in model.graph] == ["a", "a_3", "a_2", "", ""]
