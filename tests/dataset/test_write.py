from __future__ import annotations

import h5py
import numpy as np
import pytest

from qdq.base.errors import DatasetError, OutputError
from qdq.dataset import h5_writer, npz_writer, open_samples, write_h5, write_npz


@pytest.mark.parametrize(
    ("shape", "stacked"),
    [((1, 3), (2, 3)), ((5, 3), (2, 5, 3)), ((), (2,)), ((1, 0, 3), (2, 0, 3))],
)
def test_npz_is_numpys(tmp_path, shape, stacked):
    data = [np.full(shape, k, np.float16) for k in range(2)]
    write_npz(tmp_path / "o.npz", {"y": data})
    with np.load(tmp_path / "o.npz") as file:
        assert file["y"].dtype == np.float16
        np.testing.assert_array_equal(file["y"], np.stack(data).reshape(stacked), strict=True)


def test_npz_bytes_repeat(tmp_path, arrays):
    write_npz(tmp_path / "a", arrays)
    write_npz(tmp_path / "b", arrays)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_h5_is_the_clients_layout(tmp_path, arrays):
    arrays["half"] = [np.zeros((1, 2), np.float16)] * 12
    write_h5(tmp_path / "o.h5", arrays)
    with h5py.File(tmp_path / "o.h5") as file:
        assert list(file) == ["data"]
        assert sorted(file["data"]) == ["0", "1", "2", "3"]
        for order, name in enumerate(arrays):
            group = file[f"data/{order}"]
            assert dict(group.attrs) == {"name": name, "batch_count": 12, "order": order}
            assert group.attrs["order"].dtype == np.int64
            for j, array in enumerate(arrays[name]):
                dataset = group[f"batch_{j}"]
                assert (dataset.compression, dataset.compression_opts) == ("gzip", 4)
                assert dataset.dtype == array.dtype
                np.testing.assert_array_equal(dataset[()], array)


def test_h5_takes_shapes_that_differ_and_scalars(tmp_path):
    data = [np.zeros((1, 2), np.float32), np.zeros((3, 0), np.float32), np.float32(3)]
    write_h5(tmp_path / "o.h5", {"y": [np.asarray(a) for a in data]})
    with h5py.File(tmp_path / "o.h5") as file:
        assert [file[f"data/0/batch_{j}"].shape for j in range(3)] == [(1, 2), (3, 0), ()]


@pytest.mark.parametrize("second", [np.zeros((1, 3), np.float32), np.zeros((1, 2), np.int8)])
def test_npz_refuses_shapes_that_differ(tmp_path, second):
    with pytest.raises(DatasetError, match=r"'y', sample 1 .*use \.h5"):
        write_npz(tmp_path / "o.npz", {"y": [np.zeros((1, 2), np.float32), second]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [write_npz, write_h5])
@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "there are none"),
        ({"y": []}, "no samples to write"),
        ({"y": [np.zeros(1, np.int8)], "z": []}, "'y' 1, 'z' 0"),
    ],
)
def test_nothing_to_write(tmp_path, write, outputs, message):
    with pytest.raises(DatasetError, match=message):
        write(tmp_path / "o", outputs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("open_writer", [npz_writer, h5_writer])
def test_a_failed_block_leaves_what_was_there(tmp_path, open_writer):
    path = tmp_path / "o"
    path.write_bytes(b"precious")
    with pytest.raises(DatasetError, match="Sample 1 has"), open_writer(path) as writer:
        writer.append({"y": np.zeros((1, 2), np.int8)})
        writer.append({"z": np.zeros((1, 2), np.int8)})
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("open_writer", [npz_writer, h5_writer])
def test_streamed(tmp_path, open_writer):
    with open_writer(tmp_path / "o") as writer:
        for k in range(5):
            writer.append({"y": np.full((1, 2), k, np.int8), "/a:b": np.full((1,), k, np.int64)})
    with open_samples(tmp_path / "o") as samples:
        assert samples.names == ("y", "/a:b")
        assert [int(sample["/a:b"][0]) for sample in samples] == list(range(5))


@pytest.mark.parametrize("write", [write_npz, write_h5])
def test_missing_folder(tmp_path, write):
    with pytest.raises(OutputError, match="does not exist"):
        write(tmp_path / "absent" / "o", {"y": [np.zeros(1, np.int8)]})
