"""A real server process: its start and its end, and the documented workflow over its protocol."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest

from qdq.api.wire import workbench_pb2 as pb
from qdq.dataset import open_samples, write_h5

MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
tiny (float[1,3,8,8] image) => (float[1,4,8,8] scores)
{
  [conv] features = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (image, weight)
  [relu] scores = Relu (features)
}
"""
HEAVY = ("numpy", "onnx/", "onnxruntime", "h5py", "torch", "ml_dtypes")


@dataclass
class Running:
    process: subprocess.Popen[str]
    port: int
    data: Path
    lines: list[str]
    seconds: float

    @property
    def token(self) -> str:
        return (self.data / "token").read_text().strip()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def serving(data: Path, *words: str) -> Iterator[Running]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "qdq", "serve", "--port", str(port), "--data", str(data), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    lines = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith("serving on"):
                break
        assert process.poll() is None, lines
        yield Running(process, port, data, lines, time.monotonic() - begun)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)
        process.stdout.close()


class Client:
    """The official client's requests, with our messages."""

    def __init__(self, running: Running) -> None:
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{running.port}/api/v1/",
            headers={
                "Authorization": f"token {running.token}",
                "Content-Type": "application/x-protobuf",
                "Client-Version": "0.56.0",
            },
            timeout=28,
            trust_env=False,
        )

    def close(self) -> None:
        self._http.close()

    def call(self, verb: str, path: str, answer: Any, body: Any = None, **query: str) -> Any:
        content = body.SerializeToString() if body is not None else None
        response = self._http.request(verb, path, content=content, params=query)
        assert response.is_success, response.text
        assert response.headers["content-type"] == "application/x-protobuf"
        return answer.FromString(response.content)

    def upload_model(self, path: Path) -> str:
        model = pb.Model(name="tiny", model_type=pb.MODEL_TYPE_ONNX, is_directory=False)
        made = self.call("POST", "models/", pb.CreateUpdateResponse, model)
        assert made.id
        assert not made.status
        data = path.read_bytes()
        plan = self.call(
            "GET",
            f"models/{made.id}/multipart_upload/",
            pb.FileUploadResponse,
            file_size=str(len(data)),
            use_acceleration="true",
            supports_s3_credentials="true",
        ).multipart_url
        (url,) = plan.urls
        put = httpx.put(url, content=data, trust_env=False)
        assert put.is_success
        done = pb.FileMultipartUploadComplete(upload_id=plan.upload_id, etags=[put.headers["etag"]])
        self.call("POST", f"models/{made.id}/multipart_upload/", pb.CreateUpdateResponse, done)
        return str(made.id)

    def upload_dataset(self, path: Path) -> str:
        made = self.call("POST", "datasets/", pb.CreateUpdateResponse, pb.Dataset(name="samples"))
        assert made.expiration_time.seconds > time.time()
        plan = self.call(
            "GET",
            f"datasets/{made.id}/upload_url/",
            pb.FileUploadResponse,
            supports_s3_credentials="true",
            file_size=str(path.stat().st_size),
        ).url
        files = {plan.file_field_name: ("model", path.read_bytes(), "application/x-hdf5")}
        fields = dict(plan.fields)
        assert httpx.post(plan.url, data=fields, files=files, trust_env=False).is_success
        self.call(
            "PATCH",
            f"datasets/{made.id}/",
            pb.CreateUpdateResponse,
            pb.Dataset(file_upload_complete=True),
        )
        return str(made.id)

    def submit(self, **job: Any) -> str:
        made = self.call(
            "POST", "jobs/", pb.CreateUpdateResponse, pb.Job(**job), seed_target_model="true"
        )
        return str(made.id)

    def wait(self, job_id: str) -> Any:
        end = time.monotonic() + 120
        while True:
            job = self.call("GET", f"jobs/{job_id}/", pb.Job)
            inner = getattr(job, job.WhichOneof("job"))
            if inner.job_state in (pb.JOB_STATE_DONE, pb.JOB_STATE_FAILED):
                return job
            assert time.monotonic() < end, job
            time.sleep(0.05)

    def download(self, path: str, target: Path) -> Path:
        answer = self.call("GET", path, pb.FileDownloadResponse, supports_s3_credentials="true")
        got = httpx.get(answer.url.url, trust_env=False)
        assert got.is_success
        target.write_bytes(got.content)
        return target


@pytest.fixture
def tiny(tmp_path: Path) -> tuple[Path, Path]:
    random = np.random.default_rng(0)
    model = onnx.parser.parse_model(MODEL)
    weight = random.normal(size=(4, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "weight"))
    onnx.save(model, tmp_path / "tiny.onnx")
    samples = [random.normal(size=(1, 3, 8, 8)).astype(np.float32) for _ in range(20)]
    write_h5(tmp_path / "data.h5", {"image": samples})
    return tmp_path / "tiny.onnx", tmp_path / "data.h5"


def test_start_and_stop(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as running:
        assert running.seconds < (2.0 if os.environ.get("QDQ_STRICT_TIMES") else 6.0)
        assert "[api]" in running.lines
        assert f"api_url = http://127.0.0.1:{running.port}" in running.lines
        assert any("bubblewrap" in line for line in running.lines)
        for name in ("token", "secret"):
            assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
        assert running.token.isalnum()
        maps = Path(f"/proc/{running.process.pid}/maps").read_text()
        assert not [line for line in maps.splitlines() if any(it in line for it in HEAVY)]
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        resident = int(status.split("VmRSS:")[1].split()[0]) * 1024
        assert resident < 150 << 20
        second = subprocess.run(
            [sys.executable, "-m", "qdq", "serve", "--port", "0", "--data", str(data)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert second.returncode == 1
        assert f"process {running.process.pid}" in second.stderr
        token = running.token
        assert running.stop() == 0
    with serving(data) as again:
        assert again.token == token
        assert "[api]" not in again.lines


def test_the_documented_workflow(tmp_path: Path, tiny: tuple[Path, Path]) -> None:
    with serving(tmp_path / "data") as running:
        client = Client(running)
        try:
            work(client, tmp_path, tiny, running)
        finally:
            client.close()
        assert running.stop() == 0


def work(client: Client, tmp_path: Path, tiny: tuple[Path, Path], running: Running) -> None:
    devices = client.call("GET", "devices/", pb.DeviceList, name="", os="", select="False").devices
    host = next(device for device in devices if device.name.startswith("This machine"))
    given = {"model": pb.Model(model_id=client.upload_model(tiny[0])), "name": "tiny"}
    data = pb.Dataset(dataset_id=client.upload_dataset(tiny[1]))

    job = client.wait(
        client.submit(
            quantize_job=pb.QuantizeJob(
                **given,
                calibration_dataset=data,
                weights_dtype=pb.QUANTIZE_DTYPE_INT8,
                activations_dtype=pb.QUANTIZE_DTYPE_INT8,
            )
        )
    )
    assert job.quantize_job.job_state == pb.JOB_STATE_DONE, job
    quantized = job.quantize_job.target_model
    path = client.download(f"models/{quantized.model_id}/download/", tmp_path / "q.onnx")
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(path).graph.node}

    job = client.wait(
        client.submit(
            compile_job=pb.CompileJob(
                model=pb.Model(model_id=quantized.model_id),
                devices=pb.DeviceList(devices=[host]),
                options="--target_runtime onnx --quantize_io",
                name="tiny",
            )
        )
    )
    assert job.compile_job.job_state == pb.JOB_STATE_DONE, job
    compiled = client.call("GET", f"models/{job.compile_job.target_model.model_id}/", pb.Model)
    assert compiled.input_spec.types[0].tensor_type.HasField("scale")

    job = client.wait(
        client.submit(
            inference_job=pb.InferenceJob(
                model=pb.Model(model_id=quantized.model_id),
                device=host,
                dataset=data,
                is_profiling_on=True,
                options="--max_profiler_iterations 10",
                name="tiny",
            )
        )
    )
    assert job.inference_job.job_state == pb.JOB_STATE_DONE, job
    assert pb.JOB_ARTIFACT_TYPE_HUB_LOG in job.available_artifacts
    job_id = job.inference_job.inference_job_id
    result = client.call("GET", f"jobs/{job_id}/result/", pb.JobResult).inference_job_result
    assert result.detail.execution_time > 0
    assert len(result.detail.all_execution_times) == 10
    path = client.download(
        f"datasets/{result.output_dataset_id}/download_data/", tmp_path / "out.h5"
    )
    with open_samples(path) as outputs:
        assert outputs.names == ("scores",)
        assert len(outputs) == 20
    check_commands(job_id, running)


def check_commands(job_id: str, running: Running) -> None:
    def qdq(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "qdq", *words, "--data", str(running.data)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    listed = qdq("jobs", "list", "--state", "done")
    assert job_id in listed.stdout
    assert "3 of 3 jobs" in listed.stdout
    assert "profile" in qdq("jobs", "show", job_id, "--json").stdout
    assert "stage profile: ended" in qdq("jobs", "logs", job_id, "--follow").stdout
    assert "had ended" in qdq("jobs", "cancel", job_id).stdout
    # Beside a server nothing young is touched.
    assert qdq("gc", "--older-than", "0").returncode == 0
    assert job_id in qdq("jobs", "list", "--state", "done").stdout
