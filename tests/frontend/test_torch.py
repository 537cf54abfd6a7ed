"""TorchScript and .pt2: what torch computes is what the imported graph computes."""

from __future__ import annotations

import importlib.util
import json
import shutil
import zipfile

import numpy as np
import onnx.reference
import onnx_ir as ir
import pytest

from qdq.base.errors import (
    ChildTimeoutError,
    MissingDependencyError,
    ModelCorruptError,
    ModelInvalidError,
    SpecError,
    UnsupportedError,
)
from qdq.frontend import InputSpec, import_model, parse_input_spec
from qdq.graph import check_static_inputs


def signature(model: ir.Model):
    return [(v.name, v.dtype.numpy().name, tuple(v.shape.numpy())) for v in model.graph.inputs]


TORCHSCRIPT = [
    pytest.param("conv.pt", ["my:image:1x3x16x16"]),
    ("mixed.pt", ["ids:1x3:int64", "mask:1x3:bool", "rest:1x2:float32"]),
    pytest.param("attention.pt", ["x:1x6x16"], marks=pytest.mark.medium),
    pytest.param("bytes.pt", ["image:1x4x4x3:uint8"], marks=pytest.mark.medium),
    pytest.param("half.pt", ["x:1x4:float16"], marks=pytest.mark.medium),
    pytest.param("nested.pt", ["a:1x4", "b:1x4"], marks=pytest.mark.medium),
    pytest.param("through.pt", ["a:1x4", "b:1x4"], marks=pytest.mark.medium),
]


@pytest.mark.parametrize(("name", "texts"), TORCHSCRIPT)
def test_torchscript(torch_models, check_numerics, name, texts):
    model = import_model(torch_models / name, input_specs=texts)
    assert [InputSpec(n, s, d) for n, d, s in signature(model)] == [
        parse_input_spec(text) for text in texts
    ]
    assert [v.name for v in model.graph.outputs] == [
        f"output_{k}" for k in range(len(model.graph.outputs))
    ]
    assert all(v.shape is not None and v.shape.is_static() for v in model.graph.outputs)
    assert model.graph.opset_imports[""] == 20
    check_numerics(model, name)


class Recorder:
    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, name: str, total: int) -> None:
        self.steps.append(name)

    def advance(self, units: int = 1) -> None: ...

    def notice(self, text: str) -> None: ...


def test_names_are_the_modules_own_and_progress_is_told(torch_models):
    recorder = Recorder()
    model = import_model(
        torch_models / "conv.pt", input_specs={"x": (1, 3, 16, 16)}, progress=recorder
    )
    assert recorder.steps == ["load TorchScript", "try the model", "export to ONNX"]
    weights = set(model.graph.initializers)
    assert {"conv.weight", "conv.bias", "norm.weight", "norm.running_mean", "fc.weight"} <= weights
    assert [node.name for node in model.graph if node.op_type == "Conv"] == ["/conv/Conv"]
    text = str(ir.to_proto(model))
    assert "qdq" not in text
    assert not any(isinstance(v.const_value, ir.ExternalTensor) for v in _weights(model))


def _weights(model):
    return model.graph.initializers.values()


@pytest.mark.medium
def test_optional_argument_takes_a_spec(torch_models):
    model = import_model(torch_models / "nested.pt", input_specs=["a:1x4", "b:1x4", "c:1x4"])
    assert [v.name for v in model.graph.inputs] == ["a", "b", "c"]
    assert any(node.op_type == "Add" for node in model.graph)


@pytest.mark.medium
def test_code_from_a_gpu_runs_on_the_cpu(torch_models):
    model = import_model(torch_models / "cuda.pt", input_specs=["x:1x4"])
    x = np.array([[0, 1, 2, 3]], np.float32)
    (y,) = onnx.reference.ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x})
    np.testing.assert_array_equal(y, x + 1)


@pytest.mark.parametrize(
    ("name", "texts", "message"),
    [
        ("conv.pt", [], r"forward takes 1 tensors \(x: Tensor\), the input specs are none"),
        pytest.param(
            "mixed.pt",
            ["ids:1x3:int64"],
            "forward takes 3 tensors .*ids: Tensor, mask: Tensor, unused: Tensor",
            marks=pytest.mark.medium,
        ),
        pytest.param("nested.pt", ["a:1x4"], "forward takes 2 tensors", marks=pytest.mark.medium),
        ("conv.pt", ["x:1x4x16x16"], "fails on inputs .*expected input.* to have 3 channels"),
        pytest.param(
            "conv.pt",
            ["x:1x3x16x16:float16"],
            "fails on inputs .*expected scalar type Half but found Float",
            marks=pytest.mark.medium,
        ),
        pytest.param(
            "mixed.pt",
            ["ids:1x3", "mask:1x3:bool", "u:1x2"],
            "fails on inputs .*indices",
            marks=pytest.mark.medium,
        ),
    ],
)
def test_specs_that_do_not_fit(torch_models, name, texts, message):
    with pytest.raises(SpecError, match=message) as caught:
        import_model(torch_models / name, input_specs=texts)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 900


@pytest.mark.medium
def test_module_without_forward(torch_models):
    with pytest.raises(ModelInvalidError, match="has no forward"):
        import_model(torch_models / "noforward.pt", input_specs=["x:1x4"])


@pytest.mark.medium
def test_input_name_that_is_a_weights(torch_models):
    with pytest.raises(SpecError, match=r"'conv.weight' is that of another tensor"):
        import_model(torch_models / "conv.pt", input_specs=["conv.weight:1x3x16x16"])


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "texts"), [("unsupported.pt", ["x:1x4"]), ("unsupported2.pt2", None)]
)
def test_operator_that_onnx_lacks(torch_models, name, texts):
    with pytest.raises(UnsupportedError, match="bessel_j0"):
        import_model(torch_models / name, input_specs=texts)


def test_program(torch_models, check_numerics):
    model = import_model(torch_models / "conv2.pt2", input_specs=["photo:1x3x16x16"])
    assert signature(model) == [("photo", "float32", (1, 3, 16, 16))]
    assert "conv.weight" in model.graph.initializers
    assert not any(isinstance(v.const_value, ir.ExternalTensor) for v in _weights(model))
    check_numerics(model, "conv2.pt2")


@pytest.mark.medium
def test_program_with_dynamic_batch(torch_models, check_numerics):
    path = torch_models / "dynamic.pt2"
    model = import_model(path)
    with pytest.raises(SpecError, match=r"--input-spec x:1x3x16x16:float32"):
        check_static_inputs(model)
    fixed = import_model(path, input_specs={"x": (2, 3, 16, 16)})
    check_static_inputs(fixed)
    check_numerics(fixed, "dynamic.pt2")
    with pytest.raises(SpecError, match=r"'x' float32 \w+x3x16x16"):
        import_model(path, input_specs={"x": (2, 3, 16, 15)})


@pytest.mark.medium
def test_program_without_specs_keeps_its_names(torch_models, check_numerics):
    model = import_model(torch_models / "mixed2.pt2")
    assert [v.name for v in model.graph.inputs] == ["ids", "mask", "unused"]
    check_numerics(model, "mixed2.pt2")


def edited(source, target, **changes):
    """Copy an archive, changing keys of its program and adding members."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("models/model.json"):
                program = json.loads(data)
                program.update(changes.get("program", {}))
                data = json.dumps(program).encode()
            new.writestr(name, data)
        for name, data in changes.get("members", {}).items():
            new.writestr(name, data)
    return target


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"program": {"torch_version": "9.1.0"}},
            r"saved by torch 9\.1\.0 .*here is torch .*Save it with torch \d+\.\d+ or older",
        ),
        pytest.param(
            {"program": {"schema_version": {"major": 99, "minor": 1}}},
            r"schema 99\.1",
            marks=pytest.mark.medium,
        ),
        pytest.param(
            {"members": {"conv2/data/aotinductor/model/x.so": b"code"}},
            "machine code",
            marks=pytest.mark.medium,
        ),
        pytest.param(
            {"members": {"conv2/models/other.json": b"{}"}},
            "holds 2 programs",
            marks=pytest.mark.medium,
        ),
    ],
)
def test_programs_that_are_refused_before_torch_reads_them(
    torch_models, tmp_path, changes, message
):
    path = edited(torch_models / "conv2.pt2", tmp_path / "x.pt2", **changes)
    with pytest.raises(UnsupportedError, match=message):
        import_model(path)


@pytest.mark.medium
@pytest.mark.parametrize("program", [{"schema_version": None}, {"graph_module": {}}])
def test_damaged_program(torch_models, tmp_path, program):
    path = edited(torch_models / "conv2.pt2", tmp_path / "x.pt2", program=program)
    with pytest.raises(ModelCorruptError):
        import_model(path)


@pytest.mark.medium
def test_damaged_torchscript(torch_models, tmp_path):
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(torch_models / "conv.pt") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"junk" if name.endswith("data.pkl") else old.read(name))
    with pytest.raises(ModelCorruptError, match="cannot read the TorchScript"):
        import_model(path, input_specs=["x:1x3x16x16"])


def test_without_torch(torch_models, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'qdq\[torch\]'"):
        import_model(torch_models / "conv.pt", input_specs=["x:1x3x16x16"])


def test_time_limit_and_no_traces_left(torch_models, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ChildTimeoutError):
        import_model(torch_models / "conv.pt", input_specs=["x:1x3x16x16"], timeout_s=0.2)
    assert list(tmp_path.iterdir()) == []


def test_names_do_not_matter(torch_models, tmp_path):
    """Formats are told by content: a TorchScript called .onnx is a TorchScript."""
    shutil.copy(torch_models / "conv.pt", tmp_path / "x.onnx")
    with pytest.raises(SpecError, match="forward takes 1 tensors"):
        import_model(tmp_path / "x.onnx")
