from __future__ import annotations

import h5py
import numpy as np
import pytest

from qdq.base.errors import DatasetError
from qdq.dataset import open_samples


def read_all(path):
    with open_samples(path) as samples:
        return list(samples)


def replace(file, key, **kwargs):
    del file[key]
    return file.create_dataset(key, **kwargs)


def test_inputs_come_by_order_not_by_listing(h5):
    """h5py lists '10' before '2'."""
    with open_samples(h5(inputs=12)) as samples:
        assert samples.names == tuple(f"in{k}" for k in range(12))
        assert samples[1]["in10"][0, 0] == 101


def test_shapes_may_differ_between_samples(h5):
    path = h5(lambda f: replace(f, "data/0/batch_1", data=np.zeros((2, 9), np.int8)))
    with open_samples(path) as samples:
        assert samples.layout(1)["in0"].shape == (2, 9)
        assert samples[1]["in0"].shape == (2, 9)


def external(file):
    del file["data/0/batch_0"]
    file["data/0/batch_0"] = h5py.ExternalLink("/etc/passwd", "/x")


def soft(file):
    del file["data/0/batch_0"]
    file["data/0/batch_0"] = h5py.SoftLink("/data/1/batch_0")


def soft_group(file):
    file.move("data/1", "elsewhere")
    file["data/1"] = h5py.SoftLink("/elsewhere")


def external_data(file):
    del file["data"]
    file["data"] = h5py.ExternalLink("other.h5", "/data")


def virtual(file):
    del file["data/0/batch_0"]
    layout = h5py.VirtualLayout((1, 4), np.float32)
    layout[0] = h5py.VirtualSource("other.h5", "x", (4,))
    file.create_virtual_dataset("data/0/batch_0", layout)


def external_storage(file):
    replace(file, "data/0/batch_0", shape=(1, 4), dtype="f4", external=[("/etc/hostname", 0, 16)])


def references(file):
    replace(file, "data/0/batch_0", shape=(1, 4), dtype=h5py.ref_dtype)


def compound(file):
    replace(file, "data/0/batch_0", data=np.zeros((1, 4), "f4,i4"))


def array_type(file):
    replace(file, "data/0/batch_0", shape=(1, 4), dtype=np.dtype(("f4", (3,))))


def enum(file):
    dtype = h5py.enum_dtype({"A": 0, "B": 1}, "i1")
    replace(file, "data/0/batch_0", shape=(1, 4), dtype=dtype)


def committed(file):
    del file["data/0/batch_0"]
    file["data/0/batch_0"] = np.dtype("f4")


def group_for_sample(file):
    del file["data/0/batch_0"]
    file.create_group("data/0/batch_0")


def null_space(file):
    replace(file, "data/0/batch_0", data=h5py.Empty("f4"))


def scalar(file):
    replace(file, "data/0/batch_0", data=np.float32(3))


def giant(file):
    replace(file, "data/0/batch_0", shape=(1 << 40, 4), dtype="f4", chunks=(1024, 4))


def bomb(file):
    """300 MB declared, nothing stored: all fill value."""
    replace(file, "data/0/batch_0", shape=(75, 1_000_000), dtype="f4", chunks=(1, 1_000_000))


def many_chunks(file):
    replace(file, "data/0/batch_0", data=np.zeros((1, 70_000), "i1"), chunks=(1, 1))


def giant_chunk(file):
    replace(
        file,
        "data/0/batch_0",
        data=np.zeros((1, 4), "i1"),
        chunks=(1, 1 << 30),
        maxshape=(1, None),
        compression="gzip",
    )


def nbit(file):
    replace(file, "data/0/batch_0", data=np.zeros((1, 4), "i4"), scaleoffset=0)


def twice_packed(file):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((1, 4))
    properties.set_deflate(9)
    properties.set_filter(h5py.h5z.FILTER_DEFLATE, 0, (9,))
    del file["data/0/batch_0"]
    space = h5py.h5s.create_simple((1, 4))
    kind = h5py.h5t.IEEE_F32LE
    h5py.h5d.create(file["data/0"].id, b"batch_0", kind, space, properties)


def wrong_name_of_sample(file):
    file.move("data/0/batch_0", "data/0/batch_7")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (external, "'batch_0' is an external link"),
        (soft, "'batch_0' is a soft link"),
        (soft_group, "'1' is a soft link"),
        (external_data, "'data' is an external link"),
        (virtual, "data in other files"),
        (external_storage, "data in other files"),
        (references, "dtype object"),
        (compound, "dtype void"),
        (array_type, "dtype void"),
        (enum, "enumeration"),
        (committed, "is a Datatype, not a Dataset"),
        (group_for_sample, "is a Group, not a Dataset"),
        (null_space, "no dimensions"),
        (scalar, "no dimensions"),
        (giant, "the limit is"),
        (bomb, "declares 300,000,000 bytes but stores 0"),
        (many_chunks, "in 70,000 chunks"),
        (giant_chunk, "chunks of 1,073,741,824 bytes"),
        (nbit, "uses filters"),
        (twice_packed, "uses filters"),
        (wrong_name_of_sample, "has no 'batch_0'"),
    ],
)
def test_hazards(h5, spoil, message):
    with pytest.raises(DatasetError, match=message) as caught:
        read_all(h5(spoil))
    assert caught.value.remedy
    if "batch_0" in str(spoil.__doc__):
        assert "'in0', sample 0" in str(caught.value)


def attribute(group, key, value):
    def spoil(file):
        attrs = file[f"data/{group}"].attrs
        if value is None:
            del attrs[key]
        else:
            attrs[key] = value

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (attribute(0, "name", None), "'data/0' has no attribute 'name'"),
        (attribute(0, "order", None), "'data/0' has no attribute 'order'"),
        (attribute(1, "batch_count", None), "'data/1' has no attribute 'batch_count'"),
        (attribute(0, "name", 3), "'name' is no text"),
        (attribute(0, "name", ["a", "b"]), "'name' is no single value"),
        (attribute(0, "name", ""), "cannot be the name"),
        (attribute(0, "name", "in1"), "'in1' occurs 2 times"),
        (attribute(0, "order", 1), "'order' are 1, 1"),
        (attribute(0, "order", -1), "'order' are -1, 1"),
        (attribute(1, "order", 2), "'order' are 0, 2"),
        (attribute(0, "order", "0"), "'order' is no integer"),
        (attribute(0, "order", 0.5), "'order' is no integer"),
        (attribute(0, "batch_count", 1 << 62), "declares 4,611,686,018,427,387,904 samples"),
        (attribute(0, "batch_count", -2), "declares -2 samples"),
        (lambda f: f.pop("data/1/batch_1"), "declares 2 samples but has 1"),
        (lambda f: f.pop("data"), "no 'data'"),
        (lambda f: [f.pop("data/0"), f.pop("data/1")], "no inputs"),
        (lambda f: f.create_dataset("data/2", data=3), "is a Dataset, not a Group"),
    ],
)
def test_groups_and_attributes(h5, spoil, message):
    with pytest.raises(DatasetError, match=message):
        read_all(h5(spoil))


def test_unequal_lengths(h5):
    def spoil(file):
        del file["data/1/batch_1"]
        file["data/1"].attrs["batch_count"] = 1

    with pytest.raises(DatasetError, match="'in0' 2, 'in1' 1"):
        open_samples(h5(spoil))


def test_zero_samples(h5):
    def spoil(file):
        file["data/0"].clear()
        file["data/0"].attrs["batch_count"] = 0

    with pytest.raises(DatasetError, match="0 samples"):
        open_samples(h5(spoil, inputs=1))


@pytest.mark.parametrize("keep", [9, 100, 600, 3000, -1])
def test_truncated(h5, keep):
    path = h5()
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DatasetError, match=r"cannot be read|damaged"):
        read_all(path)


def test_honest_zeros_are_no_bomb(h5):
    """A black image of 16 MB packs to almost nothing, and is read."""
    zeros = np.zeros((1, 4_000_000), np.float32)

    def spoil(file):
        replace(file, "data/0/batch_0", data=zeros, compression="gzip", compression_opts=9)

    assert read_all(h5(spoil))[0]["in0"].shape == zeros.shape


@pytest.mark.parametrize("packing", [{"compression": "lzf"}, {"shuffle": True}, {"fletcher32": 1}])
def test_built_in_filters(h5, packing):
    data = np.arange(4, dtype=np.float32)[None]
    path = h5(lambda f: replace(f, "data/0/batch_0", data=data, **packing))
    np.testing.assert_array_equal(read_all(path)[0]["in0"], data)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (8, 0, "has the size 0"),
        (8, 1 << 40, "has the size"),
        (8, 9000, "cut off|size"),
        (24, 1 << 50, "object 1 of the heap"),
    ],
)
def test_damaged_heaps(h5, at, value, message):
    path = h5()
    data = bytearray(path.read_bytes())
    start = data.index(b"GCOL") + at
    data[start : start + 8] = value.to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=message):
        open_samples(path)


def test_free_space_of_size_zero_does_not_hang(h5):
    path = h5()
    data = bytearray(path.read_bytes())
    at = start = data.index(b"GCOL")
    at += 16
    while int.from_bytes(data[at : at + 2], "little"):
        at += 16 + (int.from_bytes(data[at + 8 : at + 16], "little") + 7) // 8 * 8
    assert at < start + 4096
    data[at + 8 : at + 16] = bytes(8)
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="object 0 of the heap"):
        open_samples(path)


def test_heap_across_pieces_is_found(h5, monkeypatch):
    path = h5()
    data = path.read_bytes()
    position = data.index(b"GCOL")
    path.write_bytes(data[: position + 8] + bytes(8) + data[position + 16 :])
    monkeypatch.setattr("qdq.dataset.hdf5_heap._SCAN_BYTES", position + 3)
    with pytest.raises(DatasetError, match="has the size 0"):
        open_samples(path)
