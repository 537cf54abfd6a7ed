import os

import numpy as np
import onnx
import pytest

from qdq.base.errors import ModelCorruptError, ModelInvalidError
from qdq.graph.load import load_model

TEXT = "g (float[4] x) => (float[4] y) { y = Add(x, w) }"
VALUES = np.arange(4, dtype=np.float32)


@pytest.fixture
def place(tmp_path, proto_of):
    """place(location, **entries): a model whose tensor 'w' is external, and its folder."""

    def make(location="w.data", **entries):
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        proto = proto_of(TEXT, w=VALUES)
        tensor = proto.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=str(value))
        path = folder / "m.onnx"
        path.write_bytes(proto.SerializeToString())
        return path

    return make


def test_a_file_beside_the_model_is_mapped(place):
    path = place(offset=8, length=16)
    (path.parent / "w.data").write_bytes(b"\0" * 8 + VALUES.tobytes())
    tensor = load_model(path).graph.initializers["w"].const_value
    np.testing.assert_array_equal(tensor.numpy(), VALUES)


def test_a_relative_model_path_works(place, monkeypatch):
    path = place("sub/w.data")
    (path.parent / "sub").mkdir()
    (path.parent / "sub" / "w.data").write_bytes(VALUES.tobytes())
    monkeypatch.chdir(path.parent)
    model = load_model("m.onnx")
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(model.graph.initializers["w"].const_value.numpy(), VALUES)


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd",
        "../w.data",
        "a/../../w.data",
        "",
        "C:\\w.data",
        "..\\w.data",
        "a\\w.data",
        ".",
    ],
)
def test_locations_outside_are_refused(place, tmp_path, location):
    path = place(location)
    (tmp_path / "w.data").write_bytes(VALUES.tobytes())
    with pytest.raises(ModelInvalidError) as caught:
        load_model(path)
    assert caught.value.tensor == "w"


def test_a_missing_file_is_refused(place):
    with pytest.raises(ModelInvalidError, match="cannot be found"):
        load_model(place())


@pytest.mark.parametrize("kind", ["file", "inside", "folder", "hard", "fifo", "directory"])
def test_links_and_special_files_are_refused(place, tmp_path, kind):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "w.data").write_bytes(VALUES.tobytes())
    path = place("sub/w.data" if kind == "folder" else "w.data")
    data = path.parent / "w.data"
    if kind == "file":
        data.symlink_to(secret / "w.data")
    elif kind == "inside":
        (path.parent / "real").write_bytes(VALUES.tobytes())
        data.symlink_to("real")
    elif kind == "folder":
        (path.parent / "sub").symlink_to(secret)
    elif kind == "hard":
        os.link(secret / "w.data", data)
    elif kind == "fifo":
        os.mkfifo(data)
    else:
        data.mkdir()
    with pytest.raises(ModelInvalidError) as caught:
        load_model(path)
    assert caught.value.tensor == "w"


@pytest.mark.parametrize(
    ("entries", "error"),
    [
        ({"offset": 4}, ModelCorruptError),
        ({"offset": 1 << 62}, ModelCorruptError),
        ({"offset": -4}, ModelInvalidError),
        ({"length": 12}, ModelInvalidError),
        ({"length": -1}, ModelInvalidError),
        ({"length": "1e3"}, ModelInvalidError),
        ({"offset": "²"}, ModelInvalidError),
    ],
)
def test_offset_and_length_are_checked(place, entries, error):
    path = place(**entries)
    (path.parent / "w.data").write_bytes(VALUES.tobytes())
    with pytest.raises(error) as caught:
        load_model(path)
    assert caught.value.tensor == "w"


def test_a_short_file_is_corrupt(place):
    path = place()
    (path.parent / "w.data").write_bytes(VALUES.tobytes()[:-1])
    with pytest.raises(ModelCorruptError, match="only 15"):
        load_model(path)


def test_external_data_of_attributes_is_checked_too(place):
    path = place("../x")
    proto = onnx.load(path, load_external_data=False)
    tensor = proto.graph.initializer.pop()
    node = onnx.helper.make_node("Constant", [], ["w"], value=onnx.TensorProto())
    node.attribute[0].t.CopyFrom(tensor)
    proto.graph.node.insert(0, node)
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelInvalidError, match="not a path inside"):
        load_model(path)


@pytest.mark.parametrize("dims", [[1] * 65, [0, 1 << 62], [1 << 62, 1 << 62]])
def test_shapes_that_no_array_has(tmp_path, proto_of, dims):
    proto = proto_of(TEXT, w=VALUES)
    tensor = proto.graph.initializer[0]
    del tensor.dims[:]
    tensor.dims.extend(dims)
    (tmp_path / "m").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelInvalidError, match="more elements than any array"):
        load_model(tmp_path / "m")
