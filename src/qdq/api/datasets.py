"""Handlers of datasets."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from qdq.api.answers import protobuf
from qdq.api.context import (
    context_of,
    number_of,
    page_of,
    read_message,
    require_project,
    run,
    run_slow,
)
from qdq.api.links import download_answer, form_url
from qdq.api.translate.assets import created, dataset_to_wire
from qdq.api.wire import workbench_pb2 as pb
from qdq.base.errors import RequestError

__all__ = [
    "create_dataset",
    "download_dataset",
    "get_dataset",
    "list_datasets",
    "start_upload",
    "update_dataset",
]


async def create_dataset(request: Request) -> Response:
    """POST datasets/."""
    asked = await read_message(request, pb.Dataset)
    if asked.project_id:
        require_project(context_of(request), asked.project_id)
    datasets = context_of(request).workbench.datasets
    return protobuf(created(await run(datasets.create, asked.name, permanent=asked.permanent)))


async def list_datasets(request: Request) -> Response:
    """GET datasets/."""
    context = context_of(request)
    offset, limit = page_of(request)
    rows, total = await run(context.workbench.datasets.list, offset=offset, limit=limit)
    found = [dataset_to_wire(row, context.account) for row in rows]
    return protobuf(pb.DatasetList(datasets=found, total_query_count=total))


async def get_dataset(request: Request) -> Response:
    """GET datasets/ID/."""
    context = context_of(request)
    dataset = await run(context.workbench.datasets.get, request.path_params["id"])
    return protobuf(dataset_to_wire(dataset, context.account))


async def update_dataset(request: Request) -> Response:
    """PATCH datasets/ID/: says that the upload is complete, and is answered when it is read."""
    context = context_of(request)
    asked = await read_message(request, pb.Dataset)
    if not asked.file_upload_complete:
        raise RequestError("A dataset cannot be changed", remedy="Upload another one")
    confirm = context.workbench.datasets.confirm
    return protobuf(created(await run_slow(context, confirm, request.path_params["id"])))


async def start_upload(request: Request) -> Response:
    """GET datasets/ID/upload_url/."""
    datasets = context_of(request).workbench.datasets
    size = number_of(request, "file_size", default=0)
    return form_url(request, await run(datasets.plan, request.path_params["id"], size))


async def download_dataset(request: Request) -> Response:
    """GET datasets/ID/download_data/."""
    datasets = context_of(request).workbench.datasets
    return download_answer(request, await run(datasets.download, request.path_params["id"]))
