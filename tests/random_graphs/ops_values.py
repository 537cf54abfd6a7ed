"""Ops on one element at a time, and reductions."""

from __future__ import annotations

from typing import Any

import numpy as np

from random_graphs.drawing import Drawing, Op, Role, Shape, anywhere, on_ranks

SMALL = on_ranks(1, 2, 3, 4)


def _binary(g: Drawing, x: str, op_type: str) -> None:
    operands = [x, _other(g, x)]
    if g.chance(50):
        operands.reverse()
    g.add(op_type, operands)


def _other(g: Drawing, x: str) -> str:
    """Return something that broadcasts against ``x``: itself, another value, or a constant."""
    shape = g.shapes[x]
    values = [name for name, other in g.shapes.items() if _broadcasts(shape, other)]
    if g.chance(60):
        return str(g.one_of(values))
    own = [size if g.chance(60) else 1 for size in shape]
    return g.normal(own[g.number(0, len(own)) :], Role.OPERAND)


def _broadcasts(a: Shape, b: Shape) -> bool:
    try:
        np.broadcast_shapes(a, b)
    except ValueError:
        return False
    return True


def _divide(g: Drawing, x: str) -> None:
    divisor = np.float32(g.rng.uniform(0.5, 2.0, g.shapes[x][-1:]))
    g.add("Div", [x, g.constant(divisor, Role.OPERAND)])


def _extreme(g: Drawing, x: str, op_type: str) -> None:
    g.add(op_type, [x, *(_other(g, x) for _ in range(g.number(1, 2)))])


def _clip(g: Drawing, x: str) -> None:
    low, high = g.one_of(
        [(0.0, 6.0), (-1.0, 1.0), (0.0, None), (None, 0.5), (-0.4, 0.7), (0.1, 2.0), (0.0, 1.0)]
    )
    ends = ["" if end is None else g.constant(np.float32(end)) for end in (low, high)]
    g.add("Clip", [x, *ends] if ends[1] else [x, ends[0]])


def _simple(op_type: str, **choices: list[Any]) -> Op:
    def append(g: Drawing, x: str) -> None:
        g.add(op_type, [x], **{name: g.one_of(items) for name, items in choices.items()})

    return Op(op_type, append, SMALL)


def _prelu(g: Drawing, x: str) -> None:
    shape = g.shapes[x]
    slope = [*shape[1:2], *(1,) * (len(shape) - 2)] if g.chance(50) and len(shape) > 1 else [1]
    g.add("PRelu", [x, g.normal(slope, Role.OPERAND, scale=0.3)])


def _softmax(g: Drawing, x: str) -> None:
    g.add("Softmax", [x], axis=g.number(-1, len(g.shapes[x]) - 1))


def _batch_normalization(g: Drawing, x: str) -> None:
    channels = g.shapes[x][1]
    settings = [g.normal((channels,), Role.SETTING) for _ in range(3)]
    variance = g.constant(g.rng.uniform(0.5, 2, channels).astype(np.float32))
    g.add("BatchNormalization", [x, *settings, variance])


def _reduce(g: Drawing, x: str, op_type: str) -> None:
    rank = len(g.shapes[x])
    axes = sorted({g.number(0, rank - 1) for _ in range(g.number(1, 2))})
    keep = g.number(0, 1) if len(axes) < rank else 1
    if g.opset >= (13 if op_type == "ReduceSum" else 18):
        g.add(op_type, [x, g.ints(axes)], keepdims=keep)
    else:
        g.add(op_type, [x], axes=axes, keepdims=keep)


OPS = [
    *(
        Op(name, lambda g, x, name=name: _binary(g, x, name), SMALL)  # type: ignore[misc]
        for name in ("Add", "Sub", "Mul")
    ),
    Op("Div", _divide, SMALL),
    *(
        Op(name, lambda g, x, name=name: _extreme(g, x, name), SMALL)  # type: ignore[misc]
        for name in ("Max", "Min")
    ),
    Op("Relu", lambda g, x: g.add("Relu", [x]) and None, anywhere),
    Op("Clip", _clip, anywhere),
    _simple("LeakyRelu", alpha=[0.01, 0.3, 1.5]),
    _simple("Elu", alpha=[1.0, 1.0, 0.5]),
    _simple("Sigmoid"),
    _simple("HardSigmoid", alpha=[0.2, 1 / 6], beta=[0.5]),
    _simple("HardSwish"),
    _simple("Tanh"),
    Op("PRelu", _prelu, SMALL),
    Op("Softmax", _softmax, SMALL),
    Op("BatchNormalization", _batch_normalization, on_ranks(2, 3, 4)),
    Op("GlobalAveragePool", lambda g, x: g.add("GlobalAveragePool", [x]) and None, on_ranks(3, 4)),
    Op("GlobalMaxPool", lambda g, x: g.add("GlobalMaxPool", [x]) and None, on_ranks(3, 4)),
    *(
        Op(name, lambda g, x, name=name: _reduce(g, x, name), SMALL)  # type: ignore[misc]
        for name in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")
    ),
]
