"""A workbench over ports in memory, with a model and a dataset in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from qdq.domain.records import Dataset, Device, Model, ModelType
from qdq.hosts import MachineHost, SimulatorHost
from qdq.service import Workbench
from qdq.service.limits import ServiceLimits
from service import workbench_fakes as fakes

HOST = Device("Host (Test CPU)", "6.1", fakes.HOST_ATTRIBUTES)
HOSTS = (MachineHost(HOST), SimulatorHost())
LIMITS = ServiceLimits(inspect_s=0.2, part_bytes=1000, hold_s=2.0)


@dataclass
class Room:
    """The workbench and what stands in for the outside."""

    workbench: Workbench
    repository: fakes.FakeRepository
    blobs: fakes.FakeBlobs
    stages: fakes.FakeStages
    engine: fakes.FakeEngine

    def add_model(self, kind: int = ModelType.ONNX, data: bytes = b"model") -> Model:
        models = self.workbench.models
        model = models.create("net", kind)
        plan = models.plan(model.id, len(data))
        for index in range(plan.parts):
            start = index * plan.part_bytes
            self.blobs.parts[plan.upload_id, index] = data[start : start + plan.part_bytes]
        return models.confirm(model.id, plan.upload_id, plan.parts)

    def add_dataset(self, data: bytes = b"data") -> Dataset:
        dataset = self.workbench.datasets.create("samples")
        plan = self.workbench.datasets.plan(dataset.id, len(data))
        self.blobs.parts[plan.upload_id, 0] = data
        return self.workbench.datasets.confirm(dataset.id)


@pytest.fixture
def room(tmp_path: Path) -> Room:
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
        hosts=HOSTS,
        limits=LIMITS,
    )
    return Room(workbench, repository, blobs, stages, engine)
