"""The client's requests with our messages, repeated as the client does over lost connections."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import httpx

from qdq.api.wire import workbench_pb2 as pb

__all__ = ["Caller", "LostError", "RefusedError"]

# The client gives up earlier; here it is the jobs that are looked at.
_TRIES = 60
_REST_SECONDS = 0.5


class LostError(Exception):
    """A request got no answer in any of its tries."""


class RefusedError(Exception):
    """The server answered with 4xx, ``status``."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        request = response.request
        super().__init__(f"{request.method} {request.url.path}: {self.status} {response.text}")


class Caller:
    """Calls a server that may be away for a while.  Not for use by several threads at once."""

    def __init__(self, port: int, token: str, *, tries: int = _TRIES) -> None:
        self._base = f"http://127.0.0.1:{port}/api/v1/"
        self._headers = {
            "Authorization": f"token {token}",
            "Content-Type": "application/x-protobuf",
            "Client-Version": "0.56.0",
        }
        self._http = httpx.Client(timeout=28, trust_env=False)
        self.repeats = 0
        self._tries = tries

    def close(self) -> None:
        self._http.close()

    def ask(self, verb: str, path: str, answer: Any, body: Any = None, **query: str) -> Any:
        """Return the answer's message.  Raises RefusedError."""
        content = body.SerializeToString() if body is not None else None
        response = self._insist(
            lambda: self._http.request(
                verb, self._base + path, content=content, params=query, headers=self._headers
            )
        )
        return answer.FromString(response.content)

    def upload_model(self, data: bytes) -> str:
        model = pb.Model(name="tiny", model_type=pb.MODEL_TYPE_ONNX, is_directory=False)
        made = self.ask("POST", "models/", pb.CreateUpdateResponse, model)
        where = f"models/{made.id}/multipart_upload/"
        plan = self.ask(
            "GET",
            where,
            pb.FileUploadResponse,
            file_size=str(len(data)),
            supports_s3_credentials="true",
        ).multipart_url
        put = self._insist(lambda: self._http.put(plan.urls[0], content=data))
        done = pb.FileMultipartUploadComplete(upload_id=plan.upload_id, etags=[put.headers["etag"]])
        self.ask("POST", where, pb.CreateUpdateResponse, done)
        return str(made.id)

    def upload_dataset(self, data: bytes) -> str:
        made = self.ask("POST", "datasets/", pb.CreateUpdateResponse, pb.Dataset(name="samples"))
        plan = self.ask(
            "GET",
            f"datasets/{made.id}/upload_url/",
            pb.FileUploadResponse,
            supports_s3_credentials="true",
            file_size=str(len(data)),
        ).url
        files = {plan.file_field_name: ("model", data, "application/x-hdf5")}
        self._insist(lambda: self._http.post(plan.url, data=dict(plan.fields), files=files))
        done = pb.Dataset(file_upload_complete=True)
        self.ask("PATCH", f"datasets/{made.id}/", pb.CreateUpdateResponse, done)
        return str(made.id)

    def host(self) -> Any:
        devices = self.ask("GET", "devices/", pb.DeviceList, name="", os="", select="False").devices
        return next(device for device in devices if device.name.startswith("This machine"))

    def submit(self, **job: Any) -> str:
        body = pb.Job(**job)
        made = self.ask("POST", "jobs/", pb.CreateUpdateResponse, body, seed_target_model="true")
        return str(made.id)

    def digest(self, path: str) -> str:
        """Return the SHA-256 of what is downloaded from ``path``."""
        found = self.ask("GET", path, pb.FileDownloadResponse, supports_s3_credentials="true")
        got = self._insist(lambda: self._http.get(found.url.url))
        return hashlib.sha256(got.content).hexdigest()

    def _insist(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        for _ in range(self._tries):
            try:
                response = send()
                if response.is_success:
                    return response
                if response.status_code < 500:
                    raise RefusedError(response)
                last = f"{response.status_code} {response.text}"
            except httpx.TransportError as error:
                last = repr(error)
            self.repeats += 1
            time.sleep(_REST_SECONDS)
        raise LostError(last)
