"""QNN: compiled for phones, read back, run on the HTP simulator, linked; and what is refused."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import qai_hub as hub
from client_side import (
    ASSETS,
    UNIFIED,
    WORK,
    host,
    images,
    main,
    net,
    refused,
    save_arrays,
    succeeded,
)

PHONE = hub.Device("Samsung Galaxy S24")
NEWER = hub.Device("Samsung Galaxy S25")
NO_FP16 = hub.Device("QCS6490 (Proxy)")
BINARY = "--target_runtime qnn_context_binary"
KEYS = hub.ModelMetadataKey
SIMULATOR = "Qualcomm HTP simulator, QAIRT"


@functools.cache
def _quantized() -> hub.Model:
    job = hub.submit_quantize_job(net(), {"image": images()}, name="quantized")
    return succeeded(job).get_target_model()


def _compiled(options: str, device: Any = PHONE, model: Any = None) -> hub.CompileJob:
    return succeeded(hub.submit_compile_job(model or _quantized(), device, options=options))


@functools.cache
def _binary() -> hub.Model:
    return _compiled(f"{BINARY} --quantize_io").get_target_model()


@functools.cache
def _dlcs() -> list[hub.Model]:
    options = "--target_runtime qnn_dlc --quantize_io --qnn_graph_name"
    return [_compiled(f"{options} {name}").get_target_model() for name in ("one", "two")]


@functools.cache
def _inputs(model: hub.Model) -> dict[str, list[np.ndarray]]:
    """The samples in the dtype that the model takes."""
    (tensors,) = model.input_spec.values()
    (tensor,) = tensors
    if tensor.scale is None:
        return {"image": images(4)}
    # Uploaded models tell the same as compiled ones.
    steps = [np.rint(it / tensor.scale) + tensor.zero_point for it in images(4)]
    return {"image": [np.clip(it, 0, 255).astype(np.uint8) for it in steps]}


def _log(job: hub.Job) -> str:
    folder = Path(tempfile.mkdtemp(dir=WORK))
    job.download_job_logs(str(folder))
    return "\n".join(file.read_text() for file in folder.rglob("*.log"))


def _uploaded(file: str) -> hub.Model:
    """Upload a model and read it again: clients keep what they knew before it was inspected."""
    return hub.get_model(hub.upload_model(file).model_id)


def _run(model: hub.Model, device: Any = PHONE, **more: Any) -> hub.InferenceJob:
    more = {"profile": False, **more} if UNIFIED else more
    return succeeded(hub.submit_inference_job(model, device, _inputs(model), **more))


def _real(model: hub.Model, outputs: dict[str, list[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    (tensors,) = model.output_spec.values()
    return {
        it.name: [
            (value.astype(np.float32) - it.zero_point) * it.scale for value in outputs[it.name]
        ]
        if it.scale is not None
        else outputs[it.name]
        for it in tensors
    }


def check_frameworks() -> None:
    (found,) = [it for it in hub.get_frameworks() if it.name == "QAIRT"]
    assert found.api_version == ".".join(found.full_version.split(".")[:2])


def check_context_binary() -> dict[str, str]:
    model = _binary()
    assert model.model_type == hub.SourceModelType.QNN_CONTEXT_BINARY
    told = model.metadata
    assert told[KEYS.QNN_CONTEXT_BIN_SOC_MODEL] == "57"
    assert told[KEYS.QNN_CONTEXT_BIN_HEXAGON_VERSION] == "v75"
    assert told[KEYS.QNN_CONTEXT_BIN_BACKEND] == "HTP"
    assert told[KEYS.QAIRT_SDK_VERSION].startswith("v2.")
    assert told[KEYS.QNN_MODEL_GRAPH_NAMES]
    (tensor,) = model.input_spec[None]
    assert (tensor.name, tensor.dtype, tuple(tensor.shape)) == ("image", "uint8", (1, 3, 16, 16))
    assert tensor.scale is not None
    (tensor,) = model.output_spec[None]
    assert (tensor.name, tensor.dtype) == ("logits", "uint8")
    file = Path(model.download(str(WORK / "net")))
    assert file.suffix == ".bin"
    log = _log(hub.get_job(model.get_producer().job_id))
    assert "Qualcomm AI Stack License" in log
    assert "sha256" in log
    return {str(key): value for key, value in told.items()}


def check_run_on_the_simulator() -> None:
    job = _run(_binary())
    dataset = job.get_output_dataset()
    assert SIMULATOR in dataset.name, dataset.name
    log = _log(job)
    assert SIMULATOR in log
    assert "agreement with ONNX Runtime" in log, log
    assert "SQNR" in log or "equal" in log
    save_arrays("inputs", {"image": images(4)})
    save_arrays("outputs", _real(_binary(), job.download_output_data()))


def check_profile_without_latency() -> dict[str, Any]:
    submit = hub.submit_inference_job if UNIFIED else hub.submit_profile_job
    job = succeeded(submit(_binary(), PHONE, name="profile"))
    if UNIFIED:
        assert job.download_profile() == {}
    shown = repr(job) + str(job)
    assert "SUCCESS" in shown
    # How clients call the wire's PROFILE_TRACE.
    trace = hub.JobArtifactType.PROFILE_TRACE if hasattr(hub, "JobArtifactType") else None
    if trace is None:
        return {}
    assert trace in job.get_available_artifacts()
    (file,) = job.download_artifacts_for_type(str(WORK), trace)
    placement = json.loads(Path(file).read_text())
    assert placement["latency_known"] is False
    assert SIMULATOR in placement["label"]
    ops = [op for graph in placement["graphs"] for op in graph["ops"]]
    assert {op["unit"] for op in ops} == {"NPU"}
    assert "no latency is known" in _log(job).lower()
    return placement


def check_precompiled() -> None:
    model = _compiled("--target_runtime precompiled_qnn_onnx").get_target_model()
    assert model.model_type == hub.SourceModelType.ONNX
    file = model.download(str(WORK / "precompiled"))
    with zipfile.ZipFile(file) as archive:
        names = {Path(name).suffix for name in archive.namelist() if not name.endswith("/")}
    assert names == {".onnx", ".bin"}
    assert "logits" in _run(model).download_output_data()
    again = _uploaded(file)
    assert again.metadata[KEYS.QNN_CONTEXT_BIN_SOC_MODEL] == "57"
    assert "logits" in _run(again).download_output_data()


def check_uploaded_binary() -> None:
    file = _binary().download(str(WORK / "uploaded"))
    model = _uploaded(file)
    assert model.metadata[KEYS.QNN_CONTEXT_BIN_SOC_MODEL] == "57"
    assert model.input_spec == _binary().input_spec
    first, second = (_run(it).download_output_data() for it in (_binary(), model))
    np.testing.assert_array_equal(first["logits"], second["logits"])
    wrapped = succeeded(hub.submit_compile_job(model, PHONE)).get_target_model()
    assert wrapped.model_type == hub.SourceModelType.ONNX
    third = _run(wrapped).download_output_data()
    np.testing.assert_array_equal(first["logits"], third["logits"])
    with refused(hub.UserError, "SM8650", "SM8750"):
        hub.submit_compile_job(model, NEWER)


def check_dlc_runs_from_its_onnx() -> None:
    model = _dlcs()[0]
    assert model.model_type == hub.SourceModelType.QNN_DLC
    assert Path(model.download(str(WORK / "net"))).suffix == ".dlc"
    job = _run(model, NEWER)
    assert "a DLC cannot be run by itself" in _log(job)
    # One grid, two chips: at most one step apart.
    steps = [it.download_output_data()["logits"] for it in (job, _run(_binary()))]
    worst = max(np.abs(a.astype(int) - b.astype(int)).max() for a, b in zip(*steps, strict=True))
    assert worst <= 1


def check_link() -> None:
    job = succeeded(hub.submit_link_job(_dlcs(), PHONE, name="linked"))
    assert [it.model_id for it in job.models] == [it.model_id for it in _dlcs()]
    assert job.device.name == PHONE.name
    model = job.get_target_model()
    assert model.model_type == hub.SourceModelType.QNN_CONTEXT_BINARY
    assert set(model.input_spec) == set(model.output_spec) == {"one", "two"}
    assert model.metadata[KEYS.QNN_MODEL_GRAPH_NAMES] == "one,two"
    assert Path(job.download_target_model(str(WORK / "linked"))).suffix == ".bin"
    assert "one by one" in _log(job)
    options = "--qnn_options context_enable_graphs=two"
    inputs = _inputs(_binary())
    more = {"profile": False} if UNIFIED else {}
    ran = succeeded(hub.submit_inference_job(model, PHONE, inputs, options=options, **more))
    assert "logits" in ran.download_output_data()
    assert repr(hub.get_job(job.job_id, hub.JobType.LINK))
    assert job.download_results(str(WORK / "link_results")).status.success


def check_compile_and_link() -> None:
    if not hasattr(hub, "submit_compile_and_link_jobs"):
        return
    jobs = hub.submit_compile_and_link_jobs(
        [_quantized(), net()],
        PHONE,
        graph_names=["small", "large"],
    )
    linked = [job for job in _flat(jobs) if isinstance(job, hub.LinkJob)]
    assert len(linked) == 1
    assert set(succeeded(linked[0]).get_target_model().input_spec) == {"small", "large"}


def _flat(jobs: Any) -> list[Any]:
    if isinstance(jobs, list | tuple):
        return [it for job in jobs for it in _flat(job)]
    return [jobs]


def check_several_devices() -> None:
    job = _compiled(BINARY, [PHONE, NEWER])
    model = job.get_target_model()
    # The older of the two archs: newer ones take its binaries.
    assert model.metadata[KEYS.QNN_CONTEXT_BIN_HEXAGON_VERSION] == "v75"
    assert "logits" in _run(model, NEWER).download_output_data()


def check_float() -> None:
    model = _compiled(BINARY, model=net()).get_target_model()
    save_arrays("float_outputs", _run(model).download_output_data())
    with refused(hub.UserError, "no float16", "QCS6490"):
        hub.submit_compile_job(net(), NO_FP16, options=BINARY)
    _compiled(BINARY, NO_FP16)


def check_refusals() -> None:
    with refused(hub.UserError, "does not run qnn"):
        hub.submit_compile_job(_quantized(), host(), options=BINARY)
    with refused(hub.UserError, "no such QAIRT", "default, latest, 2."):
        hub.submit_compile_job(_quantized(), PHONE, options=f"{BINARY} --qairt_version 1.2")
    with refused(hub.UserError, "SM8650", "SM8750"):
        hub.submit_inference_job(_binary(), NEWER, _inputs(_binary()))
    with refused(hub.UserError, "compile target only", host().name):
        hub.submit_inference_job(net(), PHONE, {"image": images(1)})
    with refused(hub.UserError, "qnn"):
        hub.submit_inference_job(_binary(), host(), _inputs(_binary()))


def check_own_dlc_again() -> None:
    file = WORK / "again.dlc"
    shutil.copyfile(_dlcs()[0].download(str(WORK / "mine")), file)
    model = hub.upload_model(str(file))
    job = succeeded(hub.submit_link_job([model], PHONE))
    # One graph alone has no name in the client's specs.
    assert set(job.get_target_model().input_spec) == {None}
    succeeded(
        hub.submit_inference_job(model, PHONE, _inputs(_dlcs()[0]), options="--compute_unit npu")
    )


def check_foreign_dlc() -> None:
    file = WORK / "foreign.dlc"
    shutil.copyfile(_dlcs()[0].download(str(WORK / "mine")), file)
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"of another tool"
    model = hub.upload_model(str(file))
    with refused(hub.UserError, "was not compiled by this workbench"):
        hub.submit_link_job([model], PHONE)
    with refused(hub.UserError, "was not compiled by this workbench"):
        hub.submit_inference_job(model, PHONE, _inputs(_binary()))


def check_bad_files() -> None:
    whole = Path(_binary().download(str(WORK / "whole"))).read_bytes()
    for name, data in (("short.bin", whole[:3000]), ("text.bin", b"no context binary" * 40)):
        (WORK / name).write_bytes(data)
        with refused(hub.UserError, "cannot be used"):
            hub.upload_model(str(WORK / name))
    (WORK / "cut.dlc").write_bytes(b"PK\x03\x04" + b"\0" * 100)
    with refused(hub.UserError, "cannot be used"):
        hub.upload_model(str(WORK / "cut.dlc"))


def check_unsupported_op() -> None:
    job = hub.submit_compile_job(str(ASSETS / "sinh.onnx"), PHONE, options=BINARY)
    status = job.wait(timeout=240)
    assert status.failure
    assert "Sinh" in status.message, status.message


main(
    check_frameworks,
    check_context_binary,
    check_run_on_the_simulator,
    check_profile_without_latency,
    check_precompiled,
    check_uploaded_binary,
    check_dlc_runs_from_its_onnx,
    check_link,
    check_compile_and_link,
    check_several_devices,
    check_float,
    check_refusals,
    check_own_dlc_again,
    check_foreign_dlc,
    check_bad_files,
    check_unsupported_op,
)
