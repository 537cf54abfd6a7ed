"""The strategy of float graphs: 3 to 10 ops behind one or two inputs."""

from __future__ import annotations

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from random_graphs import ops_moves, ops_values, ops_windows
from random_graphs.drawing import Drawing, Shape, UndrawableError

__all__ = ["OPS", "float_graphs"]

OPS = [*ops_windows.OPS, *ops_values.OPS, *ops_moves.OPS]


@st.composite
def float_graphs(draw: st.DrawFn, most: int = 10) -> Drawing:
    """Draw a graph; every value that nobody reads will be an output."""
    g = Drawing(draw, draw(st.sampled_from([17, 18, 21])), _random(draw))
    for _ in range(g.number(1, 2)):
        g.input(_shape(g))
    wanted = g.number(3, most)
    for _ in range(3 * wanted):
        if len(g.nodes) >= wanted:
            break
        _append(g)
    assume(len(g.nodes) >= 3)
    return g


def _random(draw: st.DrawFn) -> np.random.Generator:
    return np.random.default_rng(draw(st.integers(0, 2**16)))


def _append(g: Drawing) -> None:
    values = list(g.shapes)
    # The newest value most of the time: chains, with branches here and there.
    x = values[-1] if g.chance(60) else g.one_of(values)
    op = g.one_of([op for op in OPS if op.fits(g.shapes[x])])
    nodes, shapes = len(g.nodes), dict(g.shapes)
    try:
        op.append(g, x)
    except UndrawableError:
        del g.nodes[nodes:]
        g.shapes = shapes


def _shape(g: Drawing) -> Shape:
    rank = g.one_of([4, 4, 4, 4, 3, 2, 5, 6, 1])
    if rank == 4:
        return (g.number(1, 2), g.one_of([1, 2, 3, 4, 8]), g.number(1, 8), g.number(1, 8))
    if rank == 3:
        return (g.number(1, 2), g.number(1, 6), g.number(1, 9))
    return tuple(g.numbers(rank, 1, 3 if rank > 4 else 6))
