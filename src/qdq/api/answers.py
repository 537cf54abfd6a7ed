"""Answers: protobuf with the exact content type, errors as the one JSON form clients show."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Final

from google.protobuf.message import Message
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from qdq.base.errors import InternalError, NotFoundError, QdqError, TooLargeError

__all__ = ["PROTOBUF", "STATUS_HANDLERS", "detail", "protobuf"]

PROTOBUF: Final = "application/x-protobuf"
_LOG = logging.getLogger("qdq.api")
# Clients discard the text of every other 4xx, and repeat a 5xx for most of a minute.
_SHOWN = frozenset({400, 401, 403, 404, 413, 426})


def protobuf(message: Message) -> Response:
    """Answer with a message: clients compare the content type as text, so nothing is added."""
    return Response(message.SerializeToString(), media_type=PROTOBUF)


def detail(status: int, text: str) -> JSONResponse:
    """Answer with an error that clients show."""
    return JSONResponse({"detail": text}, status_code=status)


async def _refused(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, QdqError)
    match error:
        case NotFoundError():
            status = 404
        case TooLargeError():
            status = 413
        case InternalError():
            _LOG.error("Internal error", exc_info=error)
            status = 500
        case _:
            status = 400
    return detail(status, str(error))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code if error.status_code in _SHOWN else 404
    text = error.detail
    if status == HTTPStatus.NOT_FOUND:
        text = f"There is no {request.method} {request.url.path} here."
    return detail(status, text)


async def _gone(request: Request, error: Exception) -> Response:
    del request, error
    return detail(400, "The client went away.")


async def _unexpected(request: Request, error: Exception) -> Response:
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return detail(500, "The server failed; its log says where.")


STATUS_HANDLERS = {
    QdqError: _refused,
    HTTPException: _http,
    ClientDisconnect: _gone,
    Exception: _unexpected,
}
