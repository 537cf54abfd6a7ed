import numpy as np
import onnx
import pytest

from qdq.base.errors import SpecError
from qdq.graph.shapes import check_static_inputs, describe_input, fix_dims, infer_shapes


def shapes(model):
    values = [*model.graph.inputs, *(o for n in model.graph for o in n.outputs)]
    return {
        v.name: None
        if v.shape is None
        else tuple(
            v.shape.numpy()
            if v.shape.is_static()
            else [d if isinstance(d, int) else d.value for d in v.shape]
        )
        for v in values
    }


NET = "g (float[N,3,H,8] x) => (float[N,M] y) { a = Conv(x, w) b = Relu(a) y = Flatten(b) }"
W = np.ones((4, 3, 3, 3), np.float32)


def test_known_dims_and_names_are_inferred(build):
    model = build(NET, w=W)
    assert infer_shapes(model).modified
    assert shapes(model) == {
        "x": ("N", 3, "H", 8),
        "a": ("N", 4, None, 6),
        "b": ("N", 4, None, 6),
        "y": ("N", "M"),
    }
    assert not infer_shapes(model).modified


def test_wrong_declarations_are_corrected(build):
    model = build("g (float[2,3] x) => (float[7,7] y) { y = Relu(x) }")
    infer_shapes(model)
    assert shapes(model)["y"] == (2, 3)


def test_an_inconsistent_node_is_a_note(build):
    model = build(
        """g (float[2,3] x, float[4,5] z) => (float[] y, float[2,3] r)
        { y = MatMul(x, z) r = Relu(x) }"""
    )
    result = infer_shapes(model)
    assert any("MatMul" in note or "dimension" in note.lower() for note in result.notes)
    assert shapes(model)["r"] == (2, 3)


def test_large_weights_are_not_serialized(build, monkeypatch):
    model = build(
        "g (float[1,512] x) => (float[] y) { y = MatMul(x, w) }", w=np.ones((512, 512), np.float32)
    )
    sizes = []
    original = onnx.shape_inference.infer_shapes

    def spy(proto, **options):
        sizes.append(proto.ByteSize())
        return original(proto, **options)

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", spy)
    infer_shapes(model)
    assert shapes(model)["y"] == (1, 512)
    assert max(sizes) < 2000


def test_fixed_dims_reach_every_tensor(build):
    model = build(NET, w=W)
    fix_dims(model, {"x": (2, 3, 5, 8)})
    assert shapes(model) == {"x": (2, 3, 5, 8), "a": (2, 4, 3, 6), "b": (2, 4, 3, 6), "y": (2, 72)}
    check_static_inputs(model)


def test_a_named_dim_is_fixed_in_other_inputs_too(build):
    model = build("g (float[N,2] x, float[N,3] z) => (float[N,5] y) { y = Concat<axis=1>(x, z) }")
    fix_dims(model, {"x": (4, 2)})
    assert shapes(model)["z"] == (4, 3)


def test_zero_rank_inputs(build):
    model = build("g (float x, float[N] z) => (float[] y) { y = Add(x, z) }")
    model.graph.inputs[0].shape = None
    fix_dims(model, {"x": (), "z": (3,)})
    assert shapes(model)["y"] == (3,)


@pytest.mark.parametrize(
    ("fixed", "match"),
    [
        ({"q": (1,)}, "no input 'q'.*'x'"),
        ({"x": (1, 3, 8)}, "rank 3"),
        ({"x": (1, 4, 8, 8)}, "Dim 1 is given as 4, but it is 3"),
        ({"x": (1, 3, -1, 8)}, "negative"),
    ],
)
def test_contradictions_are_named(build, fixed, match):
    model = build(NET, w=W)
    before = shapes(model)
    with pytest.raises(SpecError, match=match):
        fix_dims(model, fixed)
    assert shapes(model) == before


def test_one_name_cannot_have_two_values(build):
    model = build("g (float[N,2] x, float[N,3] z) => (float[] y) { y = Concat<axis=1>(x, z) }")
    with pytest.raises(SpecError, match="'N'"):
        fix_dims(model, {"x": (1, 2), "z": (2, 3)})


def test_a_shape_that_no_longer_fits_inside_is_refused(build):
    model = build(
        "g (float[1,3,H,W] x) => (float[] y) { f = Reshape(x, s) y = MatMul(f, w) }",
        s=np.array([1, -1], np.int64),
        w=np.ones((48, 2), np.float32),
    )
    before = shapes(model)
    with pytest.raises(SpecError, match="inconsistent"):
        fix_dims(model, {"x": (1, 3, 5, 5)})
    assert shapes(model) == before
    fix_dims(model, {"x": (1, 3, 4, 4)})


@pytest.mark.parametrize("text", ["float[N,2] x", "float x"])
def test_free_dims_are_named(build, text):
    model = build(f"g ({text}) => (float[] y) {{ y = Relu(x) }}")
    if "[" not in text:
        model.graph.inputs[0].shape = None
    with pytest.raises(SpecError) as caught:
        check_static_inputs(model)
    told = str(caught.value)
    assert "'x' float32" in told
    assert ("--input-spec x:1x2:float32" if "[" in text else "--input-spec x:SHAPE:float32") in told


def test_inputs_are_described(build):
    model = build("g (float[N,2] x, int64 k, bool[1] b) => (float[] y) { y = Relu(x) }")
    told = [describe_input(value) for value in model.graph.inputs]
    assert told == ["'x' float32 Nx2", "'k' int64 scalar", "'b' bool 1"]


@pytest.mark.parametrize("opset", [11, 19, 22])
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("pads", ["1, 0, 1, 1", "0, 0, 1, 0", "0, 1, 0, 0"])
def test_a_window_of_padding_alone_is_none(build, run, op, opset, pads):
    """Two such pools in a row: the second one's shape follows from the right one of the first."""
    pool = f"{op} <kernel_shape = [2, 2], strides = [3, 3], pads = [{pads}], ceil_mode = 1>"
    model = build(
        f"g (float[1,1,29,23] x) => (float[?,?,?,?] y) {{ a = {pool} (x) y = {pool} (a) }}",
        opset=opset,
    )

    infer_shapes(model)

    found = run(model, {"x": np.zeros((1, 1, 29, 23), np.float32)})["y"]
    assert shapes(model)["y"] == found.shape
    assert not infer_shapes(model).modified
