"""Handlers of signed links: bytes in and out, streamed, with nothing slow after the last one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from qdq.api.answers import detail
from qdq.api.context import context_of, run
from qdq.api.links import FORM_FIELD
from qdq.api.multipart import Data, MultipartParser, PartBegin, PartEnd, boundary_of
from qdq.base.errors import NotFoundError, RequestError, TooLargeError
from qdq.ports.blobs import UploadSink
from qdq.service.uploads import UploadPlan, read_plan

__all__ = ["read_blob", "take_form", "take_part"]

_WRONG_LINK = "The link is not ours, or its time is over."
_MOST_FIELD_BYTES = 4096


async def take_part(request: Request) -> Response:
    """PUT of one part; repeated, it replaces what came before."""
    name = _verified(request, "PUT")
    if name is None:
        return detail(403, _WRONG_LINK)
    _, upload_id, number = name.split("/")
    plan, index = read_plan(upload_id), int(number)
    size = plan.part_size(index)
    _refuse_length(request, size)
    blobs = context_of(request).workbench.blobs
    offset = index * plan.part_bytes
    async with blobs.open_part(upload_id, index, limit=size, offset=offset) as sink:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > size:
                raise TooLargeError(f"The part has more than its {size:,} bytes")
            await sink.write(chunk)
        if received < size:
            raise RequestError(f"{received:,} of {size:,} bytes arrived", remedy="Send it again")
    return Response(headers={"ETag": _quoted(sink.etag)})


async def take_form(request: Request) -> Response:
    """POST of a form with one file; repeated, it replaces what came before."""
    name = _verified(request, "POST")
    if name is None:
        return detail(403, _WRONG_LINK)
    plan = read_plan(name.partition("/")[2])
    # The form's own lines are a few hundred bytes.
    _refuse_length(request, plan.size + (1 << 20))
    boundary = boundary_of(request.headers.get("content-type", ""))
    blobs = context_of(request).workbench.blobs
    async with blobs.open_part(plan.upload_id, 0, limit=plan.size, offset=0) as sink:
        await _file_of_form(request, boundary, sink, plan)
    return Response(status_code=204)


async def read_blob(request: Request) -> Response:
    """GET or HEAD of a blob."""
    name = _verified(request, "GET")
    if name is None:
        return detail(403, _WRONG_LINK)
    _, sha256, filename = name.split("/")
    blobs = context_of(request).workbench.blobs
    if not await run(blobs.exists, sha256):
        raise NotFoundError("The file was deleted")
    size = await run(lambda: blobs.path(sha256).stat().st_size)
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(filename, safe='')}",
        "ETag": f'"{sha256}"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
    }
    body = _nothing() if request.method == "HEAD" else blobs.read(sha256)
    return StreamingResponse(body, headers=headers, media_type="application/octet-stream")


async def _file_of_form(
    request: Request, boundary: str, sink: UploadSink, plan: UploadPlan
) -> None:
    parser = MultipartParser(boundary)
    files = received = field_bytes = 0
    in_file = False
    async for chunk in request.stream():
        for event in parser.feed(chunk):
            match event:
                case PartBegin(name=name):
                    in_file = name == FORM_FIELD
                    files += in_file
                    if files > 1:
                        raise RequestError("The form has more than one file")
                case Data(data=data) if in_file:
                    received += len(data)
                    if received > plan.size:
                        raise TooLargeError(f"The file has more than {plan.size:,} bytes")
                    await sink.write(data)
                case Data(data=data):
                    field_bytes += len(data)
                    if field_bytes > _MOST_FIELD_BYTES:
                        raise TooLargeError("The fields of the form are too large")
                case PartEnd():
                    in_file = False
    parser.close()
    if not files:
        raise RequestError(f"The form has no file '{FORM_FIELD}'")


def _verified(request: Request, verb: str) -> str | None:
    blobs = context_of(request).workbench.blobs
    return blobs.verify(request.path_params["token"], verb)


def _refuse_length(request: Request, most: int) -> None:
    told = request.headers.get("content-length", "")
    if told.isascii() and told.isdigit() and int(told) > most:
        raise TooLargeError(f"The body has {int(told):,} bytes, more than {most:,}")


def _quoted(etag: str) -> str:
    return etag if etag.startswith('"') else f'"{etag}"'


async def _nothing() -> AsyncIterator[bytes]:
    yield b""
