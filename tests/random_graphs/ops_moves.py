"""Ops that move values and compute none."""

from __future__ import annotations

import math

import numpy as np

from random_graphs.drawing import Drawing, Op, anywhere, on_ranks

UP_TO_FIVE = on_ranks(1, 2, 3, 4, 5)


def _concat(g: Drawing, x: str) -> None:
    shape = g.shapes[x]
    axis = g.number(0, len(shape) - 1)
    fitting = [
        name
        for name, other in g.shapes.items()
        if len(other) == len(shape)
        and all(a == b for i, (a, b) in enumerate(zip(shape, other, strict=True)) if i != axis)
    ]
    others = [g.one_of(fitting) for _ in range(g.number(1, 2))]
    g.add("Concat", [x, *others], axis=axis if g.chance(50) else axis - len(shape))


def _split(g: Drawing, x: str) -> None:
    shape = g.shapes[x]
    axis = g.one_of([axis for axis, size in enumerate(shape) if size > 1])
    first = g.number(1, shape[axis] - 1)
    g.add("Split", [x, g.ints([first, shape[axis] - first])], outputs=2, axis=axis)


def _slice(g: Drawing, x: str) -> None:
    shape = g.shapes[x]
    axis = g.number(0, len(shape) - 1)
    size = shape[axis]
    step = g.one_of([1, 1, 2, -1])
    start, end = g.number(0, max(size // 2, 0)), g.number(size // 2 + 1, size + 2)
    if step < 0:
        start, end = size - 1, -size - 1 - g.number(0, 1)
    elif g.chance(30):
        start -= size
    arrays = [g.ints([item]) for item in (start, end, axis - len(shape), step)]
    g.add("Slice", [x, *arrays])


def _pad(g: Drawing, x: str) -> None:
    shape = g.shapes[x]
    mode = g.one_of(["constant", "constant", "reflect"])
    most = [min(size - 1, 2) if mode == "reflect" else 2 for size in shape]
    wide = [most[i] if g.chance(50) else 0 for i in range(len(shape))]
    pads = [g.number(0, end) for end in (*wide, *wide)]
    fill = [g.constant(np.float32(g.one_of([0.0, 0.5, -1.0])))] if g.chance(50) else []
    g.add("Pad", [x, g.ints(pads), *(fill if mode == "constant" else [])], mode=mode)


def _reshape(g: Drawing, x: str) -> None:
    total = math.prod(g.shapes[x])
    shape: list[int] = []
    for _ in range(g.number(0, 3)):
        size = g.one_of([d for d in range(1, total + 1) if total % d == 0 and d < 30])
        shape.append(size)
        total //= size
    g.add("Reshape", [x, g.ints([*shape, -1 if g.chance(50) else total])])


def _flatten(g: Drawing, x: str) -> None:
    g.add("Flatten", [x], axis=g.number(0, len(g.shapes[x])))


def _transpose(g: Drawing, x: str) -> None:
    axes = list(range(len(g.shapes[x])))
    perm = []
    while axes:
        perm.append(axes.pop(g.number(0, len(axes) - 1)))
    g.add("Transpose", [x], perm=perm)


def _squeeze(g: Drawing, x: str) -> None:
    ones = [axis for axis, size in enumerate(g.shapes[x]) if size == 1]
    g.add("Squeeze", [x, g.ints([g.one_of(ones)])])


def _unsqueeze(g: Drawing, x: str) -> None:
    g.add("Unsqueeze", [x, g.ints([g.number(0, len(g.shapes[x]))])])


OPS = [
    Op("Concat", _concat, UP_TO_FIVE),
    Op("Split", _split, lambda shape: 1 <= len(shape) <= 5 and max(shape) > 1),
    Op("Slice", _slice, UP_TO_FIVE),
    Op("Pad", _pad, UP_TO_FIVE),
    Op("Reshape", _reshape, anywhere),
    Op("Flatten", _flatten, anywhere),
    Op("Transpose", _transpose, on_ranks(2, 3, 4, 5, 6)),
    Op("Squeeze", _squeeze, lambda shape: 1 in shape and len(shape) > 1),
    Op("Unsqueeze", _unsqueeze, UP_TO_FIVE),
    Op("Identity", lambda g, x: g.add("Identity", [x]) and None, anywhere),
    Op("Dropout", lambda g, x: g.add("Dropout", [x]) and None, anywhere),
    Op("Cast", lambda g, x: g.add("Cast", [x], to=1) and None, anywhere),
]
