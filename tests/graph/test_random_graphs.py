"""Chains of random ops: the pipeline keeps what they compute, and settles."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdq.graph.diff import live_encodings
from qdq.graph.optimize import optimize
from qdq.graph.passes.foldable import has_foldable
from qdq.graph.shapes import infer_shapes

X = np.random.default_rng(1).standard_normal((1, 4, 4, 4)).astype(np.float32)
WEIGHTS = {
    "zero": np.zeros((1, 4, 1, 1), np.float32),
    "one": np.ones((), np.float32),
    "bias": np.arange(4, dtype=np.float32).reshape(4, 1, 1),
    "w1": np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4, 1, 1),
    "wd": np.linspace(1, 2, 4, dtype=np.float32).reshape(4, 1, 1, 1),
    "bs": np.array([1, 2, 0.5, -1], np.float32),
    "bv": np.array([1, 0.5, 2, 4], np.float32),
    "flat": np.array([1, -1], np.int64),
    "shape": np.array([1, 4, 4, 4], np.int64),
    "ax": np.array([1], np.int64),
    "pads": np.zeros(8, np.int64),
    "qs": np.array(0.05, np.float32),
    "qz": np.array(128, np.uint8),
}
# Each makes {o} of the same shape from {i}; {p} is any earlier value.
STEPS = [
    "{o} = Relu({i})",
    "{o} = Identity({i})",
    "{o} = Add({i}, {p})",
    "{o} = Mul(one, {i})",
    "{o} = Add({i}, zero)",
    "{o} = Add(bias, {i})",
    "{o} = Pad({i}, pads)",
    "{o} = Conv({i}, w1)",
    "{o} = Conv<group=4>({i}, wd, bs)",
    "{o} = ConvTranspose<group=4>({i}, wd)",
    "{o} = BatchNormalization({i}, bs, bv, bs, bv)",
    "{o} = Transpose<perm=[0,1,3,2]>({i})",
    "{o} = Transpose<perm=[0,2,3,1]>({i})",
    "{o}t = Reshape({i}, flat) {o} = Reshape({o}t, shape)",
    "{o}t = Unsqueeze({i}, ax) {o} = Squeeze({o}t, ax)",
    "{o}t = Flatten<axis=2>({i}) {o} = Reshape({o}t, shape)",
    "{o}t = QuantizeLinear({i}, qs, qz) {o} = DequantizeLinear({o}t, qs, qz)",
    "{o}t = Shape({i}) {o} = Reshape({p}, {o}t)",
    "{o}, {o}t = Dropout({i})",
    "{o} = Concat<axis=0>({i})",
]
CHAIN = st.lists(
    st.tuples(st.sampled_from(STEPS), st.integers(0, 99), st.integers(0, 99), st.booleans()),
    min_size=1,
    max_size=12,
)


def chained(build, chain):
    """Build a chain; return the model and the names of its outputs."""
    names, lines, outputs = ["x"], [], []
    for number, (step, back, other, is_output) in enumerate(chain):
        name = f"v{number}"
        # Mostly extend the newest value, sometimes branch off an older one.
        source = names[-1] if back % 4 else names[back % len(names)]
        lines.append(step.format(i=source, p=names[other % len(names)], o=name))
        names.append(name)
        if is_output or number == len(chain) - 1:
            outputs.append(name)
    signature = ", ".join(f"float[1,4,4,4] {name}" for name in outputs)
    model = build(f"g (float[1,4,4,4] x) => ({signature}) {{ {' '.join(lines)} }}", **WEIGHTS)
    return model, outputs


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(chain=CHAIN)
def test_random_chains(build, run, serialized, chain):
    model, outputs = chained(build, chain)
    before, encodings = run(model, {"x": X}), live_encodings(model)
    optimize(model)
    after = run(model, {"x": X})
    assert list(after) == outputs
    # A sum that is rounded by a later Q may move by one step, and is then amplified.
    exact = not encodings
    for name, expected in before.items():
        assert after[name].shape == expected.shape
        if exact:
            scale = max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(after[name], expected, rtol=0, atol=2e-5 * scale)
    assert live_encodings(model) == encodings
    content = serialized(model)
    assert not optimize(model).modified
    assert serialized(model) == content


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(chain=CHAIN)
def test_nothing_foldable_is_what_the_folder_itself_says(build, serialized, chain):
    from onnxscript.optimizer import fold_constants

    model, _ = chained(build, chain)
    infer_shapes(model)
    content, foldable = serialized(model), has_foldable(model)
    modified = fold_constants(model).modified
    assert foldable or (not modified and serialized(model) == content)
