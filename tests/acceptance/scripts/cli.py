"""The ``qai-hub`` command, run as a user would."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import qai_hub as hub
from client_side import ASSETS, PHONE, UNIFIED, URL, WORK, host, images, main, net, succeeded

COMMAND = Path(sys.executable).with_name("qai-hub")
used: set[str] = set()
ONNX = " --target_runtime onnx"
FEW = " --max_profiler_iterations 5"


def _cli(*arguments: str, fails: bool = False) -> str:
    used.update(arguments)
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)
    shown = done.stdout + done.stderr
    assert (done.returncode != 0) is fails, f"{arguments} ended with {done.returncode}:\n{shown}"
    return shown if fails else done.stdout


def _submit(command: str, name: str, *arguments: str) -> hub.Job:
    """Submit under a name of its own and return the newest job that has it."""
    _cli(command, "--name", name, *arguments)
    newest = next(s for s in hub.get_job_summaries(limit=10) if s.name == name)
    return succeeded(hub.get_job(newest.job_id))


def _on_host(*arguments: str) -> tuple[str, ...]:
    return ("--device", host().name, "--device-os", host().os, *arguments, "--wait")


def check_configure() -> None:
    given = configparser.ConfigParser()
    given.read(os.environ["QAIHUB_CLIENT_INI"])
    token = given["api"]["api_token"]
    urls = ("--api_url", f"{URL}/", "--web_url", URL)
    shown = _cli("configure", "--api_token", token, *urls, "--no-verbose", "--profile", "third")
    assert "configuration saved" in shown
    written = configparser.ConfigParser()
    written.read(Path.home() / ".qai_hub" / "third.ini")
    assert written["api"]["api_token"] == token
    assert written["api"]["verbose"] == "False"
    assert PHONE.name in _cli("--profile", "third", "list-devices")
    wrong = ("--email", "nobody@example.com", "--password", "wrong", "--profile", "fourth")
    assert "Wrong Username / Password" in _cli("configure", *urls, *wrong, fails=True)
    assert not (Path.home() / ".qai_hub" / "fourth.ini").exists()


def check_list_devices() -> None:
    table = _cli("list-devices")
    assert PHONE.name in table
    assert f'--device "{host().name}" --device-os {host().os}' in table
    only = _cli("list-devices", "--device", PHONE.name, "--device-attr", "os:android")
    assert PHONE.name in only
    assert host().name not in only
    details = _cli("list-devices", "--format", "details", "--device", host().name)
    assert f"OS Version: {host().os}" in details
    assert "framework" in details


def check_list_frameworks() -> None:
    frameworks = json.loads(_cli("list-frameworks", "--json"))
    names = {framework.name for framework in hub.get_frameworks()}
    assert {framework["framework"] for framework in frameworks} == names
    assert all(name in _cli("list-frameworks") for name in names)


def check_upload_model() -> None:
    shown = _cli("upload-model", "--model", str(ASSETS / "net.onnx"), "--name", "from the cli")
    found = re.search(r"model_id +: (m[a-z0-9]+)", shown)
    assert found, shown
    assert hub.get_model(found[1]).name == "from the cli"
    assert "does not exist" in _cli("upload-model", "--model", "nowhere.onnx", fails=True)


def check_compile() -> None:
    model = ("--model", net().model_id)
    first = _submit("submit-compile-job", "cli 1", *_on_host(*model, "--compile_options", ONNX))
    assert first.options == ONNX.strip()
    clone = _submit("submit-compile-job", "cli 2", "--clone", first.job_id, "--wait")
    assert (clone.options, clone.device.name) == (first.options, host().name)
    assert clone.model.model_id == net().model_id
    traced = ("--model", str(ASSETS / "traced.pt"), "--input_specs", "{'image': (1, 3, 16, 16)}")
    assert _submit("submit-compile-job", "cli 3", *_on_host(*traced)).get_target_model()
    dataset = hub.upload_dataset({"image": images(4)})
    calibrated = (*model, "--calibration_data", dataset.dataset_id)
    options = f"{ONNX} --quantize_full_type int8"
    job = _submit(
        "submit-compile-job", "cli 4", *_on_host(*calibrated, "--compile_options", options)
    )
    assert job.calibration_dataset.dataset_id == dataset.dataset_id


def check_profile() -> None:
    arguments = _on_host("--model", net().model_id, "--profile_options", FEW)
    first = _submit("submit-profile-job", "cli 5", *arguments)
    assert first.options == FEW.strip()
    assert first.download_profile()["execution_detail"]
    clone = _submit("submit-profile-job", "cli 6", "--clone", first.job_id, "--wait")
    assert clone.options == first.options


def check_inference() -> None:
    if not UNIFIED:
        return
    file = WORK / "inputs.h5"
    dataset = hub.upload_dataset({"image": images(2)})
    dataset.download(str(file))
    model = ("--model", net().model_id, "--no-profiling")
    for number, inputs in ((7, str(file)), (8, dataset.dataset_id)):
        job = _submit(
            "submit-inference-job", f"cli {number}", *_on_host(*model, "--inputs", inputs)
        )
        assert not job.profiling
        assert len(job.download_output_data()["logits"]) == 2
    profiled = ("--model", net().model_id, "--profiling", "--inference_options", FEW)
    job = _submit("submit-inference-job", "cli 9", *_on_host(*profiled))
    assert job.profiling
    assert job.inputs is None
    clone = _submit("submit-inference-job", "cli 10", "--clone", job.job_id, "--wait")
    assert clone.options == FEW.strip()


def check_compile_and_profile() -> None:
    options = ("--compile_options", ONNX, "--profile_options", FEW)
    arguments = _on_host("--model", str(ASSETS / "net.onnx"), *options)
    job = _submit("submit-compile-and-profile-jobs", "cli 11", *arguments)
    assert job.download_profile()["execution_detail"]
    assert job.model.get_producer().job_type == "compile"


def check_errors() -> None:
    on_host = _on_host("--model", "mnosuchid")
    assert "could not be found" in _cli("submit-compile-job", *on_host, fails=True)
    bad = _on_host("--model", net().model_id, "--compile_options", " --no_such_option")
    assert "no_such_option" in _cli("submit-compile-job", *bad, fails=True)
    link = ("--device", PHONE.name, "--models", net().model_id)
    assert "QNN DLC" in _cli("submit-link-job", *link, fails=True)
    assert "must be specified" in _cli("submit-profile-job", "--device", host().name, fails=True)


def check_every_command_was_used() -> list[str]:
    found = re.search(r"\{([a-z,-]+)\}", _cli("--help"))
    assert found
    commands = found[1].split(",")
    assert {"configure", "list-devices", "submit-compile-job"} <= set(commands)
    assert set(commands) - used == set()
    return commands


if __name__ == "__main__":
    main(
        check_configure,
        check_list_devices,
        check_list_frameworks,
        check_upload_model,
        check_compile,
        check_profile,
        check_inference,
        check_compile_and_profile,
        check_errors,
        check_every_command_was_used,
    )
