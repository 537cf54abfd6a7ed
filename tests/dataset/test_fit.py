from __future__ import annotations

import numpy as np
import pytest

from qdq.base.errors import DatasetError, UnsupportedError
from qdq.dataset import fit_samples, open_samples

MODEL = [("image", "float32", (1, 3, None, 8)), ("ids", "int64", (1, 4))]


def samples(image=(1, 3, 5, 8), ids=(1, 4), *, dtypes=("float32", "int64"), names=("image", "ids")):
    """Two samples; the second has the given layouts."""
    first = [np.zeros((1, 3, 5, 8), dtypes[0]), np.zeros((1, 4), dtypes[1])]
    second = [np.zeros(image, dtypes[0]), np.zeros(ids, dtypes[1])]
    return open_samples({n: [a, b] for n, a, b in zip(names, first, second, strict=True)})


def test_fits():
    fit_samples(samples(), MODEL)
    fit_samples(samples(image=(1, 3, 99, 8)), MODEL)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image": (2, 3, 5, 8)}, r"'image', sample 1 .* 2x3x5x8.*1x3x\?x8.*samples of batch 1"),
        ({"image": (1, 3, 5, 9)}, r"1x3x5x9, the model takes 1x3x\?x8"),
        ({"image": (1, 3, 0, 8)}, r"1x3x0x8"),
        ({"ids": (4,)}, r"'ids', sample 1 has rank 1 \(4\), the model takes rank 2"),
        ({"dtypes": ("float16", "int64")}, r"'image', sample 0 is float16.*astype\('float32'\)"),
        ({"names": ("image", "id")}, r"lack 'ids' and have 'id'.*'image' float32 1x3x\?x8; 'ids'"),
    ],
)
def test_does_not_fit(given, message):
    with pytest.raises(DatasetError, match=message):
        fit_samples(samples(**given), MODEL)


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [
        ("float64", (1, 4), "takes 'ids' as float64, which samples cannot have"),
        ("float32", (), "'ids' has no dimensions"),
    ],
)
def test_inputs_that_no_samples_fit(dtype, shape, message):
    with pytest.raises(UnsupportedError, match=message):
        fit_samples(samples(), [MODEL[0], ("ids", dtype, shape)])


def test_reads_no_data(tmp_path):
    with (tmp_path / "d").open("wb") as file:
        np.savez(file, x=np.full((3, 2), np.nan, np.float32))
    with open_samples(tmp_path / "d") as nans:
        fit_samples(nans, [("x", "float32", (1, 2))])
