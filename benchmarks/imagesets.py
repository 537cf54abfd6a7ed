"""Calibration and evaluation images for EfficientNet-Lite0, from installed packages only.

Calibration: the photographs of the scikit-image wheel (``CALIBRATION_PHOTOS``).
Evaluation: the 20 labelled photographs of the foolbox wheel, ``imagenet_NN_LABEL.jpg``.
No photograph is in both.  A set larger than its photographs takes every photograph in turn: first
the plain centre crops, then seeded crops of varied scale and place, half of them mirrored.

    python -m benchmarks.imagesets FOLDER [--n 64] [--n-evaluation 128]

writes ``calib<n>.npz``, ``eval<n>.npz`` and ``foolbox20.npz``, each with ``input`` [n, 3, 224, 224]
float32.  Labels are no model input, so they are written beside, to ``foolbox20.labels.npy``.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = [
    "CALIBRATION_PHOTOS",
    "ImageSet",
    "calibration_photos",
    "calibration_set",
    "crops",
    "evaluation_photos",
    "evaluation_set",
    "labelled_photos",
]

CENTRE_CROP = 0.875
SMALLEST_CROP = 0.5

# The photographs of everyday scenes; the wheel's drawings, scans and microscopy are left out.
CALIBRATION_PHOTOS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "motorcycle_left.png",
    "rocket.jpg",
    "camera.png",
    "coins.png",
    "motorcycle_right.png",
    "brick.png",
    "grass.png",
    "gravel.png",
    "retina.jpg",
    "hubble_deep_field.jpg",
)


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Images as [n, 3, 224, 224] float32 and the ImageNet label of each, -1 where unknown."""

    images: np.ndarray
    labels: np.ndarray

    def save(self, path: Path) -> Path:
        """Write the images alone, as a data set with the one input ``input``."""
        np.savez(path, input=self.images)
        return path


def calibration_photos() -> list[Path]:
    """Return the paths of the calibration photographs in the scikit-image package."""
    return [_package_folder("skimage") / "data" / name for name in CALIBRATION_PHOTOS]


def evaluation_photos() -> list[Path]:
    """Return the paths of foolbox's 20 ImageNet photographs."""
    return sorted((_package_folder("foolbox") / "data").glob("imagenet_*.jpg"))


def calibration_set(n: int = 64, *, seed: int = 0) -> ImageSet:
    """Return ``n`` images of the scikit-image photographs, the plain centre crops first."""
    return crops(calibration_photos(), n, seed=seed, plain_first=True)


def evaluation_set(n: int = 128, *, seed: int = 1) -> ImageSet:
    """Return ``n`` images of the foolbox photographs, the 20 plain centre crops first."""
    return crops(evaluation_photos(), n, seed=seed, plain_first=True)


def labelled_photos() -> ImageSet:
    """Return the plain centre crops of foolbox's 20 photographs with their labels."""
    return crops(evaluation_photos(), 20, plain_first=True)


def crops(
    photos: list[Path], n: int, *, seed: int = 0, size: int = 224, plain_first: bool = False
) -> ImageSet:
    """Return ``n`` seeded crops that take ``photos`` in turn, scaled to ``size`` x ``size``."""
    rng = random.Random(seed)
    chosen = [photos[i % len(photos)] for i in range(n)]
    plain = len(photos) if plain_first else 0
    boxes = [_centre(p) if i < plain else _random_crop(p, rng) for i, p in enumerate(chosen)]
    images = [_pixels(photo, crop, size) for photo, crop in zip(chosen, boxes, strict=True)]
    return ImageSet(np.stack(images), np.array([_label(p) for p in chosen], np.int64))


@dataclass(frozen=True, slots=True)
class _Crop:
    left: float
    top: float
    side: float
    mirrored: bool = False


def _centre(photo: Path) -> _Crop:
    width, height = _open(photo).size
    side = CENTRE_CROP * min(width, height)
    return _Crop((width - side) / 2, (height - side) / 2, side)


def _random_crop(photo: Path, rng: random.Random) -> _Crop:
    # random() alone keeps its sequence over Python versions, so only it is used.
    width, height = _open(photo).size
    side = (SMALLEST_CROP + (1 - SMALLEST_CROP) * rng.random()) * min(width, height)
    left, top = (width - side) * rng.random(), (height - side) * rng.random()
    return _Crop(left, top, side, rng.random() < 0.5)


def _pixels(photo: Path, crop: _Crop, size: int) -> np.ndarray:
    box = (crop.left, crop.top, crop.left + crop.side, crop.top + crop.side)
    image = _open(photo).resize((size, size), Image.Resampling.BICUBIC, box=box)
    values = (np.asarray(image, np.float32) - 127.0) / 128.0
    return np.ascontiguousarray((values[:, ::-1] if crop.mirrored else values).transpose(2, 0, 1))


@lru_cache(maxsize=64)
def _open(photo: Path) -> Image.Image:
    with Image.open(photo) as image:
        return image.convert("RGB")


def _label(photo: Path) -> int:
    return int(photo.stem.split("_")[2]) if photo.stem.startswith("imagenet_") else -1


def _package_folder(package: str) -> Path:
    # Only the folder is wanted: importing either package takes seconds.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed. Install qdq[demo].")
    return Path(spec.submodule_search_locations[0])


def main() -> None:
    """Write the sets to a folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=64, help="calibration images")
    parser.add_argument("--n-evaluation", type=int, default=128)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    calibration_set(args.n).save(args.folder / f"calib{args.n}.npz")
    evaluation_set(args.n_evaluation).save(args.folder / f"eval{args.n_evaluation}.npz")
    labelled = labelled_photos()
    labelled.save(args.folder / "foolbox20.npz")
    np.save(args.folder / "foolbox20.labels.npy", labelled.labels)


if __name__ == "__main__":
    main()
