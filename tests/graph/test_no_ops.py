import numpy as np
import pytest

from qdq.graph.optimize import optimize

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 7


def i64(*values):
    return np.array(values, dtype=np.int64)


BIG = 2**63 - 1
# Each body makes 'b' from 'a'; the first table's return their input, the second's do not.
NO_OPS = {
    "identity": ("b = Identity(a)", {}),
    "dropout": ("b = Dropout(a)", {}),
    "dropout-mask": ("b, unused = Dropout(a, r)", {"r": np.array(0.3, np.float32)}),
    "dropout-off": (
        "b = Dropout(a, r, t)",
        {"r": np.array(0.3, np.float32), "t": np.array(False)},
    ),
    "cast": ("b = Cast<to=1>(a)", {}),
    "reshape": ("b = Reshape(a, s)", {"s": i64(2, 3, 4)}),
    "reshape-zeros": ("b = Reshape(a, s)", {"s": i64(0, -1, 0)}),
    "transpose": ("b = Transpose<perm=[0,1,2]>(a)", {}),
    "pad": ("b = Pad(a, p)", {"p": i64(0, 0, 0, 0, 0, 0)}),
    "slice": ("b = Slice(a, s, e)", {"s": i64(0, 0), "e": i64(2, 3)}),
    "slice-axes": (
        "b = Slice(a, s, e, ax, t)",
        {"s": i64(0), "e": i64(BIG), "ax": i64(-1), "t": i64(1)},
    ),
    "slice-no-axes": ("b = Slice(a, s, e, , t)", {"s": i64(0), "e": i64(9), "t": i64(1)}),
    "concat": ("b = Concat<axis=1>(a)", {}),
    "add-zero": ("b = Add(z, a)", {"z": np.zeros((1, 3, 1), np.float32)}),
    "sub-zero": ("b = Sub(a, z)", {"z": np.zeros((), np.float32)}),
    "mul-one": ("b = Mul(a, z)", {"z": np.ones((4,), np.float32)}),
    "div-one": ("b = Div(a, z)", {"z": np.ones((1,), np.float32)}),
    "expand": ("b = Expand(a, s)", {"s": i64(3, 1)}),
    "split": ("b = Split<axis=0>(a)", {}),
    "sum": ("b = Sum(a)", {}),
    "squeeze": ("u = Unsqueeze(a, s) b = Squeeze(u, s)", {"s": i64(1)}),
    "transposes": ("u = Transpose<perm=[2,0,1]>(a) b = Transpose<perm=[1,2,0]>(u)", {}),
    "reshapes": ("u = Flatten(a) b = Reshape(u, s)", {"s": i64(2, 3, 4)}),
    "chain": ("u = Identity(a) v = Dropout(u) b = Identity(v)", {}),
}
REAL = {
    "dropout-on": (
        "b = Dropout<seed=1>(a, r, t)",
        {"r": np.array(0.5, np.float32), "t": np.array(True)},
    ),
    "reshape": ("b = Reshape(a, s)", {"s": i64(3, 2, 4)}),
    "transpose": ("b = Transpose<perm=[0,2,1]>(a)", {}),
    "transpose-default": ("b = Transpose(a)", {}),
    "pad": ("b = Pad(a, p)", {"p": i64(0, 0, 0, 0, 0, 1)}),
    "slice-start": ("b = Slice(a, s, e)", {"s": i64(1), "e": i64(2)}),
    "slice-end": ("b = Slice(a, s, e)", {"s": i64(0), "e": i64(-1)}),
    "slice-step": (
        "b = Slice(a, s, e, ax, t)",
        {"s": i64(-1), "e": i64(-BIG), "ax": i64(0), "t": i64(-1)},
    ),
    "add-broadcast": ("b = Add(a, z)", {"z": np.zeros((5, 2, 3, 4), np.float32)}),
    "add-rank": ("b = Add(a, z)", {"z": np.zeros((1, 1, 1, 1), np.float32)}),
    "sub-from-zero": ("b = Sub(z, a)", {"z": np.zeros((), np.float32)}),
    "one-over": ("b = Div(z, a)", {"z": np.ones((), np.float32)}),
    "add-some": ("b = Add(a, z)", {"z": np.array([0, 0, 0, 1], np.float32)}),
    "expand": ("b = Expand(a, s)", {"s": i64(2, 2, 3, 4)}),
    "flatten": ("b = Flatten(a)", {}),
}


def both(table, expected):
    return [pytest.param((*row, expected), id=name) for name, row in table.items()]


@pytest.mark.parametrize("case", both(NO_OPS, True) + both(REAL, False))
@pytest.mark.parametrize("place", ["inside", "output"])
def test_no_ops(build, run, ops, case, place):
    body, weights, removed = case
    tail, output = ("y = Neg(b)", "y") if place == "inside" else ("", "b")
    model = build(
        f"g (float[2,3,4] x) => (float[] {output}) {{ a = Abs(x) {body} {tail} }}", **weights
    )
    before = run(model, {"x": X})
    optimize(model)
    kept = ["Abs", "Neg"] if place == "inside" else ["Abs"]
    assert (ops(model) == kept) is removed
    after = run(model, {"x": X})
    assert list(after) == list(before)
    np.testing.assert_array_equal(after[output], before[output])


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("y = Flatten(x)", {}),
        ("y = Reshape(x, s)", {"s": i64(-1, 3)}),
        ("y = Add(x, z)", {"z": np.zeros((1, 3), np.float32)}),
        ("y = Slice(x, s, e)", {"s": i64(0, 0), "e": i64(BIG, 3)}),
    ],
)
def test_an_unknown_batch_does_not_hide_them(build, ops, body, weights):
    model = build(
        f"g (float[N,3] i) => (float[N,3] o) {{ x = Abs(i) {body} o = Neg(y) }}", **weights
    )
    optimize(model)
    assert ops(model) == ["Abs", "Neg"]


def test_a_zero_that_might_broadcast_stays(build, ops):
    model = build(
        "g (float[N,3] i) => (float[M,3] o) { x = Abs(i) y = Add(x, z) o = Neg(y) }",
        z=np.zeros((2, 1), np.float32),
    )
    optimize(model)
    assert ops(model) == ["Abs", "Add", "Neg"]


@pytest.mark.parametrize(
    "text",
    [
        "g (float[2] x) => (float[2] y) { y = Identity(x) }",
        "g (float[2] x) => (float[2] y, float[2] z) { y = Abs(x) z = Identity(y) }",
        "g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Identity(w) }",
    ],
    ids=["input", "output", "constant"],
)
def test_an_identity_between_names_of_the_interface_stays(build, run, text):
    model = build(text)
    feeds = {"x": np.array([-1, 2], np.float32)}
    before = run(model, feeds)
    optimize(model)
    after = run(model, feeds)
    assert list(after) == list(before)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])


def test_a_used_mask_keeps_the_dropout(build, run):
    model = build("g (float[2] x) => (float[2] y, bool[2] m) { y, m = Dropout(x) }")
    feeds = {"x": np.ones(2, np.float32)}
    before = run(model, feeds)
    optimize(model)
    assert all(np.array_equal(run(model, feeds)[n], v) for n, v in before.items())


def test_old_spellings(build, ops):
    model = build(
        """g (float[2,3] i) => (float[2,3] o) { a = Abs(i) b = Pad<pads=[0,0,0,0]>(a)
        c = Slice<starts=[0], ends=[9]>(b) d = Dropout<ratio=0.5>(c)
        e = Unsqueeze<axes=[1]>(d) f = Squeeze<axes=[1]>(e) o = Neg(f) }""",
        opset=9,
    )
    optimize(model)
    assert ops(model) == ["Abs", "Neg"]
