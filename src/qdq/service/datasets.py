"""Datasets: created, uploaded whole, confirmed, read, downloaded; uploads expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from qdq.base.errors import NotFoundError, RequestError
from qdq.domain.ids import IdKind, is_id, new_id
from qdq.domain.records import Dataset, Inspection, UploadState
from qdq.ports.blobs import Blobs
from qdq.ports.repository import Repository
from qdq.service.files import Download, OneAtATime, why_no_bytes
from qdq.service.inspections import Inspector
from qdq.service.limits import ServiceLimits
from qdq.service.names import check_name, dataset_filename
from qdq.service.uploads import UploadPlan, plan_upload

__all__ = ["Datasets", "ready"]

# Clients read an absent time as 1970, so that a dataset without end has a far one.
_NEVER = datetime(2999, 1, 1, tzinfo=UTC)


class Datasets:
    """Use cases of datasets.  Reads of an unknown id raise NotFoundError."""

    def __init__(
        self, repository: Repository, blobs: Blobs, inspector: Inspector, *, limits: ServiceLimits
    ) -> None:
        self._repository = repository
        self._blobs = blobs
        self._inspector = inspector
        self._limits = limits
        self._confirming = OneAtATime()

    def create(self, name: str, *, permanent: bool = False) -> Dataset:
        """Add a dataset whose bytes are to follow."""
        now = self._repository.now()
        dataset = Dataset(
            id=new_id(IdKind.DATASET),
            name=check_name(name, most=self._limits.name_chars, default="dataset"),
            created=now,
            expires=_NEVER if permanent else now + timedelta(days=self._limits.dataset_days),
            upload=UploadState.CREATED,
            permanent=permanent,
        )
        self._repository.add_dataset(dataset)
        return dataset

    def get(self, dataset_id: str) -> Dataset:
        """Return a dataset."""
        found = None
        if is_id(dataset_id, IdKind.DATASET):
            found = self._repository.get_dataset(dataset_id)
        if found is None:
            raise NotFoundError(f"There is no dataset '{dataset_id}'")
        return found

    def list(self, *, offset: int = 0, limit: int = 50) -> tuple[list[Dataset], int]:
        """Return a page of datasets, newest first, and how many there are."""
        return self._repository.list_datasets(offset=offset, limit=min(limit, self._limits.page))

    def plan(self, dataset_id: str, size: int | None) -> UploadPlan:
        """Return the upload of one part.  Without ``size`` any size to the limit is taken."""
        dataset = self.get(dataset_id)
        if dataset.producer_id is not None or dataset.upload is UploadState.READY:
            raise RequestError(f"The dataset '{dataset_id}' has its bytes already")
        limit = self._limits.dataset_bytes
        plan_upload(dataset_id, size or 0, limit=limit, part_bytes=limit, most=1)
        # One name whatever the size: confirming tells neither.
        return _plan(dataset_id, limit)

    def confirm(self, dataset_id: str) -> Dataset:
        """Take the upload and inspect it; confirming again changes nothing.

        Raises RequestError when nothing arrived or the content is no dataset.
        """
        with self._confirming.of(dataset_id):
            dataset = self.get(dataset_id)
            if dataset.upload not in (UploadState.READY, UploadState.BAD):
                plan = _plan(dataset_id, self._limits.dataset_bytes)
                blob, size = self._blobs.complete(plan.upload_id, 1)
                found = self._inspector.dataset(self._blobs.path(blob))
                self._repository.set_dataset_bytes(
                    dataset_id, blob=blob, size=size, inspection=found
                )
                dataset = self.get(dataset_id)
        _refuse_bad(dataset)
        return dataset

    def download(self, dataset_id: str) -> Download:
        """Return what to download; NotFoundError says why there is nothing."""
        dataset = self.get(dataset_id)
        if dataset.blob is None or not self._blobs.exists(dataset.blob):
            raise NotFoundError(why_no_bytes(self._repository, dataset))
        return Download(dataset.blob, dataset_filename(dataset))


def ready(repository: Repository, dataset: Dataset) -> Inspection:
    """Return the inspection of a dataset that a job may read.  Raises RequestError with why not."""
    _refuse_bad(dataset)
    if dataset.blob is None:
        raise RequestError(why_no_bytes(repository, dataset), remedy="Upload it again")
    if dataset.expires <= repository.now():
        raise RequestError(f"The dataset '{dataset.id}' is expired", remedy="Upload it again")
    return dataset.inspection or Inspection(format="unknown")


def _plan(dataset_id: str, limit: int) -> UploadPlan:
    return UploadPlan(dataset_id, limit, limit)


def _refuse_bad(dataset: Dataset) -> None:
    if dataset.inspection is not None and dataset.inspection.problem is not None:
        raise RequestError(
            f"The dataset '{dataset.name}' cannot be used: {dataset.inspection.problem}"
        )
