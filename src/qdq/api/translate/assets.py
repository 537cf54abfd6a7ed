"""Models and datasets."""

from __future__ import annotations

from qdq.api.context import Account
from qdq.api.translate.values import number, specs_to_wire, timestamp, user_to_wire
from qdq.api.wire import workbench_pb2 as pb
from qdq.domain.qnn import metadata_of
from qdq.domain.records import Dataset, Model, UploadState

__all__ = ["created", "dataset_to_wire", "model_to_wire"]


def model_to_wire(model: Model, account: Account) -> pb.Model:
    """Return a model; its specs only where they are known, as clients wait for them otherwise."""
    message = pb.Model(
        model_id=model.id,
        owner=user_to_wire(account),
        name=model.name,
        creation_time=timestamp(model.created),
        model_type=number(model.type),
        file_upload_complete=model.upload is UploadState.READY,
        read_only=False,
        is_directory=model.is_directory or model.filename.endswith(".zip"),
        hidden=model.hidden,
        has_vizgraph=False,
        project_id=account.project_id,
        project_slug=account.project_slug,
        actor_authorization=pb.ModelAuthorization(
            permissions=[pb.MODEL_CAN_VIEW, pb.MODEL_CAN_UPDATE]
        ),
    )
    if model.producer_id is not None:
        message.producer_id = model.producer_id
    metadata = metadata_of(model.inspection) | model.metadata
    if metadata:
        message.metadata.entries.update(metadata)
    if model.inspection is not None and model.inspection.inputs:
        message.input_spec.CopyFrom(specs_to_wire(model.inspection.inputs))
        message.output_spec.CopyFrom(specs_to_wire(model.inspection.outputs))
    return message


def dataset_to_wire(dataset: Dataset, account: Account) -> pb.Dataset:
    """Return a dataset; one without end has no expiration time."""
    message = pb.Dataset(
        dataset_id=dataset.id,
        owner=user_to_wire(account),
        name=dataset.name,
        creation_time=timestamp(dataset.created),
        file_upload_complete=dataset.upload is UploadState.READY,
        read_only=False,
        permanent=dataset.permanent,
        project_id=account.project_id,
        project_slug=account.project_slug,
        actor_authorization=pb.DatasetAuthorization(
            permissions=[pb.DATASET_CAN_VIEW, pb.DATASET_CAN_UPDATE]
        ),
    )
    if not dataset.permanent:
        message.expiration_time.CopyFrom(timestamp(dataset.expires))
    return message


def created(row: Model | Dataset) -> pb.CreateUpdateResponse:
    """Return the answer to creating or confirming; its status stays empty, or clients stop."""
    message = pb.CreateUpdateResponse(id=row.id, creation_time=timestamp(row.created))
    if isinstance(row, Dataset):
        message.expiration_time.CopyFrom(timestamp(row.expires))
    return message
