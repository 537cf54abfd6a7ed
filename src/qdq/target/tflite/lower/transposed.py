"""ConvTranspose: TRANSPOSE_CONV over one or two dims."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Array, Encoding, Node
from qdq.target.tflite.lower.convolution import bias_tensor
from qdq.target.tflite.lower.spatial import as_image, image_result

__all__ = ["lower_conv_transpose"]

FUSED_VERSION = 4


def _admits(node: Node, dtype: str) -> str:
    del dtype
    return "TFLite has no grouped transposed convolution" if node.int("group", 1) > 1 else ""


@dataclasses.dataclass(frozen=True, slots=True)
class _Axis:
    """One spatial dim: sizes of input, result and kernel; ``begin`` is cut off in front."""

    source: int
    result: int
    kernel: int
    stride: int
    begin: int

    @property
    def reach(self) -> int:
        """How far the windows reach: the smallest VALID result."""
        return (self.source - 1) * self.stride + self.kernel

    @property
    def full(self) -> int:
        """The VALID result that holds what is cut off and what is kept."""
        return max(self.result + self.begin, self.reach)

    @property
    def is_reached(self) -> bool:
        """Whether VALID makes ``full``: its kernel takes as many sizes as a stride has pixels."""
        return self.full < self.reach + self.stride

    @property
    def is_same(self) -> bool:
        """Whether TFLite's SAME cuts off alike."""
        cut = max(self.reach - self.result, 0)
        return -(-self.result // self.stride) == self.source and self.begin == cut // 2


@lowers("ConvTranspose", admits=_admits)
def lower_conv_transpose(node: Node, b: Builder) -> None:
    """TRANSPOSE_CONV, and where its padding differs a SLICE of a larger result.

    Dilations become zeros in the kernel, groups a kernel with zeros between groups.
    """
    source, weight = node.data(0), node.data(1)
    if source.rank not in (3, 4):
        why = f"Transposed convolutions over {source.rank - 2} dims are not supported"
        b.refuse(node, why, "Use 1-D or 2-D ones")
    if weight.data is None:
        b.refuse(node, "Its weights are computed", "Export it with constant weights")
    kernel = _kernel(node, weight.data)
    strides = _leading(node.ints("strides", (1,) * (source.rank - 2)), 1)
    crops = _leading(_begin(node, kernel), 0)
    tensor = as_image(source, b)
    made, result = image_result(node, b)
    spatial = zip(
        tensor.shape[1:3], made.shape[1:3], kernel.shape[1:3], strides, crops, strict=True
    )
    axes = [_Axis(*numbers) for numbers in spatial]
    is_same = all(axis.is_same for axis in axes)
    if not is_same and not all(axis.is_reached for axis in axes):
        b.refuse(node, "Its output is larger than its windows reach", "Pad it after")
    full, sizes = made, tuple(axis.full for axis in axes)
    if not is_same and sizes != made.shape[1:3]:
        full = b.like(made, (made.shape[0], *sizes, made.shape[3]))
    filters = b.constant(kernel, name=weight.name, encoding=_output_axis(weight.encoding))
    bias = bias_tensor(node, b, kernel.shape[0])
    fused = b.fused(node)
    b.emit(
        "TRANSPOSE_CONV",
        [b.ints(full.shape, "output_shape"), filters, tensor, bias],
        [full],
        version=None if fused == "NONE" else FUSED_VERSION,
        padding="SAME" if is_same else "VALID",
        strideH=strides[0],
        strideW=strides[1],
        fusedActivationFunction=fused,
    )
    if full is not made:
        first = b.ints((0, *crops, 0), "begin")
        b.emit("SLICE", [full, first, b.ints(made.shape, "size")], [made])
    if made is not result:
        b.emit_reshape(made, result)


def _kernel(node: Node, data: Array) -> Array:
    """Return the kernel as OHWI, dilated and with its groups apart."""
    dilations = node.ints("dilations", (1,) * (data.ndim - 2))
    if data.ndim == 3:
        data, dilations = data[:, :, None, :], (1, *dilations)
    inputs, outputs, *size = data.shape
    group = node.int("group", 1)
    spread = [(k - 1) * d + 1 for k, d in zip(size, dilations, strict=True)]
    kernel = np.zeros((outputs * group, *spread, inputs), data.dtype)
    each = inputs // group
    for index in range(group):
        rows, columns = np.s_[:: dilations[0]], np.s_[:: dilations[1]]
        block = data[index * each : (index + 1) * each].transpose(1, 2, 3, 0)
        made = slice(index * outputs, (index + 1) * outputs)
        kernel[made, rows, columns, index * each : (index + 1) * each] = block
    return kernel


def _begin(node: Node, kernel: Array) -> tuple[int, ...]:
    """Return how much is cut off before the first row and column: ONNX's rule for its pads."""
    before, after = node.data(0).shape[2:], node.outputs[0].shape[2:]
    rank = len(before)
    size = kernel.shape[3 - rank : 3]
    auto = node.string("auto_pad", "NOTSET")
    if auto in ("NOTSET", "") and "output_shape" not in node.attributes:
        return node.ints("pads", (0,) * 2 * rank)[:rank]
    if auto == "VALID":
        return (0,) * rank
    strides = node.ints("strides", (1,) * rank)
    more = node.ints("output_padding", (0,) * rank)
    begin = []
    for length, made, k, stride, extra in zip(before, after, size, strides, more, strict=True):
        total = max((length - 1) * stride + extra + k - made, 0)
        begin.append(total // 2 if auto == "SAME_UPPER" else total - total // 2)
    return tuple(begin)


def _leading(items: Sequence[int], first: int) -> tuple[int, int]:
    """Return two items, for rows and columns; a 1-D convolution has one row."""
    if len(items) == 2:
        return items[0], items[1]
    return first, items[0] if items else 1


def _output_axis(encoding: Encoding | None) -> Encoding | None:
    if encoding is None or encoding.axis is None:
        return encoding
    return dataclasses.replace(encoding, axis=0)
