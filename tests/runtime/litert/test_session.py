"""LiteRT's session: encodings, dtypes, numbers against numpy, and each failure as a leaf."""

import builtins

import numpy as np
import pytest

from litert_files import models
from litert_files.build import FileBuilder
from litert_files.hostile import UNRUNNABLE
from qdq.base.errors import (
    MissingDependencyError,
    ModelInvalidError,
    SpecError,
    UnsupportedError,
)
from qdq.runtime.litert.session import open_litert


def _int8_conv(image):
    """The 1x1 convolution of ``models.quantized_conv`` in exact arithmetic."""
    weights = np.array([[100, -50], [3, 7], [-128, 127]], np.int64)
    bias = np.array([10, -20, 30], np.int64)
    sums = (image.astype(np.int64) + 3) @ weights.T + bias
    scales = np.float64(np.float32(0.1)) * np.array([0.02, 0.05, 0.01]) / 0.25
    return np.clip(np.rint(sums * scales) + 4, -128, 127)


@pytest.mark.parametrize("optimize", [True, False])
def test_integer_kernels(tmp_path, optimize):
    path = models.quantized_conv().save(tmp_path / "m")
    image = np.random.default_rng(1).integers(-128, 128, (1, 4, 4, 2)).astype(np.int8)
    with open_litert(path, optimize=optimize) as session:
        (info,) = session.inputs
        assert (info.name, info.dtype, info.zero_point) == ("image", "int8", -3)
        assert info.scale == pytest.approx(0.1)
        out, soft = session.run_values({"image": image})
    assert np.abs(out - _int8_conv(image)).max() <= 1
    assert soft.dtype == np.int8 and session.outputs[1].scale == 1 / 256


def test_inner_tensors(tmp_path):
    file, weights = models.conv(size=4)
    path = file.save(tmp_path / "m")
    image = np.random.default_rng(0).normal(size=(1, 4, 4, 3)).astype(np.float32)
    with open_litert(path, tensors=["row", "relu_out"]) as session:
        row, relu = session.run_values({"image": image})
        assert [info.name for info in session.outputs] == ["row", "relu_out"]
    with open_litert(path) as session:
        (logits,) = session.run_values({"image": image})
    np.testing.assert_allclose(row, relu.mean(axis=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(logits, row @ weights["v"].T + weights["c"], atol=1e-4)


def test_a_tensor_that_is_not_there(tmp_path):
    with pytest.raises(SpecError, match="nope"):
        open_litert(models.add().save(tmp_path / "m"), tensors=["nope"])


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int16", "int32", "int64", "bool"])
def test_dtypes_pass(tmp_path, dtype):
    x = np.array([0, 1]).astype(dtype)
    with open_litert(models.identity(dtype).save(tmp_path / "m")) as session:
        assert (session.inputs[0].dtype, session.outputs[0].dtype) == (dtype, dtype)
        found = session.run({"x": x})["y"]
    assert found.dtype == x.dtype
    np.testing.assert_array_equal(found, x)


def test_scalar(tmp_path):
    file = FileBuilder()
    x, y = file.tensor("x", ()), file.tensor("y", ())
    file.op("NEG", [x], [y], options="NegOptions")
    file.edges([x], [y])
    with open_litert(file.save(tmp_path / "m")) as session:
        assert session.run({"x": np.array(2, np.float32)})["y"] == -2


def test_signature_with_some_names_only(tmp_path):
    file = models.add(names=False)
    file.signature({"first": 0}, {})
    with open_litert(file.save(tmp_path / "m")) as session:
        assert [info.name for info in session.inputs] == ["first", "r:0"]


@pytest.mark.parametrize("name", UNRUNNABLE)
def test_custom_ops_are_named(tmp_path, name):
    path = tmp_path / "m"
    path.write_bytes(UNRUNNABLE[name]())
    with pytest.raises(UnsupportedError) as caught:
        open_litert(path)
    assert caught.value.op_type in {"Secret/Op", "FlexConv2D"}
    assert ("Select TF ops" in caught.value.remedy) is (name == "flex_op")


def test_kernel_that_is_not_there(tmp_path):
    file = models.add()
    file.model.operatorCodes[0].version = 99
    with pytest.raises(UnsupportedError) as caught:
        open_litert(file.save(tmp_path / "m"))
    assert caught.value.op_type == "ADD"


def test_op_that_cannot_be_prepared_is_named(tmp_path):
    file, _ = models.conv()
    file.graph.tensors[0].shape = [1, 16, 16, 5]
    with pytest.raises(ModelInvalidError) as caught:
        open_litert(file.save(tmp_path / "m"))
    assert (caught.value.node, caught.value.op_type) == ("conv, relu", "CONV_2D")


def test_failure_while_running_is_named(tmp_path):
    file = FileBuilder()
    x = file.tensor("x", (2,))
    i, y = file.tensor("i", (1,), "int32"), file.tensor("y", (1,))
    file.op("GATHER", [x, i], [y], options="GatherOptions")
    file.edges([x, i], [y])
    sample = {"x": np.ones(2, np.float32), "i": np.array([7], np.int32)}
    with open_litert(file.save(tmp_path / "m"), optimize=False) as session:
        with pytest.raises(ModelInvalidError) as caught:
            session.run(sample)
        assert caught.value.op_type == "GATHER"
        sample["i"][:] = 1
        assert session.run(sample)["y"] == 1


def test_text_is_unsupported(tmp_path):
    file = models.add(names=False)
    file.graph.tensors[0].type = 5
    with pytest.raises(UnsupportedError, match="l:0"):
        open_litert(file.save(tmp_path / "m"))


def test_without_the_package(tmp_path, monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **more):
        if name.startswith("ai_edge_litert"):
            raise ImportError(name)
        return real(name, *rest, **more)

    path = models.add().save(tmp_path / "m")
    monkeypatch.setattr(builtins, "__import__", absent)
    monkeypatch.setattr("qdq.runtime.litert.package.package_version", lambda: None)
    with pytest.raises(MissingDependencyError) as caught:
        open_litert(path)
    assert caught.value.remedy == "pip install 'qdq[tflite]'"
