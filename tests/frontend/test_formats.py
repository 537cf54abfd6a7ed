from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import time
import zipfile

import onnx
import onnx.parser
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdq.base.errors import ModelCorruptError, ModelInvalidError, QdqError, UnsupportedError
from qdq.frontend import ModelFormat, detect_format, import_model

MODEL = onnx.parser.parse_model(
    '<ir_version: 8, opset_import: ["" : 17]> g (float[1,3] x) => (float[1,3] y) { y = Relu(x) }'
).SerializeToString()


def archive(path, *names):
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, b"x")
    return path


@pytest.mark.parametrize("name", ["m.onnx", "m.pt", "m"])
def test_onnx_by_content(tmp_path, name):
    (tmp_path / name).write_bytes(MODEL)
    assert detect_format(tmp_path / name) is ModelFormat.ONNX
    assert [v.name for v in import_model(tmp_path / name).graph.inputs] == ["x"]


def test_onnx_folder(tmp_path):
    (tmp_path / "m.onnx").write_bytes(MODEL)
    (tmp_path / "m.data").write_bytes(b"weights")
    assert detect_format(tmp_path) is ModelFormat.ONNX
    assert [v.name for v in import_model(tmp_path).graph.inputs] == ["x"]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (("m/constants.pkl", "m/code/__torch__.py", "m/data.pkl"), ModelFormat.TORCHSCRIPT),
        (("m/archive_format", "m/models/model.json"), ModelFormat.EXPORTED_PROGRAM),
        (("serialized_exported_program.json", "version"), ModelFormat.EXPORTED_PROGRAM),
    ],
)
def test_torch_archives(tmp_path, members, expected):
    assert detect_format(archive(tmp_path / "m", *members)) is expected


def test_real_torch_files(torch_models):
    assert detect_format(torch_models / "conv.pt") is ModelFormat.TORCHSCRIPT
    assert detect_format(torch_models / "conv2.pt2") is ModelFormat.EXPORTED_PROGRAM
    for name in ("pickled.pt", "weights.pth", "legacy.pth"):
        with pytest.raises(ModelInvalidError, match=r"pickled.*torch\.jit\.trace"):
            detect_format(torch_models / name)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", ModelCorruptError, "is empty"),
        (b"Dear reader,\n this is a text file.", ModelCorruptError, "not an ONNX model"),
        (MODEL[:-3], ModelCorruptError, "cut off"),
        (MODEL[:2], ModelCorruptError, "no graph"),
        (b"\0\0\0\0TFL3" + bytes(50), UnsupportedError, "TFLite"),
        (b"\0\0\0\0ORTM" + bytes(50), UnsupportedError, "ONNX Runtime's own"),
        (b"\x7fELF" + bytes(50), UnsupportedError, "shared library"),
        (b"GGUF" + bytes(50), UnsupportedError, "GGUF"),
        (b"\x40\0\0\0\0\0\0\0" + b'{"a":{"dtype"', UnsupportedError, "safetensors"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), ModelCorruptError, "HDF5"),
        (b"\x93NUMPY\x01\0", ModelCorruptError, "numpy array"),
        (pickle.dumps({"a": 1}), ModelInvalidError, "pickled"),
        (b"PK\x03\x04", ModelCorruptError, "damaged or truncated zip"),
    ],
)
def test_refused_by_name(tmp_path, content, error, message):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        import_model(path)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("members", "error", "message"),
    [
        (("a.txt", "b.txt"), ModelCorruptError, "zip archive of no model"),
        (("net/net.onnx", "net/net.data"), UnsupportedError, "Unpack it"),
        (("m/data.pkl", "m/version"), ModelInvalidError, "pickled"),
    ],
)
def test_archives_refused_by_name(tmp_path, members, error, message):
    with pytest.raises(error, match=message):
        detect_format(archive(tmp_path / "m.pt", *members))


def test_a_dlc_is_told_and_not_imported(tmp_path):
    path = archive(tmp_path / "m.pt", "model", "model.params", "dlc.metadata")
    assert detect_format(path) is ModelFormat.QNN_DLC
    with pytest.raises(UnsupportedError, match="QNN DLC"):
        import_model(path)


def test_a_long_list_of_members_is_not_made(tmp_path):
    """A million members of one name: zipfile would make an object of each."""
    data = archive(tmp_path / "m.pt", "m/constants.pkl").read_bytes()
    start, end = data.rindex(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    entries = data[start:end] * 1_000_000
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 65535, 65535, len(entries), start, 0)
    (tmp_path / "m.pt").write_bytes(data[:start] + entries + tail)
    begun = time.monotonic()
    with pytest.raises(ModelInvalidError, match="more members than any model"):
        detect_format(tmp_path / "m.pt")
    assert time.monotonic() - begun < 2


def test_as_many_members_as_a_large_model_has(tmp_path):
    names = ["m/constants.pkl", "m/code/m.py", *(f"m/data/{n}" for n in range(5000))]
    path = archive(tmp_path / "m.pt", *(name.replace("m/code", "code") for name in names))
    assert detect_format(path) is ModelFormat.TORCHSCRIPT


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ((), ModelInvalidError, "exactly one"),
        (("a.onnx", "b.onnx"), ModelInvalidError, "exactly one"),
        (("Manifest.json",), UnsupportedError, "Core ML"),
        (("saved_model.pb",), UnsupportedError, "SavedModel"),
    ],
)
def test_folders_refused_by_name(tmp_path, names, error, message):
    for name in names:
        (tmp_path / name).write_bytes(MODEL)
    with pytest.raises(error, match=message):
        detect_format(tmp_path)


def test_missing_and_pipe(tmp_path):
    with pytest.raises(ModelCorruptError, match="No such file"):
        detect_format(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelCorruptError, match="not a regular file"):
        detect_format(tmp_path / "pipe")


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (self.marker, "w"))


@pytest.mark.parametrize("packed", [True, False])
def test_pickles_are_never_executed(tmp_path, packed):
    marker = tmp_path / "executed"
    hostile = pickle.dumps(Bomb(str(marker)))
    path = tmp_path / "m.pt"
    if packed:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("m/data.pkl", hostile)
            file.writestr("m/version", "3")
    else:
        path.write_bytes(hostile)
    with pytest.raises(ModelInvalidError):
        import_model(path)
    assert not marker.exists()


def test_torch_is_not_imported_here():
    code = "import sys, qdq.frontend; sys.exit('torch' in sys.modules or 'h5py' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@settings(
    derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda at, byte: MODEL[:at] + bytes([byte]) + MODEL[at + 1 :],
            st.integers(0, len(MODEL) - 1),
            st.integers(0, 255),
        ),
        st.builds(lambda b: b"PK\x03\x04" + b, st.binary(max_size=200)),
    )
)
def test_any_bytes(content, tmp_path):
    path = tmp_path / "m"
    path.write_bytes(content)
    try:
        import_model(path)
    except QdqError as error:
        assert error.cause
