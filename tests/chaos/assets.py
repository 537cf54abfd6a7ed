"""A model and samples so small that the protocol, and not the work, takes the time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

__all__ = ["SAMPLES", "samples", "tiny_model", "write_assets"]

SAMPLES = 8
_MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
tiny (float[1,3,8,8] image) => (float[1,4,8,8] scores)
{
  [conv] features = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (image, weight)
  [relu] scores = Relu (features)
}
"""


def tiny_model(seed: int = 0) -> bytes:
    """Return an ONNX model; another seed, other weights."""
    model = onnx.parser.parse_model(_MODEL)
    weight = np.random.default_rng(seed).normal(size=(4, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "weight"))
    return model.SerializeToString()


def samples() -> list[np.ndarray]:
    """Return SAMPLES arrays (1, 3, 8, 8) float32, the same at every call."""
    drawn = np.random.default_rng(1).normal(size=(SAMPLES, 1, 3, 8, 8))
    return list(drawn.astype(np.float32))


def write_assets(folder: Path) -> None:
    """Write tiny.onnx and samples.npy."""
    (folder / "tiny.onnx").write_bytes(tiny_model())
    np.save(folder / "samples.npy", np.stack(samples()))
