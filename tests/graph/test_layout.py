import numpy as np
import pytest

from qdq.graph.optimize import optimize

X = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)


def i64(*values):
    return np.array(values, dtype=np.int64)


CASES = {
    "transposes": (
        "a = Transpose<perm=[0,2,3,1]>(x) y = Transpose<perm=[0,2,1,3]>(a)",
        {},
        ["Transpose"],
    ),
    "three": (
        """a = Transpose<perm=[3,2,1,0]>(x) b = Transpose<perm=[0,2,1,3]>(a)
        y = Transpose<perm=[1,0,2,3]>(b)""",
        {},
        ["Transpose"],
    ),
    "reshapes": (
        "a = Reshape(x, s) y = Reshape(a, t)",
        {"s": i64(6, 4), "t": i64(8, 3)},
        ["Reshape"],
    ),
    "zero-copies": (
        "a = Reshape(x, s) y = Reshape(a, t)",
        {"s": i64(6, 4), "t": i64(0, 2, 2)},
        ["Reshape"],
    ),
    "flatten": ("a = Unsqueeze(x, s) y = Flatten<axis=3>(a)", {"s": i64(0)}, ["Reshape"]),
    "squeeze": ("a = Reshape(x, s) y = Squeeze(a, t)", {"s": i64(1, 24), "t": i64(0)}, ["Reshape"]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tail", ["", "r = Relu(y)"])
def test_chains_become_one(build, run, ops, case, tail):
    body, weights, expected = CASES[case]
    output = "r" if tail else "y"
    model = build(f"g (float[1,2,3,4] x) => (float[] {output}) {{ {body} {tail} }}", **weights)
    before = run(model, {"x": X})[output]
    optimize(model)
    assert ops(model) == expected + (["Relu"] if tail else [])
    np.testing.assert_array_equal(run(model, {"x": X})[output], before)


def test_a_dynamic_batch_is_kept_dynamic(build, run, ops):
    model = build(
        """g (float[N,4,1,1] x) => (float[N,4] y)
        { a = Squeeze(x, s) b = Unsqueeze(a, t) y = Flatten(b) }""",
        s=i64(2, 3),
        t=i64(1),
    )
    feeds = {"x": np.ones((5, 4, 1, 1), np.float32)}
    before = run(model, feeds)["y"]
    optimize(model)
    assert ops(model) == ["Reshape"]
    np.testing.assert_array_equal(run(model, feeds)["y"], before)


def test_a_chain_that_others_read_stays(build, run, ops):
    model = build(
        """g (float[1,2,3,4] x) => (float[] y, float[] z)
        { a = Transpose<perm=[0,2,3,1]>(x) y = Transpose<perm=[0,2,1,3]>(a) z = Relu(a) }"""
    )
    before = run(model, {"x": X})
    result = optimize(model)
    assert ops(model).count("Transpose") == 2
    assert any("read elsewhere" in str(note) for note in result.notes)
    for name, value in run(model, {"x": X}).items():
        np.testing.assert_array_equal(value, before[name])
