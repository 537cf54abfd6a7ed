"""Every kind of source passes the same tests."""

from __future__ import annotations

import os
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from qdq.base.dtypes import DTYPES
from qdq.base.errors import DatasetError
from qdq.dataset import ChosenSamples, TensorLayout, open_samples, write_h5, write_npz


def check_same(samples, arrays):
    assert samples.names == tuple(arrays) or sorted(samples.names) == sorted(arrays)
    assert len(samples) == len(next(iter(arrays.values())))
    for index, sample in enumerate(samples):
        for name, expected in arrays.items():
            assert sample[name].dtype == expected[index].dtype
            np.testing.assert_array_equal(sample[name], expected[index], strict=True)


def test_round_trip(save, arrays):
    with open_samples(save(arrays)) as samples:
        check_same(samples, arrays)


@pytest.mark.parametrize("form", ["list", "stacked"])
def test_memory_round_trip(arrays, form):
    source = arrays if form == "list" else {n: np.concatenate(a) for n, a in arrays.items()}
    with open_samples(source) as samples:
        assert samples.names == ("image", "ids", "mask")
        check_same(samples, arrays)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(save, dtype):
    arrays = {"x": [np.array([[0, 1, 1]], dtype), np.array([[1, 0, 1]], dtype)]}
    with open_samples(save(arrays)) as samples:
        assert samples.layout(1) == {"x": TensorLayout(dtype, (1, 3))}
        check_same(samples, arrays)


def test_random_access_and_bounds(save, arrays):
    with open_samples(save(arrays)) as samples:
        for index in (11, 0, 5, 5):
            np.testing.assert_array_equal(samples[index]["image"], arrays["image"][index])
        for index in (-1, 12):
            with pytest.raises(IndexError):
                samples[index]


def test_samples_belong_to_the_caller(save, arrays):
    with open_samples(save(arrays)) as samples:
        samples[0]["image"][:] = 0
        np.testing.assert_array_equal(samples[0]["image"], arrays["image"][0])


def test_memory_source_is_not_changed_by_callers(arrays):
    kept = arrays["image"][0].copy()
    open_samples(arrays)[0]["image"][:] = 0
    np.testing.assert_array_equal(arrays["image"][0], kept)


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "inf")])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_not_finite_is_refused_when_read(save, value, word, dtype):
    bad = np.zeros((1, 4), dtype)
    bad[0, 3] = value
    with open_samples(save({"x": [np.zeros((1, 4), dtype), bad]})) as samples:
        assert samples[0]["x"].shape == (1, 4)
        with pytest.raises(DatasetError, match=f"'x', sample 1 contains {word}"):
            samples[1]


@pytest.mark.parametrize("dtype", ["float64", "complex64", "uint32", "uint64", "S3", "U3"])
def test_other_dtypes_are_refused(save, dtype):
    arrays = {"x": [np.zeros((1, 4), dtype)]}
    if dtype == "U3":
        arrays = {"x": [np.zeros((1, 4), "datetime64[s]").astype("S20")]}
    with pytest.raises(DatasetError, match=r"'x'.*dtype.*astype"), open_samples(save(arrays)) as s:
        s.layout(0)


def test_unequal_lengths_are_refused(tmp_path):
    with (tmp_path / "d").open("wb") as file:
        np.savez(file, a=np.zeros((3, 2), np.float32), b=np.zeros((4, 2), np.float32))
    with pytest.raises(DatasetError, match=r"'a' 3, 'b' 4"):
        open_samples(tmp_path / "d")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "no inputs"),
        ({"x": []}, "0 samples"),
        ({"x": np.zeros((0, 3), np.float32)}, "0 samples"),
        ({"": [np.zeros(1, np.float32)]}, "cannot be the name"),
        ({"a\nb": [np.zeros(1, np.float32)]}, "cannot be the name"),
        ({3: [np.zeros(1, np.float32)]}, "3 cannot be the name"),
        ({"x": [np.zeros((), np.float32)]}, "'x', sample 0 has no dimensions"),
        ({"x": np.zeros((), np.float32)}, "'x' has no dimensions"),
        ({"x": [[1.0]]}, "'x', sample 0 is a list"),
        ({"x": 3}, "'x' is a int"),
        ({"x": "abc"}, "'x' is a str"),
        ({"x": [np.zeros(1)]}, "'x', sample 0 has dtype float64"),
        ({"x": np.array([None])}, "'x' has dtype object"),
        ({"x": [np.zeros(1, np.int8)], "y": [np.zeros(1, np.int8)] * 2}, "'x' 1, 'y' 2"),
        ({f"x{i}": [np.zeros(1, np.int8)] for i in range(1025)}, "1025 inputs"),
    ],
)
def test_bad_mappings(source, message):
    with pytest.raises(DatasetError, match=message):
        open_samples(source)


def test_big_endian_is_read_as_native(tmp_path):
    expected = np.arange(6, dtype=np.float32).reshape(2, 3)
    with (tmp_path / "d").open("wb") as file:
        np.savez(file, x=expected.astype(">f4"))
    with open_samples(tmp_path / "d") as samples:
        assert samples[1]["x"].dtype == np.dtype("float32")
        np.testing.assert_array_equal(samples[1]["x"], expected[1:])
    (sample,) = open_samples({"x": expected[:1].astype(">f4")})
    assert sample["x"].dtype.isnative


def test_names_with_slashes_and_colons(tmp_path):
    arrays = {"/fc/Gemm:0": [np.ones((1, 2), np.float32)], "../../x": [np.ones((1, 2), np.int8)]}
    for write in (write_npz, write_h5):
        write(tmp_path / "d", arrays)
        with open_samples(tmp_path / "d") as samples:
            check_same(samples, arrays)
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("saver", ["npz", "compressed npz"])
def test_npz_memory_is_flat(tmp_path, saver):
    """A 40 MB file is read with less than 2 MB on the heap."""
    data = np.random.default_rng(0).integers(0, 4, (400, 100_000), np.uint8)
    with (tmp_path / "d").open("wb") as file:
        (np.savez if saver == "npz" else np.savez_compressed)(file, x=data)
    tracemalloc.start()
    try:
        with open_samples(tmp_path / "d") as samples:
            total = sum(int(sample["x"].sum()) for sample in samples)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == data.sum(dtype=np.int64)
    # zlib and the copy take a few buffers of 1 MiB beside the sample of 100 kB.
    assert peak < 8 << 20


def test_threads_may_share_samples(save, arrays):
    failures = []

    def read(samples, seed):
        for index in np.random.default_rng(seed).integers(0, 12, 60):
            if not np.array_equal(samples[int(index)]["image"], arrays["image"][index]):
                failures.append(index)

    with open_samples(save(arrays)) as samples:
        threads = [threading.Thread(target=read, args=(samples, seed)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_files_are_closed(save, arrays):
    before = open_files()
    samples = open_samples(save(arrays))
    samples[0]
    samples.close()
    samples.close()
    assert open_files() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, world", "neither HDF5 nor .npz"),
        (b"\x93NUMPY\x01\x00v\x00", "single .npy"),
        (b"PK\x03\x04", "cannot be read"),
        (b"\x89HDF\r\n\x1a\n", "damaged"),
    ],
)
def test_files_that_are_no_data(tmp_path, content, message):
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        open_samples(tmp_path / "data.npz")


def test_missing_file_and_pipe(tmp_path):
    with pytest.raises(DatasetError, match="No such file"):
        open_samples(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DatasetError, match="not a regular file"):
        open_samples(tmp_path / "pipe")


def test_chosen_samples_are_those_of_the_source_in_the_given_order():
    arrays = [np.full((1, 2), value, np.float32) for value in range(4)]
    with open_samples({"x": arrays}) as source:
        chosen = ChosenSamples(source, [2, 0])
        assert len(chosen) == 2
        assert chosen.names == ("x",)
        assert chosen[0]["x"][0, 0] == 2
        assert [sample["x"][0, 0] for sample in chosen] == [2, 0]
        assert chosen.layout(1)["x"].shape == (1, 2)
        with chosen:
            pass
        assert source[3]["x"][0, 0] == 3
