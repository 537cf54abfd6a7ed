"""The models: a float and an int8 convolution, arithmetic, shapes that stay open, a custom op."""

from __future__ import annotations

from typing import Any

import numpy as np

from litert_files.build import FileBuilder

__all__ = ["add", "conv", "custom", "identity", "quantized_conv"]

PROVENANCE = [["conv", "relu"], ["pool"], ["flatten"], ["fc"]]


def add(*, dynamic: bool = False, names: bool = True) -> FileBuilder:
    """``total = left + right`` of the shape [1, 4], or [?, 4]."""
    file = FileBuilder()
    shape = {"shape": (1, 4), "signature": (-1, 4) if dynamic else None}
    left, right, total = (file.tensor(f"{name}:0", **shape) for name in ("l", "r", "t"))
    file.op("ADD", [left, right], [total], options="AddOptions")
    file.edges([left, right], [total])
    if names:
        file.signature({"left": left, "right": right}, {"total": total})
    return file


def identity(dtype: str, shape: tuple[int, ...] = (2,), **encoding: Any) -> FileBuilder:
    """A copy of ``x`` as ``y``."""
    file = FileBuilder()
    x, y = file.tensor("x", shape, dtype, **encoding), file.tensor("y", shape, dtype, **encoding)
    to = file.tensor("shape", (len(shape),), "int32", data=shape)
    file.op("RESHAPE", [x, to], [y], options="ReshapeOptions", newShape=list(shape))
    file.edges([x], [y])
    return file


def conv(*, size: int = 16, provenance: bool = True) -> tuple[FileBuilder, dict[str, np.ndarray]]:
    """``image`` [1, size, size, 3] -> conv 8 + relu, mean over the image, dense 5: ``logits``."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "b": rng.normal(size=8).astype(np.float32),
        "v": rng.normal(size=(5, 8)).astype(np.float32),
        "c": rng.normal(size=5).astype(np.float32),
    }
    file = FileBuilder()
    image = file.tensor("image", (1, size, size, 3))
    w, b, v, c = (file.tensor(name, it.shape, data=it) for name, it in weights.items())
    axes = file.tensor("axes", (2,), "int32", data=[1, 2])
    flat = file.tensor("flat_shape", (2,), "int32", data=[1, 8])
    relu = file.tensor("relu_out", (1, size, size, 8))
    mean = file.tensor("mean_out", (1, 1, 1, 8))
    row = file.tensor("row", (1, 8))
    logits = file.tensor("logits", (1, 5))
    file.op(
        "CONV_2D", [image, w, b], [relu], options="Conv2DOptions",
        padding=0, strideH=1, strideW=1, fusedActivationFunction=1,
    )  # fmt: skip
    file.op("MEAN", [relu, axes], [mean], options="ReducerOptions", keepDims=True)
    file.op("RESHAPE", [mean, flat], [row], options="ReshapeOptions", newShape=[1, 8])
    file.op("FULLY_CONNECTED", [row, v, c], [logits], options="FullyConnectedOptions")
    file.edges([image], [logits])
    file.signature({"image": image}, {"logits": logits})
    if provenance:
        file.metadata("qdq.provenance", PROVENANCE)
    return file, weights


def quantized_conv() -> FileBuilder:
    """A 1x1 int8 convolution with a scale for each channel, then a softmax, which no XNNPACK has.

    ``image`` is int8 [1, 4, 4, 2] of the scale 0.1 and zero point -3.
    """
    file = FileBuilder()
    image = file.tensor("image", (1, 4, 4, 2), "int8", scale=0.1, zero_point=-3)
    scales = [0.02, 0.05, 0.01]
    data = [[100, -50], [3, 7], [-128, 127]]
    w = file.tensor(
        "w", (3, 1, 1, 2), "int8", data=np.reshape(data, (3, 1, 1, 2)), scale=scales, axis=0
    )
    bias = file.tensor(
        "b", (3,), "int32", data=[10, -20, 30], scale=[0.1 * it for it in scales], axis=0
    )
    out = file.tensor("conv_out", (1, 4, 4, 3), "int8", scale=0.25, zero_point=4)
    soft = file.tensor("soft", (1, 4, 4, 3), "int8", scale=1 / 256, zero_point=-128)
    file.op(
        "CONV_2D", [image, w, bias], [out], version=3, options="Conv2DOptions",
        padding=1, strideH=1, strideW=1,
    )  # fmt: skip
    file.op("SOFTMAX", [out], [soft], version=2, options="SoftmaxOptions", beta=1.0)
    file.edges([image], [out, soft])
    return file


def custom(name: str = "MyOp") -> FileBuilder:
    """A graph of one custom op."""
    file = FileBuilder()
    x, y = file.tensor("x", (2,)), file.tensor("y", (2,))
    file.op("CUSTOM", [x], [y], custom=name)
    file.edges([x], [y])
    return file
