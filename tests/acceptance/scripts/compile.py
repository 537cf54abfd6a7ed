"""Compile jobs: every source format, the options, the results."""

from __future__ import annotations

import functools
import zipfile
from pathlib import Path
from urllib.parse import urljoin

import onnx
import qai_hub as hub
from client_side import (
    ASSETS,
    PHONE,
    URL,
    WORK,
    host,
    images,
    main,
    net,
    save_arrays,
    spec,
    succeeded,
)

ONNX = "--target_runtime onnx"
INPUT_SPECS = {"image": ((1, 3, 16, 16), "float32")}


@functools.cache
def _compiled() -> hub.CompileJob:
    return succeeded(hub.submit_compile_job(net(), host(), name="compiled", options=ONNX))


def check_job() -> None:
    job = _compiled()
    read = hub.get_job(job.job_id, hub.JobType.COMPILE)
    for each in (job, read):
        assert each.job_id.startswith("j")
        assert each.job_type == "compile"
        assert (each.name, each.options) == ("compiled", ONNX)
        assert each.url == urljoin(URL, f"jobs/{job.job_id}/")
        assert each.model.model_id == net().model_id
        assert each.device.name == host().name
        assert [device.name for device in each.compatible_devices] == [host().name]
        assert each.calibration_dataset is None
        assert each.get_target_shapes() == INPUT_SPECS
        assert each.target_shapes == INPUT_SPECS
        assert each.get_status().code == "SUCCESS"
        assert each.get_status().symbol == "✅"
        assert job.job_id in str(each)
        assert "SUCCESS" in repr(each)


def check_target_model() -> None:
    target = _compiled().get_target_model()
    assert target is not None
    assert target.model_type is hub.SourceModelType.ONNX
    assert target.wait() is True
    assert target.get_producer().job_id == _compiled().job_id
    assert spec(target) == {"image": ["float32", [1, 3, 16, 16], None, None]}
    assert spec(target, "output_spec") == {"logits": ["float32", [1, 5], None, None]}
    assert isinstance(target.metadata, dict)
    assert _compiled().job_id in repr(target)
    read = hub.get_model(target.model_id)
    assert read.get_producer().job_id == _compiled().job_id
    got = _compiled().download_target_model(str(WORK / "compiled"))
    assert got == str(WORK / "compiled.onnx")
    assert Path(read.download(str(WORK / "read.onnx"))).read_bytes() == Path(got).read_bytes()


def check_results_and_artifacts() -> None:
    folder = WORK / "results"
    result = _compiled().download_results(str(folder))
    assert isinstance(result, hub.CompileJobResult)
    assert result.status.success
    assert result.artifacts_dir == str(folder)
    assert result.url == _compiled().url
    assert "SUCCESS" in repr(result)
    assert any(file.suffix == ".onnx" for file in folder.iterdir())
    kinds = hub.JobArtifactType
    assert kinds.HUB_LOG in _compiled().get_available_artifacts()
    (log,) = _compiled().download_artifacts_for_type(str(WORK / "log"), kinds.HUB_LOG)
    assert Path(log).read_text().strip()
    assert log.rsplit("/", 1)[1] in {file.name for file in folder.iterdir()}
    assert _compiled().download_artifacts_for_type(str(WORK / "log"), kinds.QHAS_SUMMARY) == []
    assert len(_compiled().download_job_logs(str(WORK / "logs"))) >= 1


def check_without_a_runtime() -> None:
    # The documented example compiles so: what comes back is optimised ONNX.
    job = succeeded(hub.submit_compile_job(net(), host()))
    assert job.name == "net"
    assert job.options == ""
    assert job.get_target_model().model_type is hub.SourceModelType.ONNX
    job.download_target_model(str(WORK / "default.onnx"))


def _compile_file(name: str, specs: hub.InputSpecs | None = None) -> hub.CompileJob:
    job = hub.submit_compile_job(str(ASSETS / name), host(), input_specs=specs, options=ONNX)
    succeeded(job).download_target_model(str(WORK / f"from_{name.replace('.', '_')}.onnx"))
    return job


def check_torchscript() -> None:
    job = _compile_file("traced.pt", {"image": (1, 3, 16, 16)})
    assert job.shapes == INPUT_SPECS
    assert job.get_target_shapes() == INPUT_SPECS
    assert spec(job.get_target_model()) == {"image": ["float32", [1, 3, 16, 16], None, None]}


def check_exported_program() -> None:
    job = _compile_file("exported.pt2")
    assert job.get_target_shapes() == INPUT_SPECS


def check_directory_and_zip() -> None:
    _compile_file("external.onnx")
    _compile_file("external.zip")


def check_in_memory() -> None:
    job = hub.submit_compile_job(onnx.load(ASSETS / "net.onnx"), host(), options=ONNX)
    assert job.name == "ONNX"
    succeeded(job).download_target_model(str(WORK / "from_memory.onnx"))


def check_encodings() -> None:
    _compile_file("net.aimet")


def check_64bit_inputs() -> None:
    options = f"{ONNX} --truncate_64bit_io"
    job = succeeded(hub.submit_compile_job(str(ASSETS / "lookup64.onnx"), host(), options=options))
    assert spec(job.get_target_model())["ids"] == ["int32", [1, 6], None, None]
    job.download_target_model(str(WORK / "truncated.onnx"))


def check_output_names() -> None:
    options = f"{ONNX} --output_names total,rest"
    model = str(ASSETS / "two_inputs.onnx")
    job = succeeded(hub.submit_compile_job(model, host(), options=options))
    assert list(spec(job.get_target_model(), "output_spec")) == ["total", "rest"]


def check_channels_last() -> None:
    options = f"{ONNX} --force_channel_last_input image"
    job = succeeded(hub.submit_compile_job(net(), host(), options=options))
    assert job.get_target_shapes() == {"image": ((1, 16, 16, 3), "float32")}
    assert spec(job.get_target_model())["image"][:2] == ["float32", [1, 16, 16, 3]]
    job.download_target_model(str(WORK / "channels_last.onnx"))


def check_calibration_in_compile() -> None:
    options = f"{ONNX} --quantize_full_type int8 --quantize_io"
    data = {"image": images()}
    job = hub.submit_compile_job(net(), host(), options=options, calibration_data=data)
    assert job.calibration_dataset is not None
    target = succeeded(job).get_target_model()
    dtype, shape, scale, zero_point = spec(target)["image"]
    assert dtype in {"int8", "uint8"}
    assert shape == [1, 3, 16, 16]
    assert scale > 0
    assert zero_point is not None
    assert hub.get_job(job.job_id).calibration_dataset.dataset_id == (
        job.calibration_dataset.dataset_id
    )
    job.download_target_model(str(WORK / "quantized.onnx"))


def check_several_devices() -> None:
    devices = [host(), PHONE]
    job = hub.submit_compile_job(net(), devices, options=ONNX)
    assert isinstance(job, hub.CompileJob)
    assert {device.name for device in job.compatible_devices} == {d.name for d in devices}
    assert job.device.name in {device.name for device in devices}
    jobs = hub.submit_compile_job(net(), devices, options=ONNX, single_compile=False)
    assert [each.device.name for each in jobs] == [device.name for device in devices]
    for each in (job, *jobs):
        succeeded(each)


def check_same_work_gives_same_bytes() -> None:
    again = succeeded(hub.submit_compile_job(net(), host(), name="again", options=ONNX))
    assert again.job_id != _compiled().job_id
    files = [
        Path(job.download_target_model(str(WORK / job.job_id))) for job in (again, _compiled())
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    (log,) = again.download_artifacts_for_type(
        str(WORK / "log of again"), hub.JobArtifactType.HUB_LOG
    )
    # It says so, and has what the log of that job has.
    assert "answered from the cache of job j" in Path(log).read_text()
    assert "options resolved" in Path(log).read_text()


def check_inputs_for_the_oracle() -> None:
    save_arrays("inputs", {"image": images(4)})
    assert not zipfile.is_zipfile(WORK / "compiled.onnx")


if __name__ == "__main__":
    main(
        check_job,
        check_target_model,
        check_results_and_artifacts,
        check_without_a_runtime,
        check_torchscript,
        check_exported_program,
        check_directory_and_zip,
        check_in_memory,
        check_encodings,
        check_64bit_inputs,
        check_output_names,
        check_channels_last,
        check_calibration_in_compile,
        check_several_devices,
        check_same_work_gives_same_bytes,
        check_inputs_for_the_oracle,
    )
