import numpy as np
import onnx
import onnx_ir as ir
import pytest

from qdq.base.errors import OutputError
from qdq.graph import save as save_module
from qdq.graph.load import load_model
from qdq.graph.save import save_model

TEXT = "g (float[1024] x) => (float[1024] y) { a = Add(x, w) y = Add(a, b) }"
W = np.arange(1024, dtype=np.float32)
B = np.ones(1, dtype=np.float32)


@pytest.fixture
def model(build):
    return build(TEXT, w=W, b=B)


def weights(path):
    return {n: v.const_value.numpy().copy() for n, v in load_model(path).graph.initializers.items()}


def test_small_models_are_one_file(model, tmp_path):
    save_model(model, tmp_path / "m.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    np.testing.assert_array_equal(weights(tmp_path / "m.onnx")["w"], W)


@pytest.mark.parametrize("options", [{"external_data": True}, {"external_above": 1000}])
def test_large_models_get_a_data_file(model, tmp_path, options):
    save_model(model, tmp_path / "m.onnx", **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    loaded = weights(tmp_path / "m.onnx")
    np.testing.assert_array_equal(loaded["w"], W)
    np.testing.assert_array_equal(loaded["b"], B)
    assert (tmp_path / "m.onnx.data").stat().st_size == W.nbytes
    assert (tmp_path / "m.onnx").stat().st_size < W.nbytes / 4
    onnx.checker.check_model(str(tmp_path / "m.onnx"))


@pytest.mark.parametrize("external", [True, False])
def test_same_model_same_bytes(model, tmp_path, external):
    names = ("a", "b")
    for name in names:
        (tmp_path / name).mkdir()
        save_model(model, tmp_path / name / "m.onnx", external_data=external)
    files = [sorted((p.name, p.read_bytes()) for p in (tmp_path / n).iterdir()) for n in names]
    assert files[0] == files[1]


def test_external_weights_can_be_pulled_into_one_file(model, tmp_path):
    save_model(model, tmp_path / "m.onnx", external_data=True)
    (tmp_path / "out").mkdir()
    save_model(load_model(tmp_path / "m.onnx"), tmp_path / "out" / "m.onnx")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["m.onnx"]
    np.testing.assert_array_equal(weights(tmp_path / "out" / "m.onnx")["w"], W)


def test_saving_over_its_own_data_keeps_the_model_usable(model, tmp_path):
    path = tmp_path / "m.onnx"
    save_model(model, path, external_data=True)
    loaded = load_model(path)
    # Another weight in front of 'w' moves it inside the data file.
    w = loaded.graph.initializers.pop("w")
    array = np.full(2048, 7, np.float32)
    loaded.graph.register_initializer(
        ir.Value(name="first", const_value=ir.Tensor(array, name="first"))
    )
    loaded.graph.register_initializer(w)
    save_model(loaded, path, external_data=True)
    np.testing.assert_array_equal(loaded.graph.initializers["w"].const_value.numpy(), W)
    save_model(loaded, path, external_data=True)
    np.testing.assert_array_equal(weights(path)["w"], W)


@pytest.mark.parametrize("external", [True, False])
def test_a_failure_leaves_what_was_there(model, tmp_path, monkeypatch, external):
    path = tmp_path / "m.onnx"
    save_model(model, path, external_data=True)
    before = sorted((p.name, p.read_bytes()) for p in tmp_path.iterdir())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(save_module, "_write_proto", full)
    with pytest.raises(OutputError, match="No space"):
        save_model(model, path, external_data=external)
    assert sorted((p.name, p.read_bytes()) for p in tmp_path.iterdir()) == before


def test_saving_does_not_change_the_model(model, tmp_path):
    tensors = {n: v.const_value for n, v in model.graph.initializers.items()}
    save_model(model, tmp_path / "m.onnx", external_data=True)
    assert all(model.graph.initializers[n].const_value is t for n, t in tensors.items())


def test_missing_folder(model, tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        save_model(model, tmp_path / "none" / "m.onnx")


def test_too_large_for_one_file(model, tmp_path, monkeypatch):
    monkeypatch.setattr(save_module, "EXTERNAL_ABOVE_BYTES", 100)
    with pytest.raises(OutputError, match="external data"):
        save_model(model, tmp_path / "m.onnx", external_data=False)


@pytest.mark.slow
def test_more_than_two_gigabytes(proto_of, tmp_path):
    import resource

    from qdq.graph.optimize import optimize
    from qdq.graph.shapes import infer_shapes

    rows = 1 << 16
    cols = (5 << 29) // (rows * 4)  # 2.5 GB
    source = tmp_path / "in"
    source.mkdir()
    proto = proto_of(
        f"g (float[1,{rows}] x) => (float[1,{cols}] y) {{ a = Identity(x) y = MatMul(a, w) }}"
    )
    tensor = proto.graph.initializer.add(name="w", data_type=1, dims=[rows, cols])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.data")
    with (source / "w.data").open("wb") as file:
        file.truncate(rows * cols * 4)
    (source / "m.onnx").write_bytes(proto.SerializeToString())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = load_model(source / "m.onnx")
    optimize(model)
    infer_shapes(model)
    out = tmp_path / "out.onnx"
    save_model(model, out)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (tmp_path / "out.onnx.data").stat().st_size == rows * cols * 4
    assert [n.op_type for n in load_model(out).graph] == ["MatMul"]
    assert grown < 500_000  # KiB: far from one copy of the weights
