"""What cannot be compiled is refused by name, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import qdq
from qdq.base import devices, qnn_package
from qdq.base.errors import ChildMemoryError
from qdq.library import CompileResult
from qdq.target.qnn.errors import compile_error
from qdq.target.qnn.op_trace import OpTrace, RefusedNode, read_trace
from qnn_files import S24, float_net, qdq_net, text_net

Compiled = Callable[..., CompileResult]
BINARY = "--target_runtime qnn_context_binary"
SINH = """
    <ir_version: 10, opset_import: ["" : 17]>
    odd (float[1,4] x) => (float[1,4] y) { a = Relu (x) b = Sinh (a) y = Relu (b) }
"""


def test_an_unsupported_op_is_named(tmp_path: Path, compiled: Compiled) -> None:
    with pytest.raises(qdq.UnsupportedError) as caught:
        compiled(text_net(tmp_path, SINH))
    assert (caught.value.node, caught.value.op_type) == ("make_b", "Sinh")
    assert not (tmp_path / "out.bin").exists()


def test_a_dlc_refuses_the_same(tmp_path: Path) -> None:
    with pytest.raises(qdq.UnsupportedError, match="'make_b' \\(Sinh\\)"):
        qdq.compile(
            text_net(tmp_path, SINH),
            tmp_path / "x.dlc",
            device=S24,
            options="--target_runtime qnn_dlc",
        )
    assert list(tmp_path.glob("x*")) == []


def test_a_dynamic_shape(tmp_path: Path, compiled: Compiled) -> None:
    text = SINH.replace("[1,4]", "[N,4]").replace("Sinh", "Sigmoid")
    with pytest.raises(qdq.SpecError, match="'x' float32 Nx4"):
        compiled(text_net(tmp_path, text))


def test_an_unknown_soc(
    tmp_path: Path, compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = devices.CatalogueDevice(
        "Odd Phone", "1", "", ("framework:qnn", "soc-model:999", "hexagon:v75"), ""
    )
    monkeypatch.setattr(devices, "device_catalogue", lambda: (odd,))
    with pytest.raises(qdq.UnsupportedError, match="does not know this chip"):
        compiled(qdq_net(tmp_path), device="Odd Phone")


@pytest.mark.parametrize(
    ("device", "options", "error", "told"),
    [
        (None, BINARY, qdq.OptionError, "needs a device"),
        ("Pixel 9", BINARY, qdq.SpecError, "no device 'Pixel 9'"),
        ("samsung galaxy s240", BINARY, qdq.SpecError, "Did you mean 'Samsung Galaxy S24'"),
        (S24, f"{BINARY} --qairt_version 2.40", qdq.OptionError, "default, latest, 2.51.0"),
        (S24, f"{BINARY} --qnn_graph_name 9x", qdq.OptionError, "cannot be the name"),
        (
            S24,
            f"{BINARY} --qnn_graph_name a --qnn_options context_enable_graphs=b",
            qdq.OptionError,
            "contradict",
        ),
        (S24, f"{BINARY} --qnn_options foo=1", qdq.OptionError, "no key 'foo'"),
        (
            S24,
            "--target_runtime qnn_dlc --qnn_context_binary_vtcm 4",
            qdq.OptionError,
            "a DLC has none yet",
        ),
        (None, "--qnn_graph_name x", qdq.OptionError, "is of the QNN runtimes"),
    ],
)
def test_requests(
    tmp_path: Path, device: str | None, options: str, error: type[qdq.QdqError], told: str
) -> None:
    suffix = {"qnn_d": ".dlc", "qnn_c": ".bin"}.get(options[17:22], ".onnx")
    with pytest.raises(error, match=told):
        qdq.compile(qdq_net(tmp_path), tmp_path / f"o{suffix}", device=device, options=options)
    assert list(tmp_path.glob("o*")) == []


@pytest.mark.parametrize("version", ["default", "latest", "2.51", "2.51.0"])
def test_the_installed_qairt_is_honoured(tmp_path: Path, compiled: Compiled, version: str) -> None:
    # Checked before any work: the float model's refusal comes after it.
    assert qnn_package.check_qairt(version) == "2.51.0"


def test_a_device_without_qnn() -> None:
    odd = devices.CatalogueDevice("Odd Phone", "1", "", ("framework:tflite",), "")
    with pytest.raises(qdq.UnsupportedError, match="does not run QNN"):
        devices.htp_target(odd)


def test_devices_that_no_one_binary_suits() -> None:
    chosen = [devices.find_device(it) for it in ("Samsung Galaxy S23", "QCS8550 (Proxy)")]
    with pytest.raises(qdq.UnsupportedError, match="SM8550 and QCS8550 have the same arch v73"):
        devices.common_target(chosen)


def test_an_output_of_another_suffix_and_one_that_exists(tmp_path: Path) -> None:
    model = float_net(tmp_path)
    with pytest.raises(qdq.OutputError, match=r"\.bin"):
        qdq.compile(model, tmp_path / "o.onnx", device=S24, options=BINARY)
    (tmp_path / "there.onnx").mkdir()
    with pytest.raises(qdq.OutputError, match="exists"):
        qdq.compile(
            model,
            tmp_path / "there.onnx",
            device=S24,
            options="--target_runtime precompiled_qnn_onnx",
        )


@pytest.mark.no_qnn_needed
def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == qnn_package.PACKAGE:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    (tmp_path / "x.bin").write_bytes(b"\0\0\0\2\0\0\0\3" + bytes(64))
    calls: list[Callable[[], object]] = [
        lambda: qdq.compile(float_net(tmp_path), device=S24, options=BINARY),
        lambda: qdq.run(tmp_path / "x.bin", {"image": np.zeros((1, 1), np.float32)}),
        lambda: qdq.inspect(tmp_path / "x.bin"),
        lambda: qdq.link([tmp_path / "x.bin"], device=S24),
    ]
    for call in calls:
        with pytest.raises(qdq.MissingDependencyError) as caught:
            call()
        assert "pip install 'qdq[qnn]'" in str(caught.value)
        assert "MIT" in str(caught.value) and "AI Stack License" in str(caught.value)


@pytest.mark.no_qnn_needed
def test_another_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qnn_package.platform, "machine", lambda: "aarch64")
    with pytest.raises(qdq.MissingDependencyError, match="Linux on x86-64"):
        qnn_package.require_qnn()


@pytest.mark.no_qnn_needed
def test_a_missing_libatomic_is_told_with_its_package() -> None:
    said = "libatomic.so.1: cannot open shared object file: No such file or directory"
    error = qnn_package.missing_library(said)
    assert "libatomic1" in error.remedy and "libatomic.so.1" in error.cause


@pytest.mark.no_qnn_needed
def test_failures_are_told_by_their_cause() -> None:
    none = OpTrace((), ())
    assert isinstance(compile_error("std::bad_alloc", (), none, ["n"]), ChildMemoryError)
    refused = OpTrace((), (RefusedNode("q", "QuantizeLinear", "x"), RefusedNode("n", "Foo", "why")))
    found = compile_error("fails", (), refused, ["n"])
    assert (found.node, found.op_type) == ("n", "Foo") and "why" in str(found)
    name = "QNNExecutionProvider_QNNExecutionProvider_12_1_0"
    told = compile_error("[ONNXRuntimeError] : 1 : FAIL : bad", (f"{name} fell",), none, ["net"])
    assert "net fell; bad" in str(told) and name not in str(told)


@pytest.mark.no_qnn_needed
@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"unsupported_nodes": 3}', '{"subgraph_traces": [1]}']
)
def test_a_trace_that_is_no_trace(tmp_path: Path, text: str) -> None:
    (tmp_path / "qnn_op_trace.json").write_text(text)
    assert read_trace(tmp_path) == OpTrace((), ())
