"""A server process of the benchmarks' own, and a client that speaks its protocol and no more."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import Message

from benchmarks.common import work_folder
from benchmarks.efficientnet import ROOT
from qdq.api.wire import workbench_pb2 as pb
from qdq.bootstrap import read_token

__all__ = [
    "Answer",
    "Server",
    "WireClient",
    "form_frame",
    "new_folder",
    "path_of",
    "running_server",
    "state_of",
]

# A server that takes longer is told of, not waited for.
START_SECONDS = 60.0
STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.005
_JOB_SECONDS = 600.0

_M = TypeVar("_M", bound=Message)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: its status, its body, and headers in lower case."""

    status: int
    body: bytes
    headers: dict[str, str]


class WireClient:
    """Sends requests as the official client does: each over a connection of its own."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._headers = {
            "Authorization": f"token {token}",
            "Content-Type": "application/x-protobuf",
            "Client-Version": "0.56.0",
        }

    def call(self, method: str, path: str, body: bytes = b"") -> Answer:
        """Call the API; any status is an answer."""
        return self.send(method, f"/api/v1/{path}", body, self._headers)

    def send(self, method: str, path: str, body: object, headers: dict[str, str]) -> Answer:
        """Send one request; ``body`` may be an iterator of bytes, with its length in a header."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path, body=body, headers=headers)  # type: ignore[arg-type]
            response = connection.getresponse()
            content = response.read()
            told = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, content, told)
        finally:
            connection.close()

    def get(self, path: str, kind: type[_M]) -> _M:
        """GET a message; the benchmark ends when it is refused."""
        return kind.FromString(_good(self.call("GET", path), path))

    def post(self, path: str, message: Message | None, *, method: str = "POST") -> str:
        """Send a message and return the id in the answer; the benchmark ends when it is refused."""
        body = b"" if message is None else message.SerializeToString()
        answer = _good(self.call(method, path, body), path)
        return str(pb.CreateUpdateResponse.FromString(answer).id)

    def upload_model(self, content: bytes, *, name: str = "bench") -> str:
        """Upload an ONNX file and return the model's id."""
        model = pb.Model(name=name, model_type=pb.MODEL_TYPE_ONNX)
        model_id = self.post("models/", model)
        form = self.get(
            f"models/{model_id}/multipart_upload/?file_size={len(content)}"
            "&supports_s3_credentials=true",
            pb.FileUploadResponse,
        ).multipart_url
        etags = []
        for index, url in enumerate(form.urls):
            begin = index * form.max_part_size
            part = content[begin : begin + form.max_part_size]
            answer = self.send("PUT", path_of(url), part, {"Content-Length": str(len(part))})
            _good(answer, "a part of the model")
            etags.append(answer.headers["etag"])
        done = pb.FileMultipartUploadComplete(upload_id=form.upload_id, etags=etags)
        return self.post(f"models/{model_id}/multipart_upload/", done)

    def upload_dataset(self, content: bytes, *, name: str = "bench") -> str:
        """Upload an .h5 file and return the dataset's id."""
        dataset_id = self.post("datasets/", pb.Dataset(name=name))
        form = self.get(
            f"datasets/{dataset_id}/upload_url/?file_size={len(content)}"
            "&supports_s3_credentials=true",
            pb.FileUploadResponse,
        ).url
        head, tail, headers = form_frame(form.file_field_name, len(content))
        _good(self.send("POST", path_of(form.url), head + content + tail, headers), "a dataset")
        return self.post(
            f"datasets/{dataset_id}/", pb.Dataset(file_upload_complete=True), method="PATCH"
        )

    def wait(self, job_id: str) -> pb.Job:
        """Look until the job has ended: the server holds each look."""
        deadline = time.monotonic() + _JOB_SECONDS
        while time.monotonic() < deadline:
            job = self.get(f"jobs/{job_id}/", pb.Job)
            if state_of(job) in (pb.JOB_STATE_DONE, pb.JOB_STATE_FAILED):
                return job
        raise SystemExit(f"The job {job_id} did not end in {_JOB_SECONDS:g} s")


def state_of(job: pb.Job) -> int:
    """Return the state of whatever kind of job it is."""
    return int(getattr(job, job.WhichOneof("job")).job_state)


def path_of(url: str) -> str:
    """Return path and query of a signed URL."""
    return re.sub(r"^https?://[^/]+", "", url)


def form_frame(field: str, size: int) -> tuple[bytes, bytes, dict[str, str]]:
    """Return what stands before and after the file of a form, and the form's headers."""
    mark = "qdqbenchmark0123456789"
    head = (
        f"--{mark}\r\nContent-Disposition: form-data; name="
        f'"{field}"; filename="model"\r\nContent-Type: application/x-hdf5\r\n\r\n'
    ).encode()
    tail = f"\r\n--{mark}--\r\n".encode()
    headers = {
        "Content-Type": f"multipart/form-data; boundary={mark}",
        "Content-Length": str(len(head) + size + len(tail)),
    }
    return head, tail, headers


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; ``started_s`` is from its process's start to its first answer."""

    pid: int
    port: int
    token: str
    data: Path
    log: Path
    started_s: float

    @property
    def client(self) -> WireClient:
        """A client of its only user."""
        return WireClient(self.port, self.token)


@contextmanager
def new_folder() -> Iterator[Path]:
    """Yield an empty folder, removed with all it holds."""
    with tempfile.TemporaryDirectory(prefix="service-", dir=work_folder()) as folder:
        yield Path(folder)


@contextmanager
def running_server(folder: Path, *, workers: int = 1) -> Iterator[Server]:
    """Start ``qdq serve`` on a free port with its data in ``folder``; end it after."""
    data, log, port = folder / "data", folder / "serve.log", _free_port()
    token = read_token(data)
    options = ["--port", str(port), "--data", str(data), "--workers", str(workers)]
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    with log.open("ab") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "qdq", "serve", "--host", "127.0.0.1", *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": path},
        )
    try:
        _wait_until_it_answers(process, WireClient(port, token), log)
        yield Server(process.pid, port, token, data, log, time.monotonic() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes], client: WireClient, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if client.call("GET", "users/auth/user/").status == http.client.OK:
                return
        except OSError:
            time.sleep(_LOOK_SECONDS)
    raise SystemExit(f"qdq serve does not answer:\n{log.read_text(errors='replace')[-4000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _good(answer: Answer, what: str) -> bytes:
    if answer.status // 100 != 2:
        raise SystemExit(f"{what} was answered with {answer.status}: {answer.body[:500]!r}")
    return answer.body
