"""Signed links to bytes, on the host that the client called."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from qdq.api.answers import protobuf
from qdq.api.context import context_of, wants_new_form
from qdq.api.wire import workbench_pb2 as pb
from qdq.service.files import Download
from qdq.service.uploads import UploadPlan

__all__ = ["FORM_FIELD", "artifact_list", "download_answer", "form_url", "part_urls"]

FORM_FIELD = "file"


def part_urls(request: Request, plan: UploadPlan) -> Response:
    """Answer with one link for each part, in the form that the client reads."""
    names = (f"part/{plan.upload_id}/{index}" for index in range(plan.parts))
    message = pb.FileMultipartUploadURL(
        urls=[_upload_link(request, "PUT", name) for name in names],
        upload_id=plan.upload_id,
        max_part_size=plan.part_bytes,
    )
    if wants_new_form(request):
        return protobuf(pb.FileUploadResponse(multipart_url=message))
    return protobuf(message)


def form_url(request: Request, plan: UploadPlan) -> Response:
    """Answer with the link that takes one form with the whole file."""
    message = pb.FileUploadURL(
        url=_upload_link(request, "POST", f"form/{plan.upload_id}"),
        file_field_name=FORM_FIELD,
        fields={"key": plan.asset_id},
    )
    if wants_new_form(request):
        return protobuf(pb.FileUploadResponse(url=message))
    return protobuf(message)


def download_answer(request: Request, found: Download) -> Response:
    """Answer with the link to a blob, in the form that the client reads."""
    message = pb.FileDownloadURL(url=_download_link(request, found), filename=found.filename)
    if wants_new_form(request):
        return protobuf(pb.FileDownloadResponse(url=message))
    return protobuf(message)


def artifact_list(request: Request, found: tuple[Download, ...]) -> Response:
    """Answer with links to artifacts."""
    return protobuf(
        pb.NamedArtifactDownloadURLList(
            artifacts=[
                pb.NamedArtifactDownloadURL(
                    url=_download_link(request, it), filename=it.filename, name=it.filename
                )
                for it in found
            ]
        )
    )


def _upload_link(request: Request, verb: str, name: str) -> str:
    return _link(request, verb, name, context_of(request).workbench.limits.upload_url_s)


def _download_link(request: Request, found: Download) -> str:
    seconds = context_of(request).workbench.limits.download_url_s
    return _link(request, "GET", f"blob/{found.blob}/{found.filename}", seconds)


def _link(request: Request, verb: str, name: str, seconds: int) -> str:
    # Clients blame another service for a link that does not begin with the address they know.
    token = context_of(request).workbench.blobs.sign(verb, name, seconds=seconds)
    return f"{request.base_url}blobs/{quote(token, safe='')}"
