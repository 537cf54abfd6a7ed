"""Local functions: counted before they are inlined."""

import time

import onnx
import pytest
from onnx import helper

from qdq.base.errors import ModelInvalidError
from qdq.graph import load_model
from qdq.graph.functions import DEEPEST_CALLS, MOST_INLINED_NODES

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]


def function(name, calls):
    """A function that passes its input through ``calls``, one after another."""
    nodes = [
        helper.make_node(call, [f"v{i}" if i else "i"], [f"v{i + 1}"], domain=domain)
        for i, (domain, call) in enumerate(calls)
    ]
    nodes[-1].output[0] = "o"
    return helper.make_function("f", name, ["i"], ["o"], nodes, OPSETS)


def saved(path, functions, *, called):
    graph = helper.make_graph(
        [helper.make_node(called, ["x"], ["y"], domain="f")],
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 4])],
        [helper.make_tensor_value_info("y", 1, [1, 4])],
    )
    model = helper.make_model(graph, functions=functions, opset_imports=OPSETS, ir_version=9)
    onnx.save(model, path)
    return path


def doubling(levels):
    """Functions of which each calls the one below twice: 2 ** (levels + 1) nodes."""
    lowest = function("F0", [("", "Relu")] * 2)
    return [lowest] + [function(f"F{n}", [("f", f"F{n - 1}")] * 2) for n in range(1, levels + 1)]


def chain(length):
    lowest = function("F0", [("", "Relu")])
    return [lowest] + [function(f"F{n}", [("f", f"F{n - 1}")]) for n in range(1, length)]


def test_what_exporters_write_is_inlined(tmp_path):
    model = load_model(saved(tmp_path / "m", doubling(6), called="F6"))
    assert [node.op_type for node in model.graph] == ["Relu"] * 128
    assert not model.functions


def test_too_many_nodes_are_refused_before_they_are_made(tmp_path):
    path = saved(tmp_path / "m", doubling(30), called="F30")
    assert path.stat().st_size < 4096
    begun = time.monotonic()
    with pytest.raises(ModelInvalidError, match=f"'f:F30'.* {2**31:,} nodes") as caught:
        load_model(path)
    assert f"{MOST_INLINED_NODES:,}" in str(caught.value)
    assert time.monotonic() - begun < 2


def test_a_subgraph_counts_too(tmp_path):
    big = doubling(17)
    branch = helper.make_graph(
        [helper.make_node("F17", ["i"], ["b"], domain="f")],
        "branch",
        [],
        [helper.make_tensor_value_info("b", 1, [1, 4])],
    )
    choice = helper.make_function(
        "f",
        "Choose",
        ["i"],
        ["o"],
        [
            helper.make_node("Size", ["i"], ["n"]),
            helper.make_node("Cast", ["n"], ["c"], to=9),
            helper.make_node("If", ["c"], ["o"], then_branch=branch, else_branch=branch),
        ],
        OPSETS,
    )
    with pytest.raises(ModelInvalidError, match="'f:Choose'"):
        load_model(saved(tmp_path / "m", [*big, choice], called="Choose"))


def test_calls_may_be_so_deep_and_no_deeper(tmp_path):
    model = load_model(saved(tmp_path / "m", chain(DEEPEST_CALLS), called=f"F{DEEPEST_CALLS - 1}"))
    assert len(model.graph) == 1
    path = saved(tmp_path / "m", chain(DEEPEST_CALLS + 1), called=f"F{DEEPEST_CALLS}")
    with pytest.raises(ModelInvalidError, match=f"more than {DEEPEST_CALLS} deep"):
        load_model(path)


def test_a_long_chain_is_refused_soon(tmp_path):
    path = saved(tmp_path / "m", chain(5000), called="F4999")
    begun = time.monotonic()
    with pytest.raises(ModelInvalidError, match="deep"):
        load_model(path)
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    "functions",
    [
        [function("A", [("f", "A")])],
        [function("A", [("f", "B")]), function("B", [("", "Relu"), ("f", "A")])],
    ],
    ids=["itself", "another"],
)
def test_a_circle_is_refused(tmp_path, functions):
    with pytest.raises(ModelInvalidError, match="calls itself"):
        load_model(saved(tmp_path / "m", functions, called="A"))


def test_what_nothing_calls_costs_nothing(tmp_path):
    """Not even if it could not be inlined."""
    functions = [*doubling(30), function("Small", [("", "Relu")])]
    assert len(load_model(saved(tmp_path / "m", functions, called="Small")).graph) == 1
