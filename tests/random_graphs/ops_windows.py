"""Convolutions, pools, matrix products, resizing: ops with weights or windows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from random_graphs.drawing import Drawing, Op, Role, Shape, on_ranks


def _conv(g: Drawing, x: str) -> None:
    shape = g.shapes[x]
    channels, spatial = shape[1], shape[2:]
    group = g.one_of([d for d in range(1, channels + 1) if channels % d == 0])
    outputs = group * g.number(1, 3)
    kernel, dilations = _kernel(g, spatial)
    attributes = {
        "strides": g.numbers(len(spatial), 1, 3),
        "dilations": dilations,
        **_padding(g, spatial, kernel, dilations),
    }
    scale = 1 / math.sqrt(channels // group * math.prod(kernel))
    weight = g.normal((outputs, channels // group, *kernel), Role.WEIGHT, scale=scale)
    g.add("Conv", [x, weight, *_bias(g, outputs)], group=group, **attributes)


def _conv_transpose(g: Drawing, x: str) -> None:
    shape = g.shapes[x]
    channels, spatial = shape[1], shape[2:]
    group = g.one_of([1, 1, channels]) if channels <= 3 else 1
    each = g.number(1, 3)
    kernel = g.numbers(len(spatial), 1, 3)
    strides = g.numbers(len(spatial), 1, 3)
    dilations = g.one_of([[1] * len(spatial), g.numbers(len(spatial), 1, 2)])
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = [g.number(0, min(r - 1, 2)) for r in (*reach, *reach)]
    more = [g.number(0, s - 1) for s in strides]
    scale = 1 / math.sqrt(channels // group * math.prod(kernel))
    weight = g.normal((channels, each, *kernel), Role.WEIGHT, axis=1, scale=scale)
    g.add(
        "ConvTranspose",
        [x, weight, *_bias(g, each * group)],
        group=group,
        strides=strides,
        dilations=dilations,
        pads=pads,
        output_padding=more,
    )


def _gemm(g: Drawing, x: str) -> None:
    depth, columns, trans = g.shapes[x][1], g.number(1, 6), g.number(0, 1)
    shape = (columns, depth) if trans else (depth, columns)
    scale = 1 / math.sqrt(depth)
    weight = g.normal(shape, Role.WEIGHT, axis=0 if trans else 1, scale=scale)
    g.add("Gemm", [x, weight, *_bias(g, columns)], transB=trans)


def _matmul(g: Drawing, x: str) -> None:
    depth, columns = g.shapes[x][-1], g.number(1, 6)
    weight = g.normal((depth, columns), Role.WEIGHT, axis=1, scale=1 / math.sqrt(depth))
    (product,) = g.add("MatMul", [x, weight])
    if g.chance(40):
        g.add("Add", [product, g.normal((columns,), Role.BIAS)])


def _matmul_computed(g: Drawing, x: str) -> None:
    shape = g.shapes[x]
    swapped = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    (turned,) = g.add("Transpose", [x], perm=swapped)
    g.add("MatMul", [x, turned] if g.chance(50) else [turned, x])


def _bias(g: Drawing, channels: int) -> list[str]:
    return [g.normal((channels,), Role.BIAS)] if g.chance(70) else []


def _kernel(g: Drawing, spatial: Shape) -> tuple[list[int], list[int]]:
    kernel = g.numbers(len(spatial), 1, 3)
    dilations = [1] * len(spatial)
    if g.chance(30):
        dilations = g.numbers(len(spatial), 1, 2)
    return kernel, dilations


def _padding(g: Drawing, spatial: Shape, kernel: list[int], dilations: list[int]) -> dict[str, Any]:
    """Return any padding with which each window fits."""
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    dilated = any(d > 1 for d in dilations)
    if g.chance(30) and not dilated:
        # ONNX Runtime has no automatic padding of dilated windows.
        return {"auto_pad": g.one_of(["SAME_UPPER", "SAME_LOWER"])}
    pads = [g.number(0, min(r - 1, 2)) for r in (*reach, *reach)]
    for axis, (size, r) in enumerate(zip(spatial, reach, strict=True)):
        missing = r - size - pads[axis] - pads[axis + len(spatial)]
        if missing > 0:
            pads[axis + len(spatial)] = r - 1
            pads[axis] = r - 1
    return {"pads": pads}


def _pool(g: Drawing, x: str, op_type: str) -> None:
    spatial = g.shapes[x][2:]
    kernel = [g.number(1, min(3, size)) for size in spatial]
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": g.numbers(len(spatial), 1, 3)}
    if g.chance(25):
        attributes["auto_pad"] = g.one_of(["SAME_UPPER", "SAME_LOWER"])
        # ONNX Runtime takes no window that leaves out columns between two.
        attributes["strides"] = [g.number(1, k) for k in kernel]
    else:
        pads = [g.number(0, min(k - 1, 1)) for k in (*kernel, *kernel)]
        attributes["pads"] = pads
        if _starts_inside(spatial, kernel, attributes["strides"], pads):
            attributes["ceil_mode"] = g.number(0, 1)
    if op_type == "AveragePool":
        attributes["count_include_pad"] = g.number(0, 1)
    g.add(op_type, [x], **attributes)


def _starts_inside(spatial: Shape, kernel: list[int], strides: list[int], pads: list[int]) -> bool:
    """Whether ceil_mode adds no window that starts beyond the image: versions differ on those."""
    for axis, size in enumerate(spatial):
        begin, end = pads[axis], pads[axis + len(spatial)]
        count = -(-(size + begin + end - kernel[axis]) // strides[axis]) + 1
        if (count - 1) * strides[axis] >= size + begin:
            return False
    return True


def _resize(g: Drawing, x: str) -> None:
    shape = g.shapes[x]
    mode = g.one_of(["nearest", "nearest", "linear"])
    attributes: dict[str, Any] = {"mode": mode}
    if mode == "nearest":
        attributes["nearest_mode"] = g.one_of(
            ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]
        )
    attributes["coordinate_transformation_mode"] = g.one_of(
        ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    )
    if g.chance(50):
        sizes = [*shape[:2], *(g.number(2, 9) for _ in shape[2:])]
        g.add("Resize", [x, "", "", g.ints(sizes)], **attributes)
        return
    scales = [1.0, 1.0, *(g.one_of([1.0, 2.0, 2.0, 3.0]) for _ in shape[2:])]
    g.add("Resize", [x, "", g.constant(np.asarray(scales, np.float32))], **attributes)


def _depth_to_space(g: Drawing, x: str) -> None:
    mode = g.one_of(["DCR", "CRD"])
    g.add("DepthToSpace", [x], blocksize=2, mode=mode)


def _space_to_depth(g: Drawing, x: str) -> None:
    g.add("SpaceToDepth", [x], blocksize=2)


OPS = [
    Op("Conv", _conv, on_ranks(3, 4)),
    Op("ConvTranspose", _conv_transpose, on_ranks(3, 4)),
    Op("Gemm", _gemm, on_ranks(2)),
    Op("MatMul", _matmul, on_ranks(2, 3, 4)),
    Op("MatMul_computed", _matmul_computed, on_ranks(2, 3, 4)),
    Op("MaxPool", lambda g, x: _pool(g, x, "MaxPool"), on_ranks(3, 4)),
    Op("AveragePool", lambda g, x: _pool(g, x, "AveragePool"), on_ranks(3, 4)),
    Op("Resize", _resize, on_ranks(4)),
    Op(
        "DepthToSpace",
        _depth_to_space,
        lambda shape: len(shape) == 4 and shape[1] % 4 == 0,
    ),
    Op(
        "SpaceToDepth",
        _space_to_depth,
        lambda shape: len(shape) == 4 and shape[2] % 2 == shape[3] % 2 == 0,
    ),
]
