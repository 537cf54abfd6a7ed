"""A network run in parts gives what it gives as a whole."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.quantizer.rounding.network import PartedNetwork
from qdq.runtime import open_session

BRANCHES = """g (float[1,3,6,6] x, int64[1] k) => (float y, float z) {
    a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w1)
    r = Relu (a)
    i = Shape (x)
    c = Conv <kernel_shape = [1, 1]> (r, w2)
    s = Add (c, x)
    t = Reshape (s, i)
    y = Conv <kernel_shape = [1, 1]> (t, w3)
    z = Cast <to = 1> (k) }"""


def constants():
    rng = np.random.default_rng(0)
    shapes = {"w1": (4, 3, 3, 3), "w2": (3, 4, 1, 1), "w3": (2, 3, 1, 1)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("budget", [0, 1 << 20])
def test_parts_give_what_the_whole_gives(budget, parse):
    model = parse(BRANCHES, **constants())
    rng = np.random.default_rng(1)
    samples = [
        {"x": rng.normal(size=(1, 3, 6, 6)).astype(np.float32), "k": np.array([i])}
        for i in range(3)
    ]
    network = PartedNetwork(model, len(samples), budget=budget)
    for i, sample in enumerate(samples):
        network.feed(i, sample)
    found = {}
    for node in ("make_a", "make_c", "make_y"):
        network.advance(node)
        found[node] = [network.value(node, i) for i in range(len(samples))]
    network.close()
    with open_session(model, outputs=["x", "r", "t"], threads=1) as session:
        for i, sample in enumerate(samples):
            expected = session.run(sample)
            for node, name in (("make_a", "x"), ("make_c", "r"), ("make_y", "t")):
                np.testing.assert_allclose(found[node][i], expected[name], rtol=1e-5, atol=1e-6)


def test_replaced_weights_are_used(parse):
    model = parse(BRANCHES, **constants())
    sample = {"x": np.ones((1, 3, 6, 6), np.float32), "k": np.array([0])}
    network = PartedNetwork(model, 1, budget=1 << 20)
    network.feed(0, sample)
    network.advance("make_a")
    network.replace("make_a", 1, "zeros", np.zeros((4, 3, 3, 3), np.float32))
    network.replace("make_a", 2, "ones", np.full(4, 2.0, np.float32))
    network.advance("make_c")
    np.testing.assert_array_equal(network.value("make_c", 0), np.full((1, 4, 6, 6), 2.0))
