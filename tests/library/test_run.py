"""qdq.run: outputs against the reference, files, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import qdq
from qdq.dataset import open_samples


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_a_file_holds_every_output(
    model: Path, data: Path, expected: np.ndarray, tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / f"out{suffix}"
    result = qdq.run(model, data, output)
    assert result.outputs is None
    assert json.loads(json.dumps(result.to_dict())) == {
        "output": str(output),
        "samples": 20,
        "outputs": [{"name": "scores", "dtype": "float32", "shape": [1, 4, 8, 8]}],
    }
    with open_samples(output) as samples:
        found = np.concatenate([sample["scores"] for sample in samples])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_outputs_in_memory(
    float_proto: onnx.ModelProto, images: np.ndarray, expected: np.ndarray
) -> None:
    for source in (float_proto, ir.from_proto(float_proto)):
        result = qdq.run(source, {"image": images})
        assert result.output is None
        assert result.outputs is not None
        found = np.concatenate(result.outputs["scores"])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_threads_do_not_change_much(model: Path, images: np.ndarray, expected: np.ndarray) -> None:
    result = qdq.run(model, {"image": images}, threads=1)
    assert result.outputs is not None
    np.testing.assert_allclose(
        np.concatenate(result.outputs["scores"]), expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("out.csv", "does not end in .npz or .h5"),
        ("out", "does not end in .npz or .h5"),
        ("none/out.npz", "does not exist"),
        ("data.npz", "would overwrite"),
    ],
)
def test_outputs_that_are_refused(
    model: Path, data: Path, tmp_path: Path, name: str, part: str
) -> None:
    before = data.read_bytes()
    with pytest.raises(qdq.OutputError) as caught:
        qdq.run(model, data, tmp_path / name)
    assert part in str(caught.value)
    assert data.read_bytes() == before


@pytest.mark.parametrize("link", ["symbolic", "hard"])
def test_an_output_that_is_an_input_by_another_name(
    model: Path, data: Path, tmp_path: Path, link: str
) -> None:
    other = tmp_path / "other.npz"
    if link == "symbolic":
        other.symlink_to(data)
    else:
        other.hardlink_to(data)
    with pytest.raises(qdq.OutputError, match="would overwrite"):
        qdq.run(model, data, other)


def test_an_output_inside_the_input_folder(model: Path, images: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    np.save(folder / "image.npy", images)
    with pytest.raises(qdq.OutputError, match="would overwrite"):
        qdq.run(model, folder, folder / "out.npz")


@pytest.mark.parametrize(
    ("arrays", "part"),
    [
        ({"picture": np.zeros((2, 3, 8, 8), np.float32)}, "image"),
        ({"image": np.zeros((2, 3, 8, 8), np.int64)}, "int64"),
        ({"image": np.zeros((2, 3, 8, 9), np.float32)}, "1x3x8x9"),
        ({"image": np.full((2, 3, 8, 8), np.nan, np.float32)}, "NaN"),
    ],
)
def test_samples_that_do_not_fit_write_nothing(
    model: Path, tmp_path: Path, arrays: dict[str, np.ndarray], part: str
) -> None:
    output = tmp_path / "out.npz"
    output.write_bytes(b"before")
    with pytest.raises(qdq.DatasetError) as caught:
        qdq.run(model, arrays, output)
    assert part in str(caught.value)
    assert output.read_bytes() == b"before"
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.onnx", "out.npz"}


def test_a_file_that_is_no_model(tmp_path: Path, data: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"not a model at all")
    with pytest.raises(qdq.ModelCorruptError):
        qdq.run(tmp_path / "bad.onnx", data)


def test_a_missing_model(tmp_path: Path, data: Path) -> None:
    with pytest.raises(qdq.ModelCorruptError, match=r"none\.onnx"):
        qdq.run(tmp_path / "none.onnx", data)
