"""What every handler may use, and how a request is read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar, cast

from anyio import CapacityLimiter, to_thread
from google.protobuf.message import DecodeError, Message
from starlette.requests import Request

from qdq.base.errors import NotFoundError, RequestError, TooLargeError
from qdq.service import Workbench
from qdq.service.sharing import Sharing

__all__ = [
    "Account",
    "ApiLimits",
    "Context",
    "client_version",
    "context_of",
    "number_of",
    "page_of",
    "read_body",
    "read_message",
    "require_project",
    "run",
    "run_slow",
    "wants_new_form",
]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_M = TypeVar("_M", bound=Message)

# A client that does not tell its version is taken for a current one.
NEWEST = (10**6,)


@dataclass(frozen=True, slots=True)
class Account:
    """The one user of this version, and the one project, which is the user's default."""

    email: str = "user@localhost"
    first_name: str = "Local"
    last_name: str = "User"
    id: int = 1
    project_id: str = "pdefault"
    project_slug: str = "default"


@dataclass(frozen=True, slots=True)
class ApiLimits:
    """Limits of requests that are not uploads, and of slow calls that run side by side."""

    body_bytes: int = 8 << 20
    slow_calls: int = 16
    oldest_client: tuple[int, ...] = (0, 50)


@dataclass(frozen=True, slots=True)
class Context:
    """The workbench, who may use it, and the limits."""

    workbench: Workbench
    token: str
    account: Account
    limits: ApiLimits
    sharing: Sharing
    slow: CapacityLimiter


def context_of(request: Request) -> Context:
    """Return the context of the application."""
    return cast("Context", request.app.state.context)


def require_project(context: Context, name: str) -> None:
    """Raise NotFoundError unless ``name`` is the id or the slug of the one project."""
    account = context.account
    if name not in (account.project_id, account.project_slug):
        raise NotFoundError(
            f"There is no project '{name[:100]}'",
            remedy=f"Leave it out, or use '{account.project_slug}', the only one of this workbench",
        )


async def run(call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call in a thread: a repository may wait for a lock, and the loop must not."""
    return await to_thread.run_sync(lambda: call(*args, **kwargs))


async def run_slow(
    context: Context, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """Call in a thread of those few that may take seconds."""
    return await to_thread.run_sync(lambda: call(*args, **kwargs), limiter=context.slow)


async def read_body(request: Request) -> bytes:
    """Return the whole body.  Raises TooLargeError over the limit."""
    most = context_of(request).limits.body_bytes
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise TooLargeError(f"The request has more than {most:,} bytes")
    return bytes(body)


async def read_message(request: Request, kind: type[_M]) -> _M:
    """Return the body as a message of ``kind``.  Raises RequestError for other bytes."""
    body = await read_body(request)
    try:
        return kind.FromString(body)
    except DecodeError:
        raise RequestError(f"The body is no {kind.DESCRIPTOR.name} message") from None


def client_version(request: Request) -> tuple[int, ...]:
    """Return the client's version, such as (0, 56, 0)."""
    found = re.match(r"[0-9]{1,6}(?:\.[0-9]{1,6}){0,3}", request.headers.get("client-version", ""))
    return tuple(int(part) for part in found.group().split(".")) if found else NEWEST


def wants_new_form(request: Request) -> bool:
    """Tell which of the two forms of transfer messages the client reads."""
    return request.query_params.get("supports_s3_credentials", "false").lower() != "false"


def page_of(request: Request, *, default: int = 50) -> tuple[int, int]:
    """Return ``offset`` and ``limit`` of a listing.  Raises RequestError for no such number."""
    return number_of(request, "offset", default=0), number_of(request, "limit", default=default)


def number_of(request: Request, name: str, *, default: int) -> int:
    """Return a number of the query, or ``default``.  Raises RequestError for anything else."""
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise RequestError(f"'{name}' is '{text[:50]}', not a whole number from 0 on")
    return int(text)
