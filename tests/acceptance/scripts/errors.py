"""What is refused, by whom, and with which words; and jobs that fail."""

from __future__ import annotations

import configparser
import os
from pathlib import Path

import numpy as np
import qai_hub as hub
from client_side import (
    ASSETS,
    PHONE,
    UNIFIED,
    URL,
    WORK,
    host,
    images,
    main,
    net,
    refused,
    succeeded,
)

INT4, INT8, INT16 = hub.QuantizeDtype.INT4, hub.QuantizeDtype.INT8, hub.QuantizeDtype.INT16


def _config() -> dict[str, str]:
    parser = configparser.ConfigParser()
    parser.read(os.environ["QAIHUB_CLIENT_INI"])
    return dict(parser["api"])


def check_wrong_token() -> None:
    config = hub.ClientConfig(api_token="0" * 40, api_url=f"{URL}/", web_url=URL)
    client = hub.Client(config=config)
    for call in (client.get_devices, client.get_models, client.get_job_summaries):
        with refused(hub.UserError, "Failed to authenticate"):
            call()
    with refused(hub.UserError, "Failed to authenticate"):
        client.upload_model(str(ASSETS / "net.onnx"))


def check_clients_of_their_own() -> None:
    given = _config()
    config = hub.ClientConfig(given["api_token"], f"{URL}/", URL)
    with hub.Client(config=config) as client:
        assert client.config.api_url == f"{URL}/"
        assert client.verbose is False
        client.set_verbose(True)
        assert client.verbose is True
        assert host() in client.get_devices()
    folder = Path.home() / ".qai_hub"
    folder.mkdir(exist_ok=True)
    text = Path(os.environ["QAIHUB_CLIENT_INI"]).read_text()
    (folder / "second.ini").write_text(text)
    assert host() in hub.Client(profile="second").get_devices()
    with refused(ValueError, "either config or profile"):
        hub.Client(config=config, profile="second")
    fresh = hub.Client()
    # It goes to the service's own address, so it is set but not used.
    fresh.set_session_token("0" * 40)
    assert fresh.config.api_token == "0" * 40
    with refused(hub.UserError, "already been set"):
        hub.set_session_token("0" * 40)


def check_unknown_ids() -> None:
    with refused(hub.UserError, "'mnosuchid' could not be found"):
        hub.get_model("mnosuchid")
    with refused(hub.UserError, "'dnosuchid' could not be found"):
        hub.get_dataset("dnosuchid")
    with refused(hub.UserError, "'jnosuchid' could not be found"):
        hub.get_job("jnosuchid")
    job = succeeded(hub.submit_compile_job(net(), host()))
    with refused(ValueError, "got job of type compile"):
        hub.get_job(job.job_id, hub.JobType.QUANTIZE)


def check_models_that_cannot_be_read() -> None:
    with refused(hub.UserError):
        hub.submit_compile_job(str(ASSETS / "broken.onnx"), host())
    empty = WORK / "empty.onnx"
    empty.write_bytes(b"")
    with refused(hub.UserError):
        hub.submit_quantize_job(str(empty), {"image": images(1)})
    notes = WORK / "notes.txt"
    notes.write_text("not a model")
    with refused(hub.UserError, "Unsupported model type"):
        hub.upload_model(str(notes))


def check_compile_options() -> None:
    for options, *fragments in (
        ("--no_such_option 3", "no_such_option"),
        ("--target_runtime nonsense", "nonsense"),
        ("--target_runtime qnn_dlc", "qnn"),
        ("--target_runtime", "target_runtime"),
        ("--range_scheme auto", "range_scheme"),
        ("--target_runtime onnx --force_channel_last_input nobody", "nobody"),
        ("--target_runtime onnx --force_channel_last_output nobody", "nobody"),
        ("--target_runtime onnx --output_names one,two", "output_names"),
        ("--output_names scores --force_channel_last_output logits", "logits", "scores"),
    ):
        with refused(hub.UserError, *fragments):
            hub.submit_compile_job(net(), host(), options=options)


def check_compile_arguments() -> None:
    with refused(hub.UserError, "input_specs must be provided"):
        hub.submit_compile_job(str(ASSETS / "traced.pt"), host())
    with refused(hub.UserError, "empty tensor"):
        hub.submit_compile_job(net(), host(), input_specs={"image": (0, 3, 16, 16)})
    with refused(hub.UserError, "nobody"):
        hub.submit_compile_job(net(), host(), input_specs={"nobody": (1, 3, 16, 16)})
    with refused(hub.UserError, "was 'None'"):
        hub.submit_compile_job(None, host())
    with refused(hub.UserError, "is not available"):
        hub.submit_compile_job(net(), hub.Device("no such device"))
    with refused(hub.UserError, "is not available"):
        hub.submit_compile_job(net(), hub.Device(PHONE.name, os="[,1)"))


def _calibrate(data: object, *precision: hub.QuantizeDtype, options: str = "") -> None:
    hub.submit_quantize_job(net(), data, *precision, options=options)


def check_calibration_data() -> None:
    right = images(2)
    for data, *fragments in (
        ({"nobody": right}, "image"),
        ({"image": [x[..., :8] for x in right]}, "image"),
        ({"image": [x.astype("float64") for x in right]}, "float64"),
        ({"image": [x.astype("int32") for x in right]}, "int32"),
        ({"image": right, "other": right[:1]}, "other"),
    ):
        with refused(hub.UserError, *fragments):
            _calibrate(data)
    broken = WORK / "broken.h5"
    broken.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(512))
    with refused(hub.UserError):
        _calibrate(str(broken))


def check_precisions_and_options() -> None:
    data = {"image": images(2)}
    with refused(ValueError, "Weights must be INT8"):
        _calibrate(data, INT4, INT4)
    # The client lets these through; the server has the last word.
    with refused(hub.UserError, "int4"):
        _calibrate(data, INT8, INT4)
    for options, *fragments in (
        ("--range_scheme nonsense", "nonsense"),
        ("--target_runtime onnx", "target_runtime"),
        ("--no_such_option", "no_such_option"),
    ):
        with refused(hub.UserError, *fragments):
            _calibrate(data, options=options)
    with refused(hub.UserError, "must be ONNX"):
        hub.submit_quantize_job(str(ASSETS / "traced.pt"), data)


def check_datasets() -> None:
    with refused(hub.UserError, "h5"):
        hub.upload_dataset("samples.npz")
    with refused(hub.UserError, "list of numpy arrays"):
        hub.upload_dataset({"x": [np.zeros(2)]})
    with refused(hub.UserError, "must be the same"):
        hub.upload_dataset({"x": images(1), "y": images(2)})
    with refused(hub.UserError, "must be dict"):
        hub.upload_dataset([1, 2])


def check_inference() -> None:
    right = {"image": images(1)}
    with refused(hub.UserError, "has been compiled"):
        hub.submit_inference_job(str(ASSETS / "traced.pt"), host(), right)
    for inputs, *fragments in (
        ({"nobody": images(1)}, "image"),
        ({"image": [x[..., :8] for x in images(1)]}, "image"),
        ({"image": [x.astype("uint8") for x in images(1)]}, "uint8"),
    ):
        with refused(hub.UserError, *fragments):
            hub.submit_inference_job(net(), host(), inputs)
    for options, *fragments in (
        ("--max_profiler_iterations 0", "max_profiler_iterations"),
        ("--compute_unit npu", "npu"),
        ("--compute_unit gpu,npu", "gpu"),
        ("--onnx_options qnn_htp_performance_mode=burst", "qnn_htp_performance_mode"),
        ("--onnx_options nothing=1", "nothing"),
        ("--onnx_execution_providers qnn", "onnx_execution_providers"),
        ("--tflite_delegates gpu", "tflite_delegates"),
        ("--no_such_option", "no_such_option"),
    ):
        with refused(hub.UserError, *fragments):
            hub.submit_profile_job(net(), host(), options=options)
    # What stands in for phones runs models compiled for QNN, and no others.
    with refused(hub.UserError):
        hub.submit_inference_job(net(), PHONE, right)
    with refused(hub.UserError):
        hub.submit_profile_job(net(), PHONE)
    if UNIFIED:
        with refused(hub.UserError, "requires inputs"):
            hub.submit_inference_job(net(), host(), profile=False)


def check_link() -> None:
    with refused(hub.UserError, "must be a QNN DLC"):
        hub.submit_link_job(net(), PHONE)
    file = WORK / "some.dlc"
    file.write_bytes(b"not really one")
    with refused(hub.UserError):
        hub.submit_link_job(str(file), PHONE)
    with refused(hub.UserError, "qnn"):
        hub.submit_compile_and_link_jobs(net(), host())
    with refused(hub.UserError, "graph_names must be provided"):
        hub.submit_compile_and_link_jobs([net(), net()], PHONE)


def check_failed_job() -> str:
    """A model that turns out bad while it is compiled: everything says so, nothing hangs."""
    specs = {"image": (1, 4, 16, 16)}
    job = hub.submit_compile_job(str(ASSETS / "traced.pt"), host(), input_specs=specs)
    status = job.wait(timeout=240)
    assert status.failure
    assert status.finished
    assert (status.code, status.symbol) == ("FAILED", "❌")
    assert status.message
    assert job.get_target_shapes() is None
    target = job.get_target_model()
    assert target.wait() is False
    with refused(hub.UserError):
        target.download(str(WORK / "failed"))
    with refused(hub.UserError):
        job.download_target_model(str(WORK / "failed"))
    read = hub.get_job(job.job_id)
    assert read.get_status().message == status.message
    assert "FAILED" in repr(read)
    # What depends on it is refused at once, or fails in its turn.
    with refused(hub.UserError):
        follower = hub.submit_inference_job(target, host(), {"image": images(1)})
        outcome = follower.wait(timeout=240)
        assert outcome.failure
        assert follower.download_output_data() is None
        raise hub.UserError(outcome.message)
    assert list(WORK.glob("failed*")) == []
    return status.message


if __name__ == "__main__":
    main(
        check_wrong_token,
        check_clients_of_their_own,
        check_unknown_ids,
        check_models_that_cannot_be_read,
        check_compile_options,
        check_compile_arguments,
        check_calibration_data,
        check_precisions_and_options,
        check_datasets,
        check_inference,
        check_link,
        check_failed_job,
    )
