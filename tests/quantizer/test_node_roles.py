"""What stays float, and why."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.quantizer.masks import MASK_MAGNITUDE

SCORES = "float[1,2,4,4]"
MASK = np.triu(np.full((4, 4), -1e9, np.float32), 1)
CAUSAL = {"causal": np.tri(4, dtype=bool), "low": np.float32(-1e9)}
FROM_IDS = "f = Cast <to = 1> (ids)  m = Mul (f, big)"
BIG = {"big": np.float32(-1e4)}


def islands(placement):
    return {island.node.removeprefix("make_"): island.reason for island in placement.islands}


def tensors(placement):
    return {site.tensor for site in placement.activations}


# Name -> (body, constants, islands, sites); inputs: x scores, ids int64[1,1,1,4].  Nothing
# computes in integers with x itself, unless the body says so.
MASKED = {
    "a constant mask": ("a = Add (x, mask) y = Softmax (a)", {"mask": MASK}, "a", "y"),
    "a causal choice": ("a = Where (causal, x, low) y = Softmax (a)", CAUSAL, "a", "y"),
    "infinite": (
        "a = Where (causal, x, low) y = Softmax (a)",
        CAUSAL | {"low": np.float32(-np.inf)},
        "a",
        "y",
    ),
    "a padding mask": (f"{FROM_IDS} a = Add (x, m) y = Softmax (a)", BIG, "a", "y"),
    "two masks": (
        f"{FROM_IDS} w = Where (causal, x, low) a = Add (w, m) y = Softmax (a)",
        BIG | CAUSAL,
        "w a",
        "y",
    ),
    "a bias behind the mask": (
        "w = Where (causal, x, low) s = Sigmoid (x) a = Add (w, s) y = Softmax (a)",
        CAUSAL,
        "w a",
        "x s y",
    ),
    "a floor behind the mask": (
        "w = Add (x, mask) a = Max (w, floor) y = Softmax (a)",
        {"mask": MASK, "floor": np.float32(-3.4e38)},
        "w a",
        "y",
    ),
    "a view on the way": (
        "a = Add (x, mask) t = Reshape (a, size) y = Softmax (t)",
        {"mask": MASK, "size": np.array([2, 4, 4])},
        "a",
        "y",
    ),
    "log softmax": ("a = Add (x, mask) y = LogSoftmax (a)", {"mask": MASK}, "a", "y"),
}


@pytest.mark.parametrize("case", MASKED)
def test_masked_scores_stay_float(case, parse, place):
    body, constants, floats, sites = MASKED[case]
    model = parse(f"g ({SCORES} x, int64[1,1,1,4] ids) => (float y) {{ {body} }}", **constants)
    placement = place(model)
    assert set(islands(placement)) == set(floats.split())
    assert tensors(placement) == set(sites.split())
    assert all(islands(placement).values())
    quantized = {site.tensor for site in placement.constants}
    assert quantized.isdisjoint({"mask", "low", "big", "floor"})


def test_a_position_that_is_added_costs_no_site(parse, place):
    model = parse(
        f"""g ({SCORES} x, int64[1,1,1,4] ids) => (float y) {{
            f = Cast <to = 1> (ids)  s = Sin (f)  a = Add (x, s)  y = Sigmoid (a) }}"""
    )
    placement = place(model)
    assert islands(placement) == {"a": "'s' is mask or index arithmetic, which stays float"}
    assert tensors(placement) == {"a", "y"}


@pytest.mark.parametrize(("size", "island"), [(0.99 * MASK_MAGNITUDE, 0), (MASK_MAGNITUDE, 1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_what_counts_as_a_mask(size, sign, island, parse, place):
    model = parse(f"g ({SCORES} x) => (float y) {{ y = Add (x, c) }}", c=np.float32(sign * size))
    assert len(place(model).islands) == island


def test_a_large_factor_is_no_mask(parse, place):
    model = parse(f"g ({SCORES} x) => (float y) {{ y = Mul (x, c) }}", c=np.float32(1e6))
    placement = place(model)
    assert placement.islands == ()
    assert [site.tensor for site in placement.constants] == ["c"]


def test_ops_without_a_rule(parse, place):
    model = parse(f"g ({SCORES} x) => (float y) {{ a = Relu (x) t = Tan (a) y = Abs (t) }}")
    placement = place(model)
    assert islands(placement) == {"t": "no placement rule for this op"}
    assert tensors(placement) == {"x", "a", "t", "y"}


def test_shape_nodes_are_no_islands(parse, place):
    model = parse(f"g ({SCORES} x) => (float y, int64[4] s) {{ y = Relu (x) s = Shape (y) }}")
    assert place(model).islands == ()


@pytest.mark.parametrize("op_type", ["Greater", "Less", "Equal"])
def test_comparisons_are_islands(op_type, parse, place):
    model = parse(f"g ({SCORES} x) => (bool[1,2,4,4] y) {{ a = Relu (x) y = {op_type} (a, x) }}")
    assert islands(place(model)) == {"y": "no placement rule for this op"}
