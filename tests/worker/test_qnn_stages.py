"""Stages of QNN models in sandboxed children, as the workbench runs them; needs the extra [qnn]."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from qdq.base.errors import (
    ModelCorruptError,
    ModelInvalidError,
    QdqError,
    SpecError,
    UnsupportedError,
)
from qdq.base.progress import NO_PROGRESS
from qdq.dataset import open_samples, write_h5
from qdq.worker import Limits, open_output, run_stage
from qnn_files import S24, S25, images, need_qnn, qdq_net

LIMITS = Limits(wall_s=240, memory_bytes=4 << 30, output_bytes=256 << 20)
BINARY = "--target_runtime qnn_context_binary"


@pytest.fixture
def stage(tmp_path):
    """``stage(name, spec, **inputs)``: its answer, and its outputs copied beside."""

    def run(name, spec, /, **inputs):
        scratch = tmp_path / f"scratch-{name}-{len(list(tmp_path.iterdir()))}"
        answer = run_stage(
            name,
            spec,
            scratch=scratch,
            inputs=[(path, key) for key, path in inputs.items()],
            limits=LIMITS,
            progress=NO_PROGRESS,
        )
        run.log = (scratch / "log.txt").read_text()
        run.scratch = scratch
        return answer

    def keep(file):
        path = tmp_path / f"kept-{len(list(tmp_path.iterdir()))}"
        with open_output(run.scratch, file, max_bytes=1 << 30) as opened:
            path.write_bytes(opened.read())
        return path

    run.keep = keep
    return run


@pytest.fixture
def source(tmp_path):
    need_qnn()
    return qdq_net(tmp_path)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.h5"
    write_h5(path, {"image": images(3)})
    return path


def compiled(stage, source, options=BINARY, device=S24):
    return stage("compile", {"options": options, "device": [device]}, model=source)


def test_a_binary_is_compiled_inspected_run_compared_and_placed(stage, source, data):
    answer = compiled(stage, source)
    assert answer["output"] == "model.bin"
    assert answer["qnn"]["soc_model"] == 57
    assert f"sha256 {answer['qnn']['sha256']}" in stage.log
    binary = stage.keep("model.bin")

    found = stage("inspect_model", {}, model=binary)
    assert found["format"] == "qnn_context_binary"
    assert found["qnn"]["soc_model"] == 57
    assert [row["name"] for row in found["input_spec"]] == ["image"]

    origin = {"options": BINARY, "input_specs": None}
    spec = {"options": "", "device": None, "label": "x", "origin": origin}
    ran = stage("simulate", spec, model=binary, dataset=data, origin=source)
    assert ran["samples"] == 3
    assert ran["runtime"].startswith("Qualcomm HTP simulator")
    (row,) = ran["agreement"]
    assert row["output"] == "scores"
    # Equal, or a step of the output's grid here and there.
    assert row["sqnr_db"] is None or row["sqnr_db"] > 25
    with open_samples(stage.keep("output.h5")) as samples:
        assert samples.names == ("scores",)

    told = stage("placement", {"options": "", "device": None}, model=binary)
    document = json.loads(stage.keep("placement.json").read_text())
    assert document["latency_known"] is False
    assert told["placement"]["ops"]
    assert "graphs" not in told["placement"]


def test_without_an_origin_nothing_is_compared(stage, source, data):
    compiled(stage, source)
    spec = {"options": "", "device": None, "label": "x", "origin": None}
    ran = stage("simulate", spec, model=stage.keep("model.bin"), dataset=data)
    assert ran["agreement"] == []
    assert "is not known here" in stage.log


def test_a_wrapped_model_is_one_folder_in_an_archive(stage, source, data):
    answer = compiled(stage, source, "--target_runtime precompiled_qnn_onnx")
    assert answer["output"] == "model.zip"
    packed = stage.keep("model.zip")
    with zipfile.ZipFile(packed) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0] for name in names} == {"model.onnx"}
    found = stage("inspect_model", {}, model=packed)
    assert (found["format"], found["is_directory"]) == ("precompiled_qnn_onnx", True)
    spec = {"options": "", "device": None, "label": "x", "origin": None}
    assert stage("simulate", spec, model=packed, dataset=data)["samples"] == 3


def test_dlcs_are_run_and_linked_by_their_onnx(stage, source, data):
    files, sources = [], []
    for name in ("one", "two"):
        options = f"--target_runtime qnn_dlc --qnn_graph_name {name}"
        answer = compiled(stage, source, options)
        assert answer["output"] == "model.dlc"
        files.append(stage.keep("model.dlc"))
        sources.append(stage.keep("model.source.onnx"))
    spec = {"options": "", "device": S25, "label": "x", "origin": None}
    ran = stage("simulate", spec, model=files[0], dataset=data, source=sources[0])
    assert ran["samples"] == 3
    assert len(ran["agreement"]) == 1
    linked = stage(
        "link", {"options": "", "device": [S24]}, source_0=sources[0], source_1=sources[1]
    )
    assert linked["graphs"] == ["one", "two"]
    assert {row["graph"] for row in linked["input_spec"]} == {"one", "two"}
    assert stage("inspect_model", {}, model=stage.keep("model.bin"))["qnn"]["graph_names"]


def test_hostile_files_end_their_child_at_most(stage, source, tmp_path):
    compiled(stage, source)
    whole = stage.keep("model.bin").read_bytes()
    rng = np.random.default_rng(1)
    bad = {
        "cut": whole[: len(whole) // 3],
        "head": rng.bytes(256) + whole[256:],
        "noise": whole[:64] + rng.bytes(20_000),
        "empty dlc": b"PK\x03\x04" + bytes(60),
    }
    for name, content in bad.items():
        path = tmp_path / name
        path.write_bytes(content)
        try:
            answer = stage("inspect_model", {}, model=path)
        except QdqError as error:
            assert isinstance(error, ModelCorruptError | ModelInvalidError) or error.cause
        else:
            assert answer["format"] in ("unknown", "qnn_context_binary")


def test_a_foreign_dlc_is_told_as_one(stage, tmp_path):
    need_qnn()
    path = tmp_path / "foreign"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("dlc.metadata", b"converter-command=another tool")
    found = stage("inspect_model", {}, model=path)
    assert found["format"] == "qnn_dlc"
    assert [it["kind"] for it in found["hazards"]] == ["foreign_dlc"]
    assert found["inputs"] == []


def test_a_binary_for_another_chip_is_not_wrapped(stage, source, data):
    compiled(stage, source)
    binary = stage.keep("model.bin")
    with pytest.raises(SpecError, match="SM8750"):
        stage("compile", {"options": "", "device": [S25]}, model=binary)
    answer = stage("compile", {"options": "", "device": None}, model=binary)
    assert answer["output"] == "model.zip"
    # What no inspection told apart from ONNX is not run as if this machine were the phone.
    with pytest.raises(UnsupportedError, match="NPU, which this machine does not have"):
        stage("run", {"options": ""}, model=binary, dataset=data)
