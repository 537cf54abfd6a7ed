import numpy as np
import onnx
import pytest

from qdq.base.errors import UnsupportedError
from qdq.graph.load import model_from_proto
from qdq.graph.optimize import optimize
from qdq.graph.support import check_supported

BN = {n: np.ones(3, np.float32) for n in "somv"}


def parsed(text, tmp_path, domains='"" : 17, "my" : 1'):
    proto = onnx.parser.parse_model(f"<ir_version: 8, opset_import: [{domains}]>\n{text}")
    return model_from_proto(proto, folder=tmp_path)


def test_an_ordinary_model_is_supported(build):
    check_supported(build("g (float[2] x, int64[1] i) => (float[] y) { y = Gather(x, i) }"))


REFUSED = {
    "subgraph": (
        """g (bool c, float[2] x) => (float[2] y) {
        y = If(c) <then_branch = t () => (float[2] a) { a = Relu(x) },
                   else_branch = e () => (float[2] b) { b = Neg(x) }> }""",
        "subgraphs",
        "If",
    ),
    "custom": ("g (float[2] x) => (float[2] y) { y = my.Special(x) }", "'my'", "Special"),
    "dropout": (
        """g (float[2] x) => (float[2] y) { t = Constant<value=bool {1}>()
        r = Constant<value_float=0.5>() y = Dropout(x, r, t) }""",
        "training",
        "Dropout",
    ),
    "sequence": (
        """g (float[2] x, int64 i) => (float[2] y) {
        s = SequenceConstruct(x, x) y = SequenceAt(s, i) }""",
        "SequenceType",
        "SequenceConstruct",
    ),
    "float64-input": ("g (double[2] x) => (float[2] y) { y = Cast<to=1>(x) }", "float64", None),
    "float64-inside": (
        "g (float[2] x) => (float[2] y) { d = Cast<to=11>(x) y = Cast<to=1>(d) }",
        "float64",
        "Cast",
    ),
    "string": ("g (string[2] x) => (string[2] y) { y = Identity(x) }", "string", None),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_place(tmp_path, case):
    text, match, op_type = REFUSED[case]
    model = parsed(text, tmp_path)
    optimize(model)
    with pytest.raises(UnsupportedError, match=match) as caught:
        check_supported(model)
    assert caught.value.op_type == op_type
    assert caught.value.node or caught.value.tensor


def test_batch_norm_in_training_mode(build):
    model = build(
        """g (float[1,3,2] x) => (float[] y) {
        y, a, b = BatchNormalization<training_mode=1>(x, s, o, m, v) }""",
        **BN,
    )
    with pytest.raises(UnsupportedError, match="training"):
        check_supported(model)


def test_float64_that_is_only_constant_arithmetic_is_folded_first(build):
    model = build(
        """g (float[2] x) => (float[2] y) { a = Constant<value_float=2.0>() d = Cast<to=11>(a)
        e = Mul(d, d) f = Cast<to=1>(e) y = Mul(x, f) }"""
    )
    optimize(model)
    check_supported(model)
