"""Who may call: the token on every API path, and clients that are not too old."""

from __future__ import annotations

import hmac

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from qdq.api.answers import detail
from qdq.api.context import Context, client_version

__all__ = ["Guard"]

API_PREFIX = "/api/"
# Asked without a token: what leads to one, and whether the server is there.
_OPEN = frozenset({"/api/v1/users/auth/login/", "/api/v1/status/"})


class Guard:
    """Answers 401 or 426 before any handler or body is touched.

    Blob URLs are outside: they carry their own signature, and clients send no token there.
    """

    def __init__(self, app: ASGIApp, *, context: Context) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on or refuse it."""
        if scope["type"] == "http":
            request = Request(scope)
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            if path.startswith(API_PREFIX):
                refusal = self._refuse(request, path)
                if refusal is not None:
                    await refusal(scope, receive, send)
                    return
        await self._app(scope, receive, send)

    def _refuse(self, request: Request, path: str) -> ASGIApp | None:
        oldest = self._context.limits.oldest_client
        if client_version(request) < oldest:
            version = ".".join(map(str, oldest))
            return detail(426, f"This client is too old: install qai-hub {version} or newer.")
        if path in _OPEN:
            return None
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        given = token.strip().encode()
        if kind.lower() != "token" or not hmac.compare_digest(given, self._context.token.encode()):
            return detail(401, "The API token is missing or wrong.")
        return None
