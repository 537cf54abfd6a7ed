"""The models of the corpus, each with data to calibrate on and other data to judge by."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.efficientnet import ROOT
from benchmarks.imagesets import calibration_set, evaluation_set
from benchmarks.quantizers.environments import cache_folder

sys.path[:0] = [str(ROOT / "tests")]

from corpus import models  # noqa: E402 - found through the line above

__all__ = ["KINDS", "Case", "prepare"]

_OPSET = 17
# How the goals group them; the random network is for structure and time only.
KINDS = {
    "effnet_lite0": "CNN",
    "fmnist_mbv2": "CNN",
    "fmnist_resnet": "CNN",
    "ppocr_cls": "CNN",
    "ppocr_det": "CNN",
    "basic_pitch": "other",
    "fmnist_vit": "other",
    "minilm": "other",
    "ppocr_rec": "other",
    "silero": "other",
    "mbv2_rand": "random",
}


@dataclass(frozen=True, slots=True)
class Case:
    """A simplified float model and its data: .npz, sample i at index i with its batch dimension."""

    name: str
    model: Path
    calibration: Path
    evaluation: Path


def prepare(name: str, *, calibration: int, evaluation: int) -> Case:
    """Write model and data of ``name`` into the cache, unless they are there."""
    folder = cache_folder() / "cases"
    folder.mkdir(parents=True, exist_ok=True)
    source = models.build(name)
    model = folder / f"{source.stem}.onnx"
    if not model.exists():
        _simplify(source, model)
    files = {
        split: folder / f"{name}-{split}{count}.npz"
        for split, count in (("calibration", calibration), ("evaluation", evaluation))
    }
    for (split, path), count in zip(files.items(), (calibration, evaluation), strict=True):
        if not path.exists():
            _save(path, _samples(name, split, count))
    return Case(name, model, files["calibration"], files["evaluation"])


def _simplify(source: Path, output: Path) -> None:
    """Write the graph that all get: BatchNorm folded, constants resolved, shapes known.

    In an opset that has Q/DQ per channel: ONNX Runtime's quantizer writes an invalid model into an
    older one.
    """
    import qdq
    from qdq.graph import raise_opset, save_model

    model = qdq.compile(source, options="--target_runtime onnx").model
    raise_opset(model, _OPSET)
    save_model(model, output)


def _samples(name: str, split: str, count: int) -> list[dict[str, np.ndarray]]:
    if name == "effnet_lite0":
        # Photographs of which none is in both sets.
        chosen = (calibration_set if split == "calibration" else evaluation_set)(count)
        return [{"input": image[None]} for image in chosen.images]
    return models.inputs(name, count, seed=0 if split == "calibration" else 1)


def _save(path: Path, samples: list[dict[str, np.ndarray]]) -> None:
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, **{key: np.stack([s[key] for s in samples]) for key in samples[0]})
    unfinished.replace(path)
