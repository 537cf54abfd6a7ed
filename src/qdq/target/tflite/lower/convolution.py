"""Conv: CONV_2D and DEPTHWISE_CONV_2D, one or two spatial dims, any groups and padding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from qdq.target.tflite.bias import bias_encoding
from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Encoding, Node
from qdq.target.tflite.lower.spatial import as_image, image_result, pad_image
from qdq.target.tflite.lower.windows import Window, window_of
from qdq.target.tflite.program import Tensor

__all__ = ["bias_tensor", "lower_conv"]

GROUPED_VERSION = 6


@lowers("Conv")
def lower_conv(node: Node, b: Builder) -> None:
    """Pad if TFLite's SAME does not, convolve, apply the fused activation."""
    source, weight = node.data(0), node.data(1)
    if source.rank not in (3, 4):
        b.refuse(
            node,
            f"Convolutions over {source.rank - 2} dims are not supported",
            "Use 1-D or 2-D convolutions",
        )
    if weight.data is None:
        b.refuse(node, "Its weights are computed", "Export it with constant weights")
    window = window_of(node, weight.shape[2:])
    if min((*window.begin, *window.declared)) < 0:
        b.refuse(node, "Its padding is negative", "Crop with Slice instead")
    if source.rank == 3:
        window = window.with_leading_axis()
    tensor, padding = as_image(source, b), window.padding
    if not padding:
        tensor, padding = pad_image(tensor, window, b), "VALID"
    made, result = image_result(node, b)
    _emit(node, b, tensor, made, _options(node, b, window, padding))
    if made is not result:
        b.emit_reshape(made, result)


def _options(node: Node, b: Builder, window: Window, padding: str) -> dict[str, Any]:
    return {
        "padding": padding,
        "strideH": window.strides[0],
        "strideW": window.strides[1],
        "dilationHFactor": window.dilations[0],
        "dilationWFactor": window.dilations[1],
        "fusedActivationFunction": b.fused(node),
    }


def _emit(node: Node, b: Builder, tensor: Tensor, made: Tensor, options: dict[str, Any]) -> None:
    weight, group = node.data(1), node.int("group", 1)
    assert weight.data is not None
    array = weight.data[:, :, None, :] if weight.rank == 3 else weight.data
    channels, outputs = tensor.shape[-1], array.shape[0]
    bias = bias_tensor(node, b, outputs)
    if group == channels and group > 1:
        encoding = _along(weight.encoding, 3)
        filters = b.constant(array.transpose(1, 2, 3, 0), name=weight.name, encoding=encoding)
        inputs, multiplier = [tensor, filters, bias], outputs // channels
        b.emit("DEPTHWISE_CONV_2D", inputs, [made], depthMultiplier=multiplier, **options)
        return
    encoding = _along(weight.encoding, 0)
    filters = b.constant(array.transpose(0, 2, 3, 1), name=weight.name, encoding=encoding)
    version = GROUPED_VERSION if group > 1 else None
    b.emit("CONV_2D", [tensor, filters, bias], [made], version=version, **options)


def bias_tensor(node: Node, b: Builder, channels: int, *, index: int = 2) -> Tensor:
    """Return the 1-D bias of ``channels``; zeros where the node has none."""
    bias = node.input(index)
    if bias is None:
        return _zeros(node, b, channels)
    if bias.data is None:
        b.refuse(node, "Its bias is computed", "Export it with a constant bias")
    data = bias.data.reshape(-1)
    if data.size != channels:
        data = np.broadcast_to(data, (channels,))
    return b.constant(data, name=bias.name, encoding=bias.encoding)


def _zeros(node: Node, b: Builder, channels: int) -> Tensor:
    source, weight = node.data(0), node.data(1)
    if source.encoding is None or weight.encoding is None:
        return b.constant(np.zeros(channels, np.float32), name=f"{node.name}_zero_bias")
    encoding = bias_encoding(source.encoding, weight.encoding)
    return b.constant(
        np.zeros(channels, encoding.dtype), name=f"{node.name}_zero_bias", encoding=encoding
    )


def _along(encoding: Encoding | None, axis: int) -> Encoding | None:
    if encoding is None or encoding.axis is None:
        return encoding
    return replace(encoding, axis=axis)
