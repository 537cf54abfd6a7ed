"""The rule for the first divergent tensor, on a chain with given figures."""

import pytest

from qdq.runtime.align import GraphView
from qdq.runtime.divergence import first_divergence

_VIEW = GraphView(
    inputs=("x",),
    outputs=("d",),
    seen_as={},
    op_types={"a": "Conv", "b": "Relu", "c": "Conv", "d": "Add"},
    sources={"a": ("x",), "b": ("a",), "c": ("b",), "d": ("c", "a")},
)


@pytest.mark.parametrize(
    ("sqnr", "expected"),
    [
        ({"a": 40, "b": 38, "c": 30, "d": 28}, None),
        ({"a": 40, "b": 38, "c": 16, "d": 16}, None),
        ({"a": 40, "b": 38, "c": 14, "d": 12}, ("c", 38)),
        ({"a": 40, "b": 22, "c": 14, "d": 12}, None),
        ({"a": 40, "b": 22, "c": 14, "d": 9}, ("d", 14)),
        ({"a": 9}, ("a", None)),
        ({"a": 14}, ("a", None)),
        ({"x": 24, "a": 15, "c": 14.5, "d": 13}, None),
        ({"a": 40, "d": 14}, ("d", 40)),
        ({"x": 5}, ("x", None)),
        ({}, None),
    ],
)
def test_rule(sqnr, expected):
    found = first_divergence(_VIEW, sqnr)
    assert (found and (found.tensor, found.inputs_sqnr_db)) == expected
    if found:
        assert found.op_type == {"x": "", "a": "Conv", "c": "Conv", "d": "Add"}[found.tensor]
        assert f"{found.sqnr_db:.1f} dB" in found.reason
