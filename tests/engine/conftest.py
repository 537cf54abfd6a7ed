"""A real store and real blobs, stages that are played, and engines that end with the test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from qdq.base.progress import Progress
from qdq.blobs import open_blobs
from qdq.domain.ids import IdKind, new_id
from qdq.domain.records import Dataset, Device, Inspection, Job, Model, ModelType, UploadState
from qdq.domain.states import JobKind, JobState
from qdq.engine import LocalEngine
from qdq.hosts import MachineHost, SimulatorHost
from qdq.ports.blobs import Blobs
from qdq.ports.repository import Repository
from qdq.ports.stages import CancelCheck, StageRequest, StageResult
from qdq.store import open_store

HOST = Device("This machine (test)", "1.0", ("framework:onnx",))
SPEC = [{"name": "x", "dtype": "float32", "shape": [1, "n"], "scale": None, "zero_point": None}]
ANSWERS: dict[str, dict[str, Any]] = {
    "compile": {
        "output": "model.onnx",
        "input_spec": SPEC,
        "output_spec": SPEC,
        "precision": "float",
        "target_runtime": "onnx",
        "options": "",
        "notices": ["no --target_runtime given: produced ONNX"],
    },
    "quantize": {
        "output": "model.onnx",
        "report": "report.json",
        "input_spec": SPEC,
        "output_spec": SPEC,
        "precision": "w8a8",
        "metrics": [{"name": "y", "psnr_db": 41.0}],
    },
    "run": {"output": "output.h5", "samples": 3, "outputs": SPEC},
    "profile": {"profile": {"inference": {"median_us": 12.5}}},
}
OUTPUTS = {
    "compile": ("model.onnx",),
    "quantize": ("model.onnx", "report.json", "report.html"),
    "run": ("output.h5",),
    "profile": (),
}


@dataclass
class PlayedStages:
    """A StageRunner that plays: ``act`` gets each request first, and may raise or wait."""

    act: Callable[[StageRequest, CancelCheck], object] = lambda request, cancelled: None
    leaves: str = ""
    requests: list[StageRequest] = field(default_factory=list)
    answers: Mapping[str, dict[str, Any]] = field(default_factory=lambda: ANSWERS)
    told: str = "working hard"

    def run(
        self,
        request: StageRequest,
        *,
        scratch: Path,
        log: Path,
        progress: Progress,
        cancelled: CancelCheck,
    ) -> StageResult:
        self.requests.append(request)
        assert scratch.is_dir()
        assert not any(scratch.iterdir())
        assert all(path.is_file() for path, _ in request.inputs)
        with log.open("a") as file:
            file.write(f"{self.told}\n")
        progress.step(request.stage, 1)
        progress.notice(f"a notice of {request.stage}")
        if self.leaves:
            (scratch / f"kept_{request.stage}").write_text(self.leaves)
        self.act(request, cancelled)
        outputs = {}
        for name in OUTPUTS[request.stage]:
            outputs[name] = scratch / name
            outputs[name].write_text(f"{request.stage} {name} {sorted(request.spec.items())}")
        return StageResult(self.answers[request.stage], outputs)

    def kept(self, stage: str, scratch: Path) -> dict[str, Path]:
        return {path.name: path for path in scratch.glob(f"kept_{stage}*")}

    @property
    def names(self) -> list[str]:
        return [request.stage for request in self.requests]


@dataclass
class Bench:
    """The tables, and what tests do with them."""

    repository: Repository
    blobs: Blobs
    folder: Path
    made: list[LocalEngine] = field(default_factory=list)

    def engine(self, stages: PlayedStages, *, start: bool = True, **settings: Any) -> LocalEngine:
        given = {
            "folder": self.folder / "scratch",
            "hosts": (MachineHost(HOST), SimulatorHost()),
            "lease": timedelta(seconds=10),
            "poll": timedelta(seconds=0.05),
        } | settings
        engine = LocalEngine(self.repository, self.blobs, stages, **given)
        self.made.append(engine)
        if start:
            engine.start()
        return engine

    def blob(self, content: str) -> tuple[str, int]:
        file = self.folder / "made"
        file.write_text(content)
        return self.blobs.put_file(file)

    def model(self, content: str = "a model") -> str:
        blob, size = self.blob(content)
        model_id = new_id(IdKind.MODEL)
        self.repository.add_model(
            Model(model_id, "net", ModelType.ONNX, self.repository.now(), UploadState.CREATED)
        )
        self.repository.set_model_bytes(
            model_id, blob=blob, size=size, inspection=Inspection("onnx")
        )
        return model_id

    def dataset(self, content: str = "a dataset") -> str:
        blob, size = self.blob(content)
        dataset_id = self.empty_dataset()
        self.repository.set_dataset_bytes(
            dataset_id, blob=blob, size=size, inspection=Inspection("h5")
        )
        return dataset_id

    def empty_dataset(self) -> str:
        dataset_id = new_id(IdKind.DATASET)
        now = self.repository.now()
        self.repository.add_dataset(
            Dataset(dataset_id, "data", now, now + timedelta(days=1), UploadState.CREATED)
        )
        return dataset_id

    def submit(self, kind: JobKind, **fields: Any) -> str:
        job_id = new_id(IdKind.JOB)
        now = self.repository.now()
        model = fields.pop("model", None) or self.model()
        target = None
        if kind in (JobKind.COMPILE, JobKind.QUANTIZE):
            target = Model(
                new_id(IdKind.MODEL),
                "net",
                ModelType.ONNX,
                now,
                UploadState.CREATED,
                producer_id=job_id,
            )
        job = Job(
            id=job_id,
            kind=kind,
            name="net",
            state=JobState.CREATED,
            options=fields.pop("options", ""),
            created=now,
            updated=now,
            model_ids=(model,),
            devices=(HOST,),
            target_model_id=target.id if target else None,
            **fields,
        )
        self.repository.add_job(job, target)
        return job_id

    def job(self, job_id: str) -> Job:
        job = self.repository.get_job(job_id)
        assert job is not None
        return job

    def wait(self, job_id: str, *, seconds: float = 15.0) -> Job:
        """Return the job when it has ended."""
        return self.until(job_id, lambda job: job.state.is_final, seconds=seconds)

    def until(self, job_id: str, holds: Callable[[Job], bool], *, seconds: float = 15.0) -> Job:
        end = time.monotonic() + seconds
        while not holds(job := self.job(job_id)):
            assert time.monotonic() < end, job
            time.sleep(0.01)
        return job

    def log(self, job: Job) -> str:
        return self.blobs.path(job.artifacts[5]).read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    repository = open_store(tmp_path / "store")
    bench = Bench(repository, open_blobs(tmp_path / "blobs", secret=b"s" * 32), tmp_path)
    yield bench
    for engine in bench.made:
        engine.drain(0)
    repository.close()


@pytest.fixture
def stages() -> PlayedStages:
    return PlayedStages()
