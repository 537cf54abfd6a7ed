import numpy as np
import onnx_ir as ir
import pytest

from qdq.base.errors import InternalError, ModelInvalidError, OptionError
from qdq.graph.diff import collect_encodings, live_encodings
from qdq.graph.edit import add_initializer
from qdq.graph.optimize import optimize
from qdq.graph.passes import PIPELINE, GraphPass

RNG = np.random.default_rng(3)
X = RNG.standard_normal((2, 3)).astype(np.float32)


def test_constants_are_folded_at_any_depth(build, run, ops):
    model = build(
        """g (float[2,3] x) => (float[2,3] y) <float[3] w = {1, 2, 3}> {
        two = Constant<value_float=2.0>() a = Mul(w, two) b = Add(a, w) y = Mul(x, b) }"""
    )
    before = run(model, {"x": X})["y"]
    optimize(model)
    assert ops(model) == ["Mul"]
    np.testing.assert_array_equal(run(model, {"x": X})["y"], before)


PICKS = {
    "gather-scalar": (
        "p = Gather<axis=0>(s, i) c = Unsqueeze(p, z)",
        "i = Constant<value_int=1>()",
    ),
    "gather-vector": ("c = Gather(s, i)", "i = Constant<value_ints=[-2]>()"),
    "slice": (
        "c = Slice(s, i, e)",
        "i = Constant<value_ints=[1]>() e = Constant<value_ints=[2]>()",
    ),
}


@pytest.mark.parametrize("case", PICKS)
def test_dims_that_are_known_are_constants(build, run, ops, case):
    pick, constants = PICKS[case]
    model = build(
        f"""g (float[N,3,4] x) => (float[N,12] y) {{ {constants}
        z = Constant<value_ints=[0]>() s = Shape(x) {pick} f = Cast<to=1>(c) t = Cast<to=7>(f)
        m = Constant<value_ints=[-1]>() k = Constant<value_ints=[4]>() p2 = Mul(t, k)
        q = Concat<axis=0>(m, p2) y = Reshape(x, q) }}"""
    )
    feeds = {"x": np.arange(24, dtype=np.float32).reshape(2, 3, 4)}
    before = run(model, feeds)["y"]
    optimize(model)
    assert ops(model) == ["Reshape"]
    np.testing.assert_array_equal(run(model, feeds)["y"], before)


def test_dims_that_are_not_known_stay(build, run, ops):
    model = build(
        """g (float[N,3] x) => (float[] y) { i = Constant<value_ints=[0]>()
        s = Shape(x) c = Gather(s, i) y = Expand(x, s2) s2 = Concat<axis=0>(c, k)
        k = Constant<value_ints=[3]>() }"""
    )
    optimize(model)
    assert "Shape" in ops(model)
    feeds = {"x": np.ones((5, 3), np.float32)}
    assert run(model, feeds)["y"].shape == (5, 3)


def test_random_ops_and_large_values_are_not_folded(build, ops):
    model = build(
        """g (float[2] x) => (float[2] y, float[] z) {
        h = Constant<value_floats=[0.5, 0.5]>() b = Bernoulli(h)
        r = RandomNormal<shape=[2], seed=1.0>() c = Add(r, b) y = Add(x, c)
        n = Constant<value_ints=[5000000]>() z = ConstantOfShape(n) }"""
    )
    result = optimize(model)
    assert {"RandomNormal", "Bernoulli"} <= set(ops(model))
    assert "ConstantOfShape" in ops(model)
    assert any("large" in str(note) for note in result.notes)


QDQ = """g (float[1,3,4,4] x) => (float[] y, float[] z) {
  xq = QuantizeLinear(x, s1, z8) xd = DequantizeLinear(xq, s1, z8)
  wd = DequantizeLinear<axis=0>(wq, ws, wz)
  two = Constant<value_float=2.0>() wd2 = Mul(wd, two)
  c = Conv(xd, wd2, b) cq = QuantizeLinear(c, s2, z16) cd = DequantizeLinear(cq, s2, z16)
  i = Identity(cd) y = Relu(i)
  aq = QuantizeLinear(x, s1, z8) ad = DequantizeLinear(aq, s1, z8) z = Neg(ad)
  dead = QuantizeLinear(x, s2, z8) }"""


@pytest.fixture
def quantized(build):
    return build(
        QDQ,
        opset=21,
        s1=np.array(0.02, np.float32),
        z8=np.array(128, np.uint8),
        s2=np.array(0.001, np.float32),
        z16=np.array(32768, np.uint16),
        wq=RNG.integers(-127, 127, (2, 3, 1, 1)).astype(np.int8),
        ws=np.array([0.1, 0.2], np.float32),
        wz=np.zeros(2, np.int8),
        b=np.ones(2, np.float32),
    )


def test_every_encoding_survives(quantized, run, ops):
    feeds = {"x": RNG.standard_normal((1, 3, 4, 4)).astype(np.float32)}
    before, encodings = run(quantized, feeds), live_encodings(quantized)
    named = collect_encodings(quantized)
    optimize(quantized)
    assert live_encodings(quantized) == encodings
    assert encodings.total() == 7
    # Equal Q/DQ pairs are not merged, constants are not folded through DQ.
    assert ops(quantized).count("QuantizeLinear") == 3
    assert "Mul" in ops(quantized)
    assert "Identity" not in ops(quantized)
    assert collect_encodings(quantized)["wd"] == named["wd"]
    for name, value in run(quantized, feeds).items():
        np.testing.assert_array_equal(value, before[name])


MANY = """g (float[2,3,8,8] x, float[1] unused) => (float[] y, float[2,3,8,8] x2, float[] k) {
  n = Identity(x) p = Pad(n, pads) c = Conv(p, w) b = BatchNormalization(c, s, s, s, v)
  t = Transpose<perm=[0,2,3,1]>(b) u = Transpose<perm=[0,3,1,2]>(t)
  a = Relu(u) e = Relu(u) f = Add(a, e) sh = Shape(f) y = Reshape(f, sh) x2 = Neg(x)
  k = Identity(v) }"""


def many(build):
    return build(
        MANY,
        pads=np.zeros(8, np.int64),
        w=RNG.standard_normal((4, 3, 3, 3)).astype(np.float32),
        s=np.ones(4, np.float32),
        v=np.ones(4, np.float32),
    )


def test_the_second_run_changes_nothing(build, serialized):
    model = many(build)
    first = optimize(model)
    after = serialized(model)
    second = optimize(model)
    assert (first.modified, second.modified) == (True, False)
    assert serialized(model) == after
    assert not any(note.applied for note in second.notes)
    assert [n for n in first.notes if not n.applied] == list(second.notes)


def test_the_result_survives_a_round_trip(build, serialized):
    model = many(build)
    optimize(model)
    again = ir.serde.deserialize_model(ir.serde.serialize_model(model))
    assert not optimize(again).modified
    assert serialized(again) == serialized(model)


def test_the_interface_is_kept(build, run, ops):
    model = many(build)
    feeds = {
        "x": RNG.standard_normal((2, 3, 8, 8)).astype(np.float32),
        "unused": np.ones(1, np.float32),
    }
    before = run(model, feeds)
    assert optimize(model).model is model
    assert [v.name for v in model.graph.inputs] == ["x", "unused"]
    assert [v.name for v in model.graph.outputs] == ["y", "x2", "k"]
    assert sorted(ops(model)) == sorted(["Conv", "Relu", "Add", "Neg"])
    for name, value in run(model, feeds).items():
        np.testing.assert_allclose(value, before[name], rtol=1e-5, atol=1e-5)


def test_an_output_that_is_an_input_or_an_initializer(build):
    model = build(
        """g (float[2] x) => (float[2] x, float[2] w, float[2] y)
        <float[2] w = {1, 2}> { y = Neg(x) }"""
    )
    optimize(model)
    assert [v.name for v in model.graph.outputs] == ["x", "w", "y"]
    assert "w" in model.graph.initializers


def test_a_constant_that_is_an_output(build, run):
    model = build(
        """g (float[2] x) => (float c, float[2] y, float d)
        { c = Constant<value_float=1.5>() y = Add(x, c) d = Add(c, c) }"""
    )
    feeds = {"x": np.ones(2, np.float32)}
    before = run(model, feeds)
    optimize(model)
    assert not optimize(model).modified
    for name, value in run(model, feeds).items():
        np.testing.assert_array_equal(value, before[name])


def test_an_input_with_a_default_becomes_a_constant(build, ops):
    model = build(
        """g (float[2] x, float[2] w) => (float[2] y)
        <float[2] w = {0, 0}> { a = Add(x, w) y = Neg(a) }"""
    )
    assert len(model.graph.inputs) == 2
    result = optimize(model)
    assert [v.name for v in model.graph.inputs] == ["x"]
    assert ops(model) == ["Neg"]
    assert any("default value" in str(note) for note in result.notes)


def test_equal_nodes_merge_unless_they_are_outputs(build, ops):
    model = build(
        """g (float[2] x) => (float[] y, float[] p, float[] q) {
        a = Relu(x) b = Relu(x) y = Add(a, b) p = Neg(x) q = Neg(x) }"""
    )
    result = optimize(model)
    assert sorted(ops(model)) == ["Add", "Neg", "Neg", "Relu"]
    assert any("is a graph output" in str(note) for note in result.notes)


def test_different_attributes_do_not_merge(build, ops):
    model = build(
        """g (float[2,2] x) => (float[] y) {
        a = Softmax<axis=0>(x) b = Softmax<axis=1>(x) y = Add(a, b) }"""
    )
    optimize(model)
    assert ops(model) == ["Softmax", "Softmax", "Add"]


def test_dead_code_goes_and_says_so(build, ops):
    model = build("g (float[2] x) => (float[] y) { d = Relu(x) e = Neg(d) y = Abs(x) }")
    result = optimize(model)
    assert ops(model) == ["Abs"]
    assert sum("nothing reads it" in str(note) for note in result.notes) == 2


def test_passes_are_skipped_by_name(build, ops):
    text = "g (float[2] x) => (float[2] y) { a = Identity(x) y = Neg(a) }"
    model = build(text)
    optimize(model, skip=("remove_no_ops", "fold_constants"))
    assert ops(model) == ["Identity", "Neg"]
    with pytest.raises(OptionError, match=r"no pass 'nonsense'.*fold_batch_norm"):
        optimize(build(text), skip=("nonsense",))


def test_every_pass_has_a_name():
    assert len({p.name for p in PIPELINE}) == len(PIPELINE) - 1  # inference stands there twice


def test_a_pass_that_breaks_the_interface_is_our_bug(build):
    class Rename(GraphPass):
        name = "rename"

        def rewrite(self, model, log):
            model.graph.outputs[0].name = "other"
            return False

    with pytest.raises(InternalError, match="interface"):
        optimize(build("g (float[2] x) => (float[2] y) { y = Neg(x) }"), passes=(Rename(),))


def test_no_pass_runs_again_on_what_it_left(build):
    runs = []

    class Counted(GraphPass):
        def __init__(self, name, changes):
            super().__init__()
            self.name, self._changes = name, changes

        def rewrite(self, model, log):
            runs.append(self.name)
            log.remark(f"{self.name} leaves something")
            self._changes -= 1
            return self._changes >= 0

    passes = (Counted("first", 0), Counted("second", 1), Counted("third", 0))
    done = optimize(build("g (float[2] x) => (float[2] y) { y = Neg(x) }"), passes=passes)
    # The third has seen what the second changed; the second may have left more to itself.
    assert runs == ["first", "second", "third", "first", "second"]
    # Reasons of a pass that is not asked again still hold.
    assert [str(note) for note in done.notes] == [
        f"{name}: {name} leaves something" for name in ("first", "second", "third")
    ]


@pytest.mark.parametrize("passes", [1, 2])
def test_new_names_in_one_pass_are_new(build, passes):
    class Add(GraphPass):
        name = "add"

        def rewrite(self, model, log):
            for _ in range(3):
                add_initializer(model.graph, "y_1", np.zeros(1, np.float32))
            return True

    model = build("g (float[2] x) => (float[2] y) { y_1 = Neg(x) y = Neg(y_1) }")
    for _ in range(passes):
        Add()(model)
    assert list(model.graph.initializers) == [f"y_1_{n + 1}" for n in range(3 * passes)]


def test_a_wrong_declared_dtype_is_the_models_fault(build):
    with pytest.raises(ModelInvalidError, match="INT8") as caught:
        optimize(build("g (float[2] x) => (int8[2] y) { y = Neg(x) }"))
    assert caught.value.tensor == "y"


def test_an_inconsistent_model_gives_a_note_not_a_crash(build):
    model = build("g (float[2,3] x, float[4,5] z) => (float[] y) { y = MatMul(x, z) }")
    result = optimize(model)
    assert any("shape inference complains" in str(note) for note in result.notes)


def test_models_with_subgraphs_pass_through(build, run):
    model = build(
        """g (bool c, float[2] x) => (float[2] y) {
          i = Identity(x) s = Abs(i)
          y = If(c) <then_branch = t () => (float[2] a) { a = Relu(s) },
                     else_branch = e () => (float[2] b) { b = Neg(i) }>
        }"""
    )
    for flag in (True, False):
        feeds = {"c": np.array(flag), "x": np.array([-1, 2], np.float32)}
        before = run(model, feeds)["y"]
        optimize(model)
        np.testing.assert_array_equal(run(model, feeds)["y"], before)


def test_what_only_a_removed_branch_read_goes_in_the_same_run(build, ops):
    model = build(
        """g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> {
          c = Constant<value=bool {1}>() n = Neg(x)
          y = If(c) <then_branch = t () => (float[2] a) { a = Relu(x) },
                     else_branch = e () => (float[2] b) { b = Add(n, w) }>
          d = If(c) <then_branch = p () => (float[2] a2) { a2 = Add(x, w) },
                     else_branch = q () => (float[2] b2) { b2 = Neg(x) }>
        }"""
    )
    optimize(model)
    assert ops(model) == ["Relu"]
    assert not model.graph.initializers
    assert not optimize(model).modified


def test_quantizers_behind_a_shape_are_dead(build, run):
    text = """g (float[2,3] x, float[6] p) => (float[2,3] y) {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
        t = Shape(d) y = Reshape(p, t) }"""
    model = build(text, s=np.float32(0.1), z=np.uint8(3))
    feeds = {"x": np.zeros((2, 3), np.float32), "p": np.arange(6, dtype=np.float32)}
    before = run(model, feeds)["y"]
    optimize(model)
    assert [node.op_type for node in model.graph] == ["Reshape"]
    np.testing.assert_array_equal(run(model, feeds)["y"], before)
