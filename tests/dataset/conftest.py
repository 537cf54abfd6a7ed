from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from qdq.dataset import write_h5, write_npz

Arrays = dict[str, list[np.ndarray]]


def _folder(path: Path, arrays: Arrays) -> None:
    path.mkdir()
    for name, samples in arrays.items():
        np.save(path / f"{name}.npy", np.concatenate(samples))


def _compressed(path: Path, arrays: Arrays) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **{name: np.concatenate(s) for name, s in arrays.items()})


def _numpy(path: Path, arrays: Arrays) -> None:
    with path.open("wb") as file:
        np.savez(file, **{name: np.concatenate(s) for name, s in arrays.items()})


# How to save arrays (name to list of samples (1, ...)) to a path, for each kind of source.
SAVERS: dict[str, Callable[[Path, Arrays], None]] = {
    "h5": write_h5,
    "npz": write_npz,
    "numpy npz": _numpy,
    "compressed npz": _compressed,
    "folder": _folder,
}


@pytest.fixture(params=SAVERS)
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Arrays], Path]:
    def run(arrays: Arrays) -> Path:
        path = tmp_path / "data"
        SAVERS[request.param](path, arrays)
        return path

    return run


@pytest.fixture
def arrays() -> Arrays:
    random = np.random.default_rng(0)
    return {
        "image": [random.random((1, 3, 4, 5), np.float32) for _ in range(12)],
        "ids": [random.integers(-9, 9, (1, 7)) for _ in range(12)],
        "mask": [random.random((1, 7)) > 0.5 for _ in range(12)],
    }


@pytest.fixture
def h5(tmp_path: Path) -> Callable[..., Path]:
    """Build a file in the client's layout with h5py alone; ``edit(file)`` then spoils it."""

    def run(edit: Callable[[h5py.File], Any] = lambda _: None, *, inputs: int = 2) -> Path:
        path = tmp_path / "data.h5"
        with h5py.File(path, "w") as file:
            for k in range(inputs):
                group = file.create_group(f"data/{k}")
                group.attrs.update(name=f"in{k}", batch_count=2, order=k)
                for j in range(2):
                    data = np.full((1, 4), 10 * k + j, np.float32)
                    group.create_dataset(f"batch_{j}", data=data, compression="gzip")
            edit(file)
        return path

    return run
