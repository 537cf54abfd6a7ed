"""The workbench: all use cases, over the ports they need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qdq.domain.records import Device
from qdq.ports.blobs import Blobs
from qdq.ports.device_host import DeviceHost
from qdq.ports.engine import Engine
from qdq.ports.repository import Repository
from qdq.ports.stages import StageRunner
from qdq.service.datasets import Datasets
from qdq.service.devices import DeviceCatalogue
from qdq.service.inspections import Inspector
from qdq.service.jobs import Jobs
from qdq.service.limits import ServiceLimits
from qdq.service.models import Models
from qdq.service.submit import Submissions
from qdq.service.waiting import JobWaiters

__all__ = ["Workbench"]


class Workbench:
    """Use cases by theme.  Everything but ``waiters`` and ``blobs`` streams is synchronous.

    Calls may come from any thread; they take as long as a transaction, but ``confirm`` of models
    and datasets, which reads the upload.  ``host`` is this machine as a device, and
    ``hosts`` carry out jobs of devices.  ``scratch`` holds
    what may be lost at a restart, and ``<job>-<attempt>/log.txt`` of the running attempts.
    """

    def __init__(
        self,
        repository: Repository,
        blobs: Blobs,
        stages: StageRunner,
        engine: Engine,
        *,
        scratch: Path,
        host: Device,
        hosts: Sequence[DeviceHost] = (),
        limits: ServiceLimits | None = None,
    ) -> None:
        limits = limits or ServiceLimits()
        inspector = Inspector(stages, scratch=scratch, seconds=limits.inspect_s)
        self.limits = limits
        self.blobs = blobs
        self.repository = repository
        self.devices = DeviceCatalogue(host, hosts)
        self.models = Models(repository, blobs, inspector, limits=limits)
        self.datasets = Datasets(repository, blobs, inspector, limits=limits)
        self.jobs = Jobs(repository, blobs, scratch=scratch, limits=limits)
        self.waiters = JobWaiters(repository, limits=limits)
        self.submit = Submissions(
            repository,
            engine,
            models=self.models,
            datasets=self.datasets,
            devices=self.devices,
            limits=limits,
        )
