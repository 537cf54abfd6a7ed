"""Pad nodes folded into Conv: structure, and numbers against the unfused graph."""

import numpy as np
import pytest

from qdq.graph.optimize import optimize

RNG = np.random.default_rng(11)
CONV = "agraph (float[1,2,6,7] x) => (float[1,3,oh,ow] y) {{ {body} }}"


def weights():
    return {
        "w": RNG.standard_normal((3, 2, 3, 3)).astype(np.float32),
        "p": np.array([0, 0, 0, 1, 0, 0, 1, 2], np.int64),
        "zero": np.array(0, np.float32),
        "one": np.array(1, np.float32),
        "channels": np.array([0, 1, 0, 0, 0, 0, 0, 0], np.int64),
        "crop": np.array([0, 0, -1, 0, 0, 0, 0, 0], np.int64),
    }


FOLDED = {
    "plain": ("q = Pad(x, p) y = Conv(q, w)", [0, 1, 1, 2]),
    "explicit zero": ("q = Pad(x, p, zero) y = Conv(q, w)", [0, 1, 1, 2]),
    "adds to own pads": ("q = Pad(x, p) y = Conv<pads=[1,1,1,1]>(q, w)", [1, 2, 2, 3]),
    "strided valid": (
        'q = Pad(x, p) y = Conv<auto_pad="VALID", strides=[2,2]>(q, w)',
        [0, 1, 1, 2],
    ),
}
KEPT = {
    "another value": "q = Pad(x, p, one) y = Conv(q, w)",
    "reflected": 'q = Pad<mode="reflect">(x, p) y = Conv(q, w)',
    "cropped": "q = Pad(x, crop) y = Conv(q, w)",
    "auto_pad": 'q = Pad(x, p) y = Conv<auto_pad="SAME_UPPER">(q, w)',
}


@pytest.mark.parametrize("case", FOLDED)
def test_zero_pads_join_the_conv(build, run, case):
    body, pads = FOLDED[case]
    feeds = {"x": RNG.standard_normal((1, 2, 6, 7)).astype(np.float32)}
    model = build(CONV.format(body=body), **weights())
    expected = run(model, feeds)["y"]
    result = optimize(model)
    assert [node.op_type for node in model.graph] == ["Conv"]
    assert list(next(iter(model.graph)).attributes.get_ints("pads")) == pads
    assert result.modified
    np.testing.assert_allclose(run(model, feeds)["y"], expected, rtol=1e-5, atol=1e-5)
    assert not optimize(model).modified


@pytest.mark.parametrize("case", KEPT)
def test_other_pads_stay_with_a_reason(build, case):
    model = build(CONV.format(body=KEPT[case]), **weights())
    result = optimize(model)
    assert [node.op_type for node in model.graph] == ["Pad", "Conv"]
    assert any(note.pass_name == "fold_pads" and "kept" in note.text for note in result.notes)


def test_a_pad_with_two_readers_stays(build):
    text = """agraph (float[1,2,6,7] x) => (float[1,3,oh,ow] y, float[1,2,oh2,ow2] z) {
        q = Pad(x, p) y = Conv(q, w) z = Relu(q) }"""
    model = build(text, **weights())
    optimize(model)
    assert "Pad" in [node.op_type for node in model.graph]
