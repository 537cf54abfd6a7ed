from __future__ import annotations

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest

from qdq.base.errors import DatasetError
from qdq.dataset import limits, open_samples


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    return stream.getvalue()


def raw_npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


def make_zip(path, members, *, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


GOOD = npy(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable .npy"),
        (b"junk" * 100, "not a readable .npy"),
        (GOOD[:-1], "declares 24 bytes but has 23"),
        (GOOD + b"\0", "declares 24 bytes but has 25"),
        (npy(np.array([{}, None], object)), "dtype object"),
        (npy(np.zeros((2, 3), "f4,i4")), "dtype void"),
        (npy(np.asfortranarray(np.zeros((2, 3), np.float32))), "Fortran order"),
        (npy(np.zeros((), np.float32)), "no dimensions"),
        (npy(np.zeros((0, 3), np.float32)), "0 samples"),
        (
            raw_npy("{'descr':'<f4','fortran_order':False,'shape':(2,1099511627776),}"),
            "the limit is",
        ),
        (
            raw_npy("{'descr':'<f4','fortran_order':False,'shape':(2,0,1099511627776),}"),
            "the limit is",
        ),
        (raw_npy("{'descr':'<f4','fortran_order':False,'shape':(2,-3),}"), "negative"),
        (raw_npy("{'descr':'<f4','fortran_order':False,'shape':(99**99,),}"), "not a readable"),
        (raw_npy("(" * 9000), "not a readable"),
        (raw_npy("{'descr':'<f4','shape':(1,)}"), "not a readable"),
        (raw_npy("__import__('os').system('true')"), "not a readable"),
        (b"\x93NUMPY\x03\x00" + GOOD[8:], "structured"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31) + b"{}", "not a readable"),
    ],
)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_bad_arrays(tmp_path, content, message, method):
    path = make_zip(tmp_path / "d", [("image.npy", content)], method=method)
    with pytest.raises(DatasetError, match=message) as caught:
        open_samples(path)
    assert caught.value.remedy
    if message != "0 samples":
        assert "'image'" in str(caught.value)


def test_bad_array_in_folder(tmp_path):
    (tmp_path / "x.npy").write_bytes(GOOD[:40])
    with pytest.raises(DatasetError, match=r"'x' is not a readable \.npy"):
        open_samples(tmp_path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "no inputs"),
        ([("readme.txt", b"hi")], "'readme.txt', which is no .npy"),
        ([("d/", b"")], "'d/', which is no .npy"),
        ([(".npy", GOOD)], "cannot be the name"),
        ([(f"x{i}.npy", b"") for i in range(limits.MAX_INPUTS + 1)], "1,025 members"),
    ],
)
def test_bad_archives(tmp_path, members, message):
    with pytest.raises(DatasetError, match=message):
        open_samples(make_zip(tmp_path / "d", members))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_members(tmp_path):
    with pytest.raises(DatasetError, match="'x' occurs 2 times"):
        open_samples(make_zip(tmp_path / "d", [("x.npy", GOOD), ("x.npy", GOOD)]))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_are_refused(tmp_path, method):
    path = make_zip(tmp_path / "d", [("x.npy", GOOD)], method=method)
    with pytest.raises(DatasetError, match=f"zip method {method}"):
        open_samples(path)


def test_encrypted_is_refused(tmp_path):
    path = make_zip(tmp_path / "d", [("x.npy", GOOD)])
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="encrypted"):
        open_samples(path)


@pytest.mark.parametrize("keep", [5, 40, 100, -1, -30])
def test_truncated_archive(tmp_path, keep):
    path = make_zip(tmp_path / "d", [("x.npy", GOOD)])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DatasetError):
        open_samples(path)


def with_sizes(path, *, packed=None, unpacked=None):
    """Rewrite the sizes in the central directory."""
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    if packed is not None:
        data[at + 20 : at + 24] = struct.pack("<I", packed)
    if unpacked is not None:
        data[at + 24 : at + 28] = struct.pack("<I", unpacked)
    path.write_bytes(data)
    return path


def test_bomb_by_declared_size(tmp_path):
    header = raw_npy("{'descr':'|u1','fortran_order':False,'shape':(4,1000000000),}")
    path = make_zip(tmp_path / "d", [("x.npy", header)], method=zipfile.ZIP_DEFLATED)
    with pytest.raises(DatasetError, match="'x' claims to unpack"):
        open_samples(with_sizes(path, unpacked=4_000_000_000))


def test_bomb_by_total(tmp_path, monkeypatch):
    monkeypatch.setattr("qdq.dataset.npz.MAX_UNPACKED_BYTES", 100)
    path = make_zip(tmp_path / "d", [("x.npy", GOOD)], method=zipfile.ZIP_DEFLATED)
    with pytest.raises(DatasetError, match="limit is 100"):
        open_samples(path)


def test_stream_longer_than_declared_is_not_unpacked(tmp_path):
    """The copy stops at the declared size, whatever the compressed stream holds."""
    long = GOOD + b"\0" * 1_000_000
    path = make_zip(tmp_path / "d", [("x.npy", long)], method=zipfile.ZIP_DEFLATED)
    with pytest.raises(DatasetError, match="'x' cannot be unpacked"):
        open_samples(with_sizes(path, unpacked=len(GOOD)))


def test_no_space_to_unpack(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "d", [("x.npy", GOOD)], method=zipfile.ZIP_DEFLATED)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 3}))
    with open_samples(path) as samples, pytest.raises(DatasetError, match="needs 152 bytes"):
        samples[0]


def test_damaged_stream_is_found_by_its_crc(tmp_path):
    data = npy(np.random.default_rng(0).integers(0, 255, (100, 100), np.uint8))
    path = make_zip(tmp_path / "d", [("x.npy", data)], method=zipfile.ZIP_DEFLATED)
    damaged = bytearray(path.read_bytes())
    damaged[8000] ^= 1
    path.write_bytes(damaged)
    with open_samples(path) as samples, pytest.raises(DatasetError, match="cannot be unpacked"):
        samples[0]


def test_unpacked_once(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "d", [("x.npy", GOOD)], method=zipfile.ZIP_DEFLATED)
    with open_samples(path) as samples:
        samples[0]
        monkeypatch.setattr(zlib, "decompressobj", None)
        monkeypatch.setattr(zipfile.ZipFile, "open", None)
        samples[1]


def test_file_that_shrinks_while_open(tmp_path):
    path = make_zip(tmp_path / "d", [("x.npy", GOOD)])
    with open_samples(path) as samples:
        with path.open("r+b") as file:
            file.truncate(140)
        with pytest.raises(DatasetError, match="sample 1 is truncated"):
            samples[1]


def test_read_after_close(tmp_path):
    samples = open_samples(make_zip(tmp_path / "d", [("x.npy", GOOD)]))
    samples.close()
    with pytest.raises(DatasetError, match="cannot be read"):
        samples[0]


class TestFolder:
    def test_inputs_come_in_order_of_name_and_hidden_files_are_ignored(self, tmp_path):
        for name in ("b", "a", "c:0"):
            (tmp_path / f"{name}.npy").write_bytes(GOOD)
        (tmp_path / ".DS_Store").write_bytes(b"x")
        with open_samples(tmp_path) as samples:
            assert samples.names == ("a", "b", "c:0")

    def test_empty(self, tmp_path):
        with pytest.raises(DatasetError, match=r"no \.npy files"):
            open_samples(tmp_path)

    @pytest.mark.parametrize("name", ["readme.txt", "x.npz"])
    def test_other_files_are_refused(self, tmp_path, name):
        (tmp_path / name).write_bytes(GOOD)
        with pytest.raises(DatasetError, match=r"is no \.npy file"):
            open_samples(tmp_path)

    def test_links_are_refused(self, tmp_path):
        (tmp_path / "real").write_bytes(GOOD)
        folder = tmp_path / "d"
        folder.mkdir()
        (folder / "x.npy").symlink_to(tmp_path / "real")
        with pytest.raises(DatasetError, match="is a link"):
            open_samples(folder)

    def test_folder_called_npy_is_refused(self, tmp_path):
        (tmp_path / "x.npy").mkdir()
        with pytest.raises(DatasetError, match="not a regular file"):
            open_samples(tmp_path)

    def test_too_many(self, tmp_path, monkeypatch):
        monkeypatch.setattr("qdq.dataset.folder.MAX_INPUTS", 2)
        monkeypatch.setattr("qdq.dataset.samples.MAX_INPUTS", 2)
        for name in "abc":
            (tmp_path / f"{name}.npy").write_bytes(GOOD)
        with pytest.raises(DatasetError, match="3 inputs"):
            open_samples(tmp_path)
