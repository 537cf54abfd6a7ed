"""The ports in memory: what the service and the protocol are tested against."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import hmac
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from qdq.base.errors import InternalError, OutputError, QdqError
from qdq.domain.records import Dataset, Inspection, Job, Model, UploadState
from qdq.domain.states import JobKind, JobState
from qdq.ports.stages import StageRequest, StageResult


class FakeRepository:
    """Rows in dictionaries; every call takes one lock, and the clock moves with each."""

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.datasets: dict[str, Dataset] = {}
        self.jobs: dict[str, Job] = {}
        self.lock = threading.Lock()
        self.loop_thread: int | None = None
        self.blocking_calls = 0

    def _touch(self) -> None:
        if threading.get_ident() == self.loop_thread:
            self.blocking_calls += 1

    def now(self) -> datetime:
        self._touch()
        return datetime.now(UTC)

    def add_model(self, model: Model) -> None:
        self._touch()
        assert model.id not in self.models
        self.models[model.id] = model

    def get_model(self, model_id: str) -> Model | None:
        self._touch()
        return self.models.get(model_id)

    def list_models(
        self, *, offset: int, limit: int, producer: str | None = None
    ) -> tuple[list[Model], int]:
        rows = [it for it in self.models.values() if producer in (None, it.producer_id)]
        return rows[::-1][offset : offset + limit], len(rows)

    def produced_model(self, blob: str) -> Model | None:
        made = [it for it in self.models.values() if it.blob == blob and it.producer_id]
        return made[-1] if made else None

    def set_model_bytes(
        self, model_id: str, *, blob: str, size: int, inspection: Inspection
    ) -> None:
        self.models[model_id] = dataclasses.replace(
            self.models[model_id],
            blob=blob,
            size=size,
            inspection=inspection,
            upload=UploadState.BAD if inspection.problem else UploadState.READY,
        )

    def add_dataset(self, dataset: Dataset) -> None:
        self.datasets[dataset.id] = dataset

    def get_dataset(self, dataset_id: str) -> Dataset | None:
        self._touch()
        return self.datasets.get(dataset_id)

    def list_datasets(self, *, offset: int, limit: int) -> tuple[list[Dataset], int]:
        rows = list(self.datasets.values())
        return rows[::-1][offset : offset + limit], len(rows)

    def set_dataset_bytes(
        self, dataset_id: str, *, blob: str, size: int, inspection: Inspection
    ) -> None:
        self.datasets[dataset_id] = dataclasses.replace(
            self.datasets[dataset_id],
            blob=blob,
            size=size,
            inspection=inspection,
            upload=UploadState.BAD if inspection.problem else UploadState.READY,
        )

    def add_job(self, job: Job, target: Model | None) -> None:
        self._touch()
        with self.lock:
            self.jobs[job.id] = job
            if target is not None:
                self.models[target.id] = target

    def get_job(self, job_id: str) -> Job | None:
        self._touch()
        return self.jobs.get(job_id)

    def list_jobs(
        self,
        *,
        offset: int,
        limit: int,
        kinds: frozenset[JobKind] = frozenset(),
        states: frozenset[JobState] = frozenset(),
    ) -> tuple[list[Job], int]:
        rows = [
            it
            for it in self.jobs.values()
            if (not kinds or it.kind in kinds) and (not states or it.state in states)
        ]
        return rows[::-1][offset : offset + limit], len(rows)

    def rename_job(self, job_id: str, name: str) -> None:
        self.change(job_id, name=name)

    def request_cancel(self, job_id: str) -> bool:
        if self.jobs[job_id].state.is_final:
            return False
        self.change(
            job_id, state=JobState.FAILED, failure_reason="Cancelled", cancel_requested=True
        )
        return True

    def prioritize_job(self, job_id: str, priority: int) -> bool:
        if self.jobs[job_id].state.is_final:
            return False
        self.change(job_id, priority=priority)
        return True

    def changed_since(self, when: datetime) -> list[tuple[str, JobState]]:
        self._touch()
        return [(it.id, it.state) for it in list(self.jobs.values()) if it.updated >= when]

    def change(self, job_id: str, **fields: Any) -> Job:
        """Do what a worker would."""
        with self.lock:
            job = dataclasses.replace(self.jobs[job_id], updated=datetime.now(UTC), **fields)
            self.jobs[job_id] = job
        return job

    def finish(self, job_id: str, blobs: FakeBlobs | None = None, data: bytes = b"out") -> Job:
        """End a job well; its target gets the bytes."""
        job = self.jobs[job_id]
        if job.target_model_id and blobs is not None:
            source = self.models[job.model_ids[0]].inspection
            assert source is not None
            self.set_model_bytes(
                job.target_model_id, blob=blobs.put(data), size=len(data), inspection=source
            )
        return self.change(job_id, state=JobState.DONE, completed=datetime.now(UTC))


class _Sink:
    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self.limit = limit
        self.etag = ""

    async def write(self, data: bytes) -> None:
        await asyncio.sleep(0)
        self.data += data
        if len(self.data) > self.limit:
            raise OutputError("Too large")


class FakeBlobs:
    """Blobs as files, parts in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts: dict[tuple[str, int], bytes] = {}
        self.expired = False

    def put(self, data: bytes) -> str:
        sha = hashlib.sha256(data).hexdigest()
        (self.folder / sha).write_bytes(data)
        return sha

    def put_file(self, file: Path) -> tuple[str, int]:
        data = file.read_bytes()
        return self.put(data), len(data)

    def path(self, sha256: str) -> Path:
        return self.folder / sha256

    def exists(self, sha256: str) -> bool:
        return (self.folder / sha256).is_file()

    def refresh(self, sha256: str) -> bool:
        return self.exists(sha256)

    def delete(self, sha256: str) -> None:
        (self.folder / sha256).unlink()

    def all(self) -> list[str]:
        return [it.name for it in self.folder.iterdir()]

    @asynccontextmanager
    async def open_part(
        self, upload_id: str, part: int, *, limit: int, offset: int | None = None
    ) -> AsyncIterator[_Sink]:
        del offset
        sink = _Sink(limit)
        yield sink
        self.parts[upload_id, part] = bytes(sink.data)
        sink.etag = hashlib.md5(sink.data).hexdigest()

    def complete(self, upload_id: str, parts: int) -> tuple[str, int]:
        try:
            data = b"".join(self.parts[upload_id, part] for part in range(parts))
        except KeyError as error:
            raise OutputError(f"The part {error} is missing") from None
        return self.put(data), len(data)

    async def read(self, sha256: str) -> AsyncIterator[bytes]:
        data = self.path(sha256).read_bytes()
        for start in range(0, len(data), 1000):
            yield data[start : start + 1000]

    def sign(self, verb: str, name: str, *, seconds: int) -> str:
        del seconds
        mac = hmac.digest(b"secret", f"{verb} {name}".encode(), "sha256").hex()
        return f"{name}~{mac}"

    def verify(self, token: str, verb: str) -> str | None:
        name, _, mac = token.rpartition("~")
        good = self.sign(verb, name, seconds=0).rpartition("~")[2]
        return name if mac == good and not self.expired else None


class FakeStages:
    """Answers inspect stages from ``answers``; a QdqError there is raised."""

    def __init__(self) -> None:
        self.answers: dict[str, Mapping[str, Any] | QdqError] = {}
        self.calls: list[StageRequest] = []
        self.hangs = False

    def run(self, request: StageRequest, *, scratch, log, progress, cancelled) -> StageResult:
        self.calls.append(request)
        assert scratch.is_dir()
        assert not list(scratch.iterdir())
        while self.hangs:
            if cancelled():
                raise InternalError("cancelled")
            threading.Event().wait(0.01)
        answer = self.answers[request.stage]
        if isinstance(answer, QdqError):
            raise answer
        return StageResult(answer)

    def kept(self, stage: str, scratch) -> dict:
        return {}


class FakeEngine:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.wakes = 0

    def start(self) -> None: ...
    def drain(self, seconds: float) -> None: ...

    def wake(self) -> None:
        self.wakes += 1


IMAGE = {"name": "image", "dtype": "float32", "shape": [1, 3, 8, 8]}
ONNX_ANSWER: dict[str, Any] = {
    "format": "onnx",
    "inputs": [IMAGE],
    "outputs": [{"name": "y", "dtype": "float32", "shape": ["batch", 10]}],
    "hazards": [{"kind": "custom_op", "detail": "Foo"}],
    "opset": 17,
}
TFLITE_ANSWER: dict[str, Any] = {
    "format": "tflite",
    "inputs": [{**IMAGE, "dtype": "int8"}],
    "outputs": [{"name": "y", "dtype": "float32", "shape": [1, 10]}],
    "input_spec": [{**IMAGE, "dtype": "int8", "scale": 0.5, "zero_point": -3}],
    "output_spec": [{"name": "y", "dtype": "float32", "shape": [1, 10]}],
    "hazards": [{"kind": "flex_ops", "detail": "FlexConv2D"}],
}
DATASET_ANSWER: dict[str, Any] = {
    "samples": 4,
    "inputs": [
        {**IMAGE, "same_layout": True, "layouts": [{"dtype": "float32", "shape": [1, 3, 8, 8]}]}
    ],
}
HOST_ATTRIBUTES = ("format:host", "framework:onnx", "framework:tflite", "os:linux", "vendor:amd")


def past(days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)
