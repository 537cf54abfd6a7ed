"""Models: created, uploaded in parts, confirmed, read, downloaded."""

from __future__ import annotations

from qdq.base.errors import NotFoundError, RequestError
from qdq.domain.ids import IdKind, is_id, new_id
from qdq.domain.records import Inspection, Model, ModelType, UploadState
from qdq.domain.states import JobState
from qdq.ports.blobs import Blobs
from qdq.ports.repository import Repository
from qdq.service.files import Download, OneAtATime, why_no_bytes
from qdq.service.inspections import Inspector
from qdq.service.limits import ServiceLimits
from qdq.service.names import check_name, model_filename
from qdq.service.uploads import UploadPlan, plan_upload, read_plan

__all__ = ["Models", "usable"]


class Models:
    """Use cases of models.  Reads of an unknown id raise NotFoundError."""

    def __init__(
        self, repository: Repository, blobs: Blobs, inspector: Inspector, *, limits: ServiceLimits
    ) -> None:
        self._repository = repository
        self._blobs = blobs
        self._inspector = inspector
        self._limits = limits
        self._confirming = OneAtATime()

    def create(self, name: str, kind: int, *, is_directory: bool = False) -> Model:
        """Add a model whose bytes are to follow.  Raises RequestError for an unknown type."""
        try:
            model_type = ModelType(kind)
        except ValueError:
            raise RequestError(
                f"{kind} is no type of model that clients upload",
                remedy="Upload ONNX, TorchScript, a torch ExportedProgram, TFLite or QNN",
            ) from None
        model = Model(
            id=new_id(IdKind.MODEL),
            name=check_name(name, most=self._limits.name_chars, default="model"),
            type=model_type,
            created=self._repository.now(),
            upload=UploadState.CREATED,
            is_directory=is_directory,
        )
        self._repository.add_model(model)
        return model

    def get(self, model_id: str) -> Model:
        """Return a model."""
        found = self._repository.get_model(model_id) if is_id(model_id, IdKind.MODEL) else None
        if found is None:
            raise NotFoundError(f"There is no model '{model_id}'")
        return found

    def list(
        self, *, offset: int = 0, limit: int = 50, producer: str | None = None
    ) -> tuple[list[Model], int]:
        """Return a page of models, newest first, and how many there are."""
        page = min(limit, self._limits.page)
        return self._repository.list_models(offset=offset, limit=page, producer=producer)

    def plan(self, model_id: str, size: int) -> UploadPlan:
        """Return how to upload ``size`` bytes; asked again, it is the same.

        Raises TooLargeError, and RequestError when the model has its bytes already.
        """
        model = self.get(model_id)
        if model.producer_id is not None or model.upload is UploadState.READY:
            raise RequestError(f"The model '{model_id}' has its bytes already")
        return plan_upload(
            model_id,
            size,
            limit=self._limits.model_bytes,
            part_bytes=self._limits.part_bytes,
            most=self._limits.parts,
        )

    def confirm(self, model_id: str, upload_id: str, parts: int) -> Model:
        """Join the parts and inspect the model; confirming again changes nothing.

        Raises RequestError when parts are missing or the content cannot be used.
        """
        plan = read_plan(upload_id)
        if plan.asset_id != model_id or plan.parts != parts:
            raise RequestError(
                f"The upload of '{model_id}' has {plan.parts} parts, {parts} were confirmed",
                remedy="Upload the model again",
            )
        with self._confirming.of(model_id):
            model = self.get(model_id)
            if model.upload not in (UploadState.READY, UploadState.BAD):
                self._take(model, plan)
                model = self.get(model_id)
        _refuse_bad(model)
        return model

    def download(self, model_id: str) -> Download:
        """Return what to download; NotFoundError says why there is nothing."""
        model = self.get(model_id)
        if model.blob is None or not self._blobs.exists(model.blob):
            raise NotFoundError(why_no_bytes(self._repository, model))
        return Download(model.blob, model_filename(model))

    def _take(self, model: Model, plan: UploadPlan) -> None:
        blob, size = self._blobs.complete(plan.upload_id, plan.parts)
        if size != plan.size:
            raise RequestError(
                f"{size:,} of {plan.size:,} bytes arrived", remedy="Upload the model again"
            )
        found = self._inspector.model(self._blobs.path(blob), model.type)
        self._repository.set_model_bytes(model.id, blob=blob, size=size, inspection=found)


def usable(repository: Repository, model: Model) -> Inspection:
    """Return the inspection of a model that a job may read.  Raises RequestError with why not.

    A model that a running job produces is unknown yet: the engine waits for it, and the job that
    reads it looks then.
    """
    if model.producer_id is not None:
        producer = repository.get_job(model.producer_id)
        if producer is not None and not producer.state.is_final:
            return Inspection(format="unknown")
        if producer is None or producer.state is not JobState.DONE:
            raise RequestError(why_no_bytes(repository, model))
        # The job may have ended after the row was read: its bytes are there by now.
        model = repository.get_model(model.id) or model
    _refuse_bad(model)
    if model.blob is None:
        raise RequestError(
            f"The upload of the model '{model.id}' was not completed", remedy="Upload it again"
        )
    return model.inspection or Inspection(format="unknown")


def _refuse_bad(model: Model) -> None:
    if model.inspection is not None and model.inspection.problem is not None:
        raise RequestError(f"The model '{model.name}' cannot be used: {model.inspection.problem}")
