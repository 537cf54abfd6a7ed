"""Values for tests of the Repository, and its adapters."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from qdq.domain.records import (
    Dataset,
    Device,
    Inspection,
    Job,
    Model,
    ModelType,
    Notice,
    Severity,
    TensorSpec,
    UploadState,
)
from qdq.domain.states import JobKind, JobState
from qdq.ports.repository import Repository
from qdq.store import open_store
from qdq.store.clock import Clock

LEASE = timedelta(seconds=100)
# Far from any real clock: whoever stores the caller's times is found out.
STALE = datetime(2001, 2, 3, tzinfo=UTC)
SPEC = TensorSpec("image", (1, 3, 8, 8), "uint8", scale=0.5, zero_point=128.0)
INSPECTION = Inspection(
    "onnx",
    inputs=(SPEC, TensorSpec("n", (), "int64")),
    outputs=(TensorSpec("y", (1, 10), "float32"),),
    samples=3,
    hazards=("custom op",),
    details={"opset": 17, "nested": {"list": [1, None, "ü"]}},
)
BAD = Inspection("unknown", problem="The bytes are no model.", failure_type=13002)


@dataclass
class Adapter:
    """A repository and the clock that it reads."""

    repository: Repository
    clock: Clock

    def forward(self, seconds: float) -> None:
        self.clock.shift += timedelta(seconds=seconds)


def _sqlite(folder: Path) -> Adapter:
    clock = Clock()
    return Adapter(open_store(folder, clock=clock), clock)


ADAPTERS: dict[str, Callable[[Path], Adapter]] = {"sqlite": _sqlite}


def template(name: str, folder: Path) -> Callable[[Path], Adapter]:
    """Return a factory of fresh repositories that need no migration."""
    ADAPTERS[name](folder).repository.close()

    def make(target: Path) -> Adapter:
        shutil.copytree(folder, target)
        return ADAPTERS[name](target)

    return make


def model(model_id: str = "m1", **given: Any) -> Model:
    fields = {"name": "net", "type": ModelType.ONNX, "upload": UploadState.CREATED} | given
    return Model(id=model_id, created=STALE, **fields)


def dataset(dataset_id: str = "d1", **given: Any) -> Dataset:
    fields = {
        "name": "samples",
        "expires": datetime(2100, 1, 1, tzinfo=UTC),
        "upload": UploadState.CREATED,
    } | given
    return Dataset(id=dataset_id, created=STALE, **fields)


def job(job_id: str = "j1", **given: Any) -> Job:
    fields = {"kind": JobKind.COMPILE, "name": "work", "options": "--x 1"} | given
    return Job(id=job_id, state=JobState.CREATED, created=STALE, updated=STALE, **fields)


def full_job(job_id: str = "j1") -> Job:
    return job(
        job_id,
        kind=JobKind.INFERENCE,
        model_ids=("m1", "m2"),
        devices=(Device("Host", "6.1", ("framework:onnx", "os:linux")), Device("Other")),
        input_specs=(SPEC,),
        weights="int8",
        activations="int16",
        profiling=True,
        notices=(Notice(Severity.WARNING, "Mind the gap."),),
    )
