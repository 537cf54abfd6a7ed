"""Damaged files raise DatasetError and nothing else, and do not hang."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qdq.base.dtypes import DTYPES
from qdq.base.errors import DatasetError
from qdq.dataset import open_samples, write_h5, write_npz

FUZZ = settings(
    max_examples=150,
    # A hang is found by the timeout of the whole test; a slow machine is no failure.
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@functools.cache
def original(kind: str) -> bytes:
    arrays = {
        "x": [np.full((1, 3), k, np.float32) for k in range(3)],
        "y": [np.full((1, 2), k, np.int64) for k in range(3)],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data")
        if kind == "h5":
            write_h5(path, arrays)
        elif kind == "npz":
            write_npz(path, arrays)
        elif kind == "npy":
            with path.open("wb") as file:
                np.save(file, np.concatenate(arrays["x"]))
        else:
            with path.open("wb") as file:
                np.savez_compressed(file, **{n: np.concatenate(a) for n, a in arrays.items()})
        return path.read_bytes()


@st.composite
def damaged(draw, kind: str) -> bytes:
    data = bytearray(original(kind))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        how = draw(st.sampled_from(["set", "cut", "insert", "ones", "copy"]))
        if how == "set":
            data[at] = draw(st.integers(0, 255))
        elif how == "cut":
            del data[at : at + draw(st.integers(1, 64))]
        elif how == "insert":
            data[at:at] = draw(st.binary(max_size=16))
        elif how == "ones":
            data[at : at + 8] = b"\xff" * len(data[at : at + 8])
        else:
            start = draw(st.integers(0, len(data) - 1))
            data[at : at + 16] = data[start : start + 16]
        if not data:
            break
    return bytes(data)


def read_all(path: Path) -> None:
    try:
        with open_samples(path) as samples:
            for index in range(len(samples)):
                samples.layout(index)
                samples[index]
    except DatasetError as error:
        assert error.remedy


@pytest.mark.parametrize("kind", ["npz", "compressed", "h5"])
@FUZZ
@given(data=st.data())
def test_damaged_files(kind, data, tmp_path):
    path = tmp_path / "data"
    path.write_bytes(data.draw(damaged(kind)))
    read_all(path)


@FUZZ
@given(content=st.one_of(damaged("npy"), st.binary(max_size=300)))
def test_damaged_npy(content, tmp_path):
    (tmp_path / "x.npy").write_bytes(content)
    read_all(tmp_path)


@FUZZ
@given(header=st.text(max_size=200))
def test_any_npy_header(header, tmp_path):
    encoded = header.encode("latin1", "replace")
    prefix = b"\x93NUMPY\x01\x00" + len(encoded).to_bytes(2, "little")
    (tmp_path / "x.npy").write_bytes(prefix + encoded)
    read_all(tmp_path)


@FUZZ
@given(
    array=st.sampled_from([name for name in DTYPES if not name.startswith("float")]).flatmap(
        lambda name: hnp.arrays(name, hnp.array_shapes(max_dims=4, max_side=4))
    ),
    write=st.sampled_from([write_npz, write_h5]),
)
def test_any_array_round_trips(array, write, tmp_path):
    rows = [array[k : k + 1] for k in range(len(array))]
    write(tmp_path / "data", {"x": rows})
    with open_samples(tmp_path / "data") as samples:
        for index, row in enumerate(rows):
            np.testing.assert_array_equal(samples[index]["x"], row, strict=True)
