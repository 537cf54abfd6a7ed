"""The application over ports in memory, and a client that speaks as the official ones do."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from google.protobuf.message import Message
from starlette.applications import Starlette

from qdq.api import ApiLimits, create_app
from qdq.api.wire import workbench_pb2 as pb
from qdq.domain.records import Device
from qdq.hosts import MachineHost, SimulatorHost
from qdq.service import Workbench
from qdq.service.limits import ServiceLimits
from service import workbench_fakes as fakes
from service.conftest import Room

TOKEN = "abc123"
API = "/api/v1"
FLAG = {"supports_s3_credentials": "true", "use_acceleration": "true"}
LIMITS = ServiceLimits(
    inspect_s=0.5,
    part_bytes=1000,
    model_bytes=5000,
    dataset_bytes=5000,
    hold_s=1.0,
    poll_s=0.01,
)


class Wire:
    """Requests with the headers of a client; answers decoded when they are messages."""

    def __init__(self, http: httpx.AsyncClient, room: Room, app: Starlette) -> None:
        self.http = http
        self.room = room
        self.app = app
        self.version = "0.56.0"

    async def send(self, method: str, path: str, body: Message | bytes = b"", **query: object):
        content = body if isinstance(body, bytes) else body.SerializeToString()
        return await self.http.request(
            method,
            f"{API}/{path}",
            content=content,
            params=query,
            headers={
                "Authorization": f"token {TOKEN}",
                "Content-Type": "application/x-protobuf",
                "Client-Version": self.version,
            },
        )

    async def ask(self, kind, method: str, path: str, body: Message | bytes = b"", **query):
        response = await self.send(method, path, body, **query)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/x-protobuf"
        return kind.FromString(response.content)

    async def refused(self, status: int, method: str, path: str, body=b"", **query) -> str:
        response = await self.send(method, path, body, **query)
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/json"
        assert list(response.json()) == ["detail"]
        return response.json()["detail"]

    async def upload_model(self, data: bytes = b"model", **fields) -> str:
        asked = pb.Model(**{"name": "net", "model_type": pb.MODEL_TYPE_ONNX, **fields})
        made = await self.ask(pb.CreateUpdateResponse, "POST", "models/", asked)
        assert made.status == ""
        path = f"models/{made.id}/multipart_upload/"
        link = await self.ask(pb.FileUploadResponse, "GET", path, file_size=len(data), **FLAG)
        assert link.WhichOneof("method") == "multipart_url"
        size = link.multipart_url.max_part_size
        etags = []
        for index, url in enumerate(link.multipart_url.urls):
            sent = await self.http.put(url, content=data[index * size : (index + 1) * size])
            assert sent.status_code == 200, sent.text
            etags.append(sent.headers["etag"])
        done = pb.FileMultipartUploadComplete(upload_id=link.multipart_url.upload_id, etags=etags)
        answer = await self.ask(pb.CreateUpdateResponse, "POST", path, done)
        assert (answer.id, answer.status) == (made.id, "")
        return made.id

    async def upload_dataset(self, data: bytes = b"dataset") -> str:
        asked = pb.Dataset(name="samples", permanent=False)
        made = await self.ask(pb.CreateUpdateResponse, "POST", "datasets/", asked)
        assert made.expiration_time.seconds > made.creation_time.seconds > 0
        path = f"datasets/{made.id}/upload_url/"
        link = await self.ask(pb.FileUploadResponse, "GET", path, **FLAG)
        sent = await self.http.post(
            link.url.url,
            data=dict(link.url.fields),
            files={link.url.file_field_name: ("model", data, "application/x-hdf5")},
        )
        assert sent.status_code == 204, sent.text
        complete = pb.Dataset(file_upload_complete=True)
        await self.ask(pb.CreateUpdateResponse, "PATCH", f"datasets/{made.id}/", complete)
        return made.id

    async def submit(self, job: pb.Job) -> str:
        made = await self.ask(
            pb.CreateUpdateResponse, "POST", "jobs/", job, seed_target_model="true"
        )
        assert made.status == ""
        assert made.creation_time.seconds > 0
        return made.id

    async def compile(self, **fields) -> str:
        job = pb.CompileJob(name="compiled", **fields)
        if not job.model.model_id:
            job.model.model_id = await self.upload_model()
        if not job.devices.devices:
            job.devices.devices.add(name="Samsung Galaxy S24 (Family)")
        return await self.submit(pb.Job(compile_job=job))

    async def infer(self, **fields) -> str:
        job = pb.InferenceJob(name="run", is_profiling_on=True, **fields)
        job.model.model_id = await self.upload_model()
        job.device.name = "host"
        return await self.submit(pb.Job(inference_job=job))

    async def job(self, job_id: str) -> pb.Job:
        return await self.ask(pb.Job, "GET", f"jobs/{job_id}/")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


HOST = Device("Host (Test CPU)", "6.1", fakes.HOST_ATTRIBUTES)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    repository = fakes.FakeRepository()
    (tmp_path / "blobs").mkdir()
    blobs = fakes.FakeBlobs(tmp_path / "blobs")
    stages = fakes.FakeStages()
    stages.answers = {"inspect_model": fakes.ONNX_ANSWER, "inspect_dataset": fakes.DATASET_ANSWER}
    engine = fakes.FakeEngine()
    workbench = Workbench(
        repository,
        blobs,
        stages,
        engine,
        scratch=tmp_path / "scratch",
        host=HOST,
        hosts=(MachineHost(HOST), SimulatorHost()),
        limits=LIMITS,
    )
    yield Room(workbench, repository, blobs, stages, engine)
    # Every call of every handler was made in a thread.
    assert repository.blocking_calls == 0


@pytest.fixture
async def wire(room: Room) -> AsyncIterator[Wire]:
    app = create_app(room.workbench, token=TOKEN, limits=ApiLimits(body_bytes=20_000))
    room.repository.loop_thread = threading.get_ident()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8800") as http:
        yield Wire(http, room, app)
    await room.workbench.waiters.close()
    await anyio.lowlevel.checkpoint()
