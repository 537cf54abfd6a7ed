"""Handlers of models."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from qdq.api.answers import protobuf
from qdq.api.context import context_of, number_of, page_of, read_message, run, run_slow
from qdq.api.links import download_answer, part_urls
from qdq.api.translate.assets import created, model_to_wire
from qdq.api.wire import workbench_pb2 as pb
from qdq.base.errors import RequestError

__all__ = [
    "complete_upload",
    "create_model",
    "download_model",
    "get_model",
    "list_models",
    "start_upload",
    "update_model",
]


async def create_model(request: Request) -> Response:
    """POST models/."""
    asked = await read_message(request, pb.Model)
    models = context_of(request).workbench.models
    kind, packed = int(asked.model_type), asked.is_directory
    return protobuf(created(await run(models.create, asked.name, kind, is_directory=packed)))


async def list_models(request: Request) -> Response:
    """GET models/."""
    context = context_of(request)
    offset, limit = page_of(request)
    producer = request.query_params.get("producer") or None
    rows, total = await run(
        context.workbench.models.list, offset=offset, limit=limit, producer=producer
    )
    found = [model_to_wire(row, context.account) for row in rows]
    return protobuf(pb.ModelList(models=found, total_query_count=total))


async def get_model(request: Request) -> Response:
    """GET models/ID/."""
    context = context_of(request)
    model = await run(context.workbench.models.get, request.path_params["id"])
    return protobuf(model_to_wire(model, context.account))


async def update_model(request: Request) -> Response:
    """PATCH models/ID/: clients have no use for it."""
    await run(context_of(request).workbench.models.get, request.path_params["id"])
    raise RequestError("A model cannot be changed", remedy="Upload another one")


async def start_upload(request: Request) -> Response:
    """GET models/ID/multipart_upload/."""
    workbench = context_of(request).workbench
    size = number_of(request, "file_size", default=-1)
    if size < 0:
        raise RequestError("'file_size' is not given")
    plan = await run(workbench.models.plan, request.path_params["id"], size)
    return part_urls(request, plan)


async def complete_upload(request: Request) -> Response:
    """POST models/ID/multipart_upload/: joins the parts and inspects the model."""
    context = context_of(request)
    done = await read_message(request, pb.FileMultipartUploadComplete)
    confirm = context.workbench.models.confirm
    model_id = request.path_params["id"]
    model = await run_slow(context, confirm, model_id, done.upload_id, len(done.etags))
    return protobuf(created(model))


async def download_model(request: Request) -> Response:
    """GET models/ID/download/."""
    models = context_of(request).workbench.models
    return download_answer(request, await run(models.download, request.path_params["id"]))
