"""The image sets of the demo and the benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL", reason="pillow is not installed")
pytest.importorskip("skimage", reason="scikit-image is not installed")

from benchmarks import imagesets


def test_calibration_and_evaluation_share_no_photograph() -> None:
    calibration, evaluation = imagesets.calibration_photos(), imagesets.evaluation_photos()
    assert len(evaluation) == 20
    assert len(calibration) == len(imagesets.CALIBRATION_PHOTOS)
    contents = [{photo.read_bytes() for photo in photos} for photos in (calibration, evaluation)]
    assert contents[0].isdisjoint(contents[1])


def test_sets_are_repeatable_and_in_range() -> None:
    first, again = imagesets.calibration_set(30), imagesets.calibration_set(30)
    assert first.images.shape == (30, 3, 224, 224)
    assert first.images.dtype == np.float32
    assert np.array_equal(first.images, again.images)
    assert first.images.min() >= -127 / 128
    assert first.images.max() <= 1.0


def test_a_larger_set_begins_with_the_smaller_one() -> None:
    few, many = imagesets.calibration_set(16), imagesets.calibration_set(20)
    assert np.array_equal(few.images, many.images[:16])
    assert len({image.tobytes() for image in many.images}) == 20


def test_evaluation_begins_with_the_labelled_photographs() -> None:
    labelled, evaluation = imagesets.labelled_photos(), imagesets.evaluation_set(24)
    assert np.array_equal(labelled.images, evaluation.images[:20])
    assert np.array_equal(evaluation.labels[20:], labelled.labels[:4])
    assert labelled.labels[0] == 243


def test_saved_bytes_are_the_same_every_time(tmp_path: Path) -> None:
    images = imagesets.calibration_set(2)
    files = [images.save(tmp_path / f"{i}.npz").read_bytes() for i in range(2)]
    assert files[0] == files[1]
    with np.load(tmp_path / "0.npz") as archive:
        assert archive.files == ["input"]
