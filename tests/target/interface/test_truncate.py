"""--truncate_64bit_io and --truncate_64bit_tensors: same results with half the width."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from qdq.base.errors import UnsupportedError
from qdq.target.interface.truncate_tensors import NARROWED_OPS

I64, I32 = ir.DataType.INT64, ir.DataType.INT32
TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


def wide_values(model: ir.Model) -> set[str]:
    inner = [value for node in model.graph for value in node.outputs]
    values = [*model.graph.inputs, *model.graph.initializers.values(), *inner]
    return {str(value.name) for value in values if value.dtype == I64}


def test_an_index_input_and_output(parse, compiled, run, ops) -> None:
    model = parse(
        """g (int64[2] index) => (float[2,3] rows, int64[2,1] best)
        { rows = Gather (table, index) best = ArgMax <axis = 1> (rows) }""",
        table=TABLE,
    )
    index = np.array([3, 1])
    before = run(model, {"index": index})
    done = compiled(model, "--truncate_64bit_io").model
    assert ops(done) == ["Cast", "Gather", "ArgMax", "Cast"]
    assert [value.name for value in done.graph.inputs] == ["index"]
    assert [value.name for value in done.graph.outputs] == ["rows", "best"]
    after = run(done, {"index": index.astype(np.int32)})
    assert after["best"].dtype == np.int32
    np.testing.assert_array_equal(after["best"], before["best"])
    np.testing.assert_array_equal(after["rows"], before["rows"])


def test_casts_at_the_edges_are_joined(parse, compiled, run, ops) -> None:
    model = parse(
        """g (double[2] x, int64[2] n) => (double[2] y, int64[2] m)
        {
          f = Cast <to = 1> (x) i = Cast <to = 6> (n)
          g1 = Relu (f) y = Cast <to = 11> (g1) k = Abs (i) m = Cast <to = 7> (k)
        }"""
    )
    done = compiled(model, "--truncate_64bit_io").model
    assert sorted(ops(done)) == ["Abs", "Relu"]
    sample = {"x": np.float32([-1, 2]), "n": np.int32([-7, 8])}
    after = run(done, sample)
    assert {value.dtype for value in after.values()} == {np.dtype("float32"), np.dtype("int32")}
    np.testing.assert_array_equal(after["y"], [0, 2])
    np.testing.assert_array_equal(after["m"], [7, 8])


def test_float64_inside_stays_refused(parse, compiled) -> None:
    model = parse("g (double[2] x) => (double[2] y) { y = Relu (x) }")
    with pytest.raises(UnsupportedError, match="float64"):
        compiled(model, "--truncate_64bit_io")


def test_uint64_becomes_int32(parse, compiled, run) -> None:
    model = parse("g (uint64[2] n) => (float[2] y) { y = Cast <to = 1> (n) }")
    done = compiled(model, "--truncate_64bit_io").model
    assert done.graph.inputs[0].dtype == I32
    np.testing.assert_array_equal(run(done, {"n": np.int32([3, 4])})["y"], [3, 4])


def test_an_input_that_is_an_output_stays(parse, compiled) -> None:
    model = parse("g (int64[2] n) => (int64[2] n, int64[2] m) { m = Neg (n) }")
    outcome = compiled(model, "--truncate_64bit_io")
    assert outcome.model.graph.inputs[0].dtype == I64
    assert outcome.model.graph.outputs[1].dtype == I32
    assert any("input 'n' stays int64" in notice for notice in outcome.notices)


# One graph for each op: n int64[4], k int64[2,3], x float[4], c bool[4]; results y of any type.
OPS = {
    "Abs": "y = Abs (n)",
    "Add": "y = Add (n, one)",
    "ArgMax": "y = ArgMax (k)",
    "ArgMin": "y = ArgMin (k)",
    "Cast": "t = Cast <to = 7> (x) y = Add (t, one)",
    "Clip": "y = Clip (n, zero, one)",
    "Concat": "y = Concat <axis = 0> (n, pair)",
    "ConstantOfShape": "t = ConstantOfShape <value = int64[1] {5}> (d) y = Add (t, k)",
    "CumSum": "y = CumSum (k, one)",
    "Div": "y = Div (n, two)",
    "Equal": "y = Equal (n, one)",
    "Expand": "y = Expand (k, big)",
    "Flatten": "y = Flatten <axis = 0> (k)",
    "Gather": "t = Add (pair, zero) y = Gather (x, pair)",
    "GatherElements": "y = GatherElements (x, pair)",
    "Greater": "y = Greater (n, one)",
    "GreaterOrEqual": "y = GreaterOrEqual (n, one)",
    "Less": "y = Less (n, one)",
    "LessOrEqual": "y = LessOrEqual (n, one)",
    "Max": "y = Max (n, one, two)",
    "Min": "y = Min (n, one, two)",
    "Mod": "y = Mod (n, two)",
    "Mul": "y = Mul (n, two)",
    "Neg": "y = Neg (n)",
    "NonZero": "y = NonZero (n)",
    "Pad": "y = Pad (n, pair, two)",
    "Range": "s = ReduceMax <keepdims = 0> (n) y = Range (zero, s, one)",
    "ReduceMax": "y = ReduceMax (k)",
    "ReduceMin": "y = ReduceMin (k)",
    "ReduceProd": "y = ReduceProd (k)",
    "ReduceSum": "y = ReduceSum (k)",
    "Reshape": "y = Reshape (k, six)",
    "ScatterElements": "y = ScatterElements (n, pair, pair)",
    "ScatterND": "y = ScatterND (n, rows, pair)",
    "Sign": "y = Sign (n)",
    "Slice": "y = Slice (n, onev, threev)",
    "Split": "y, z = Split <axis = 0, num_outputs = 2> (n)",
    "Squeeze": "y = Squeeze (row)",
    "Sub": "y = Sub (n, one)",
    "Tile": "y = Tile (n, threev)",
    "TopK": "t, z = TopK (n, onev) y = Add (t, z)",
    "Transpose": "y = Transpose <perm = [1, 0]> (k)",
    "Unsqueeze": "y = Unsqueeze (n, onev)",
    "Where": "y = Where (c, n, two)",
}
CONSTANTS = {
    "zero": np.int64(0),
    "one": np.int64(1),
    "two": np.int64(2),
    "onev": np.int64([1]),
    "threev": np.int64([3]),
    "six": np.int64([6]),
    "pair": np.int64([1, 2]),
    "rows": np.int64([[0], [3]]),
    "big": np.int64([2, 2, 3]),
}
BOOLEAN = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
FLOAT = frozenset({"Gather", "GatherElements"})
INPUTS = """int64[4] n, int64[2,3] k, int64[1,4] row, float[4] x, bool[4] c,
int64[2] d"""
SAMPLE = {
    "n": np.int64([7, -2, 0, 5]),
    "k": np.int64([[1, 5, 2], [4, 3, -6]]),
    "row": np.int64([[4, 3, 2, 1]]),
    "x": np.float32([1.5, -2.5, 3.0, 4.0]),
    "d": np.int64([2, 3]),
    "c": np.array([True, False, True, False]),
}


def test_every_narrowed_op_has_a_row() -> None:
    assert set(OPS) == NARROWED_OPS


@pytest.mark.parametrize("opset", [13, 17, 21])
@pytest.mark.parametrize("op", sorted(OPS))
def test_each_op_computes_the_same_in_int32(parse, compiled, run, op, opset) -> None:
    kind = "bool" if op in BOOLEAN else "float" if op in FLOAT else "int64"
    body = OPS[op] if opset >= 18 else OPS[op].replace(", num_outputs = 2", "")
    used = {name: np.asarray(a) for name, a in CONSTANTS.items() if name in body.replace("(", " ")}
    model = parse(f"g ({INPUTS}) => ({kind} y) {{ {body} }}", opset=opset, **used)
    expected = run(model, SAMPLE)["y"]
    done = compiled(model, "--truncate_64bit_tensors").model
    for optimize in (False, True):
        found = run(done, SAMPLE, optimize=optimize)["y"]
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    if op not in ("NonZero",):
        narrowed = [v for node in done.graph if node.op_type == op for v in node.inputs if v]
        outputs = [v for node in done.graph if node.op_type == op for v in node.outputs]
        assert any(value.dtype == I32 for value in (*narrowed, *outputs))


def test_casts_stand_where_int64_is_fixed(parse, compiled, run, ops) -> None:
    model = parse(
        """g (float[N,4] x) => (float[M,2] y)
        {
          s = Shape (x) n = Gather (s, zero) m = Mul (n, two)
          v = Unsqueeze (m, zerov) t = Concat <axis = 0> (v, twov) y = Reshape (x, t)
        }""",
        zero=np.asarray(np.int64(0)),
        two=np.asarray(np.int64(2)),
        zerov=np.int64([0]),
        twov=np.int64([2]),
    )
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    done = compiled(model, "--truncate_64bit_tensors").model
    assert ops(done) == ["Shape", "Cast", "Gather", "Mul", "Unsqueeze", "Concat", "Cast", "Reshape"]
    assert len(wide_values(done) - {"zerov"}) == 2
    np.testing.assert_array_equal(run(done, {"x": x})["y"], x.reshape(6, 2))


def test_a_constant_that_does_not_fit_stays(parse, compiled, run) -> None:
    model = parse(
        "g (int64[2] n) => (int64[2] y, int64[2] z) { y = Add (n, huge) z = Add (n, small) }",
        huge=np.int64([2**40, 1]),
        small=np.int64([1, 1]),
    )
    outcome = compiled(model, "--truncate_64bit_tensors")
    assert any("'huge' does not fit int32" in notice for notice in outcome.notices)
    found = run(outcome.model, {"n": np.int64([5, 6])})
    np.testing.assert_array_equal(found["y"], [2**40 + 5, 7])
    np.testing.assert_array_equal(found["z"], [6, 7])
    assert outcome.model.graph.initializers["huge"].dtype == I64
    assert "small" not in outcome.model.graph.initializers


@pytest.mark.parametrize("step", [1, -1])
def test_a_slice_to_the_end_fits(parse, compiled, run, step) -> None:
    first, last = (1, 2**63 - 1) if step == 1 else (2**63 - 1, -(2**63))
    model = parse(
        "g (float[5] x) => (float[N] y) { y = Slice (x, first, last, zero, step) }",
        first=np.int64([first]),
        last=np.int64([last]),
        zero=np.int64([0]),
        step=np.int64([step]),
    )
    x = np.arange(5, dtype=np.float32)
    outcome = compiled(model, "--truncate_64bit_tensors")
    assert outcome.notices == ()
    assert not wide_values(outcome.model)
    np.testing.assert_array_equal(
        run(outcome.model, {"x": x})["y"], x[1:] if step == 1 else x[::-1]
    )


def test_both_options_leave_no_cast_around_an_index(parse, compiled, run, ops) -> None:
    model = parse(
        "g (int64[2] index) => (float[2,3] rows) { i = Add (index, one) rows = Gather (table, i) }",
        table=TABLE,
        one=np.int64([1]),
    )
    done = compiled(model, "--truncate_64bit_io --truncate_64bit_tensors").model
    assert ops(done) == ["Add", "Gather"]
    assert not wide_values(done)
    found = run(done, {"index": np.int32([0, 2])})["rows"]
    np.testing.assert_array_equal(found, TABLE[[1, 3]])


def test_a_float_model_is_left_alone(parse, compiled) -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = Relu (x) }")
    assert compiled(model, "--truncate_64bit_io --truncate_64bit_tensors").changes == ()
