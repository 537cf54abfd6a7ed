"""The application: every route of the protocol in one table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from qdq.api import datasets, directory, jobs, models, transfers
from qdq.api.answers import STATUS_HANDLERS
from qdq.api.context import Account, ApiLimits, Context, context_of, require_project
from qdq.api.guard import Guard
from qdq.service import Workbench
from qdq.service.sharing import Sharing

__all__ = ["create_app"]

_Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

_PREFIX = "/api/v1"

# Path below the prefix, and its handlers by method.
_ROUTES: tuple[tuple[str, dict[str, _Handler]], ...] = (
    ("/devices/", {"GET": directory.list_devices}),
    ("/frameworks/", {"GET": directory.list_frameworks}),
    ("/status/", {"GET": directory.get_status}),
    ("/users/auth/user/", {"GET": directory.get_user}),
    ("/users/auth/login/", {"POST": directory.log_in}),
    ("/models/{id}/", {"GET": models.get_model, "PATCH": models.update_model}),
    (
        "/models/{id}/multipart_upload/",
        {"GET": models.start_upload, "POST": models.complete_upload},
    ),
    ("/models/{id}/download/", {"GET": models.download_model}),
    ("/datasets/{id}/", {"GET": datasets.get_dataset, "PATCH": datasets.update_dataset}),
    ("/datasets/{id}/upload_url/", {"GET": datasets.start_upload}),
    ("/datasets/{id}/download_data/", {"GET": datasets.download_dataset}),
    ("/jobs/{id}/", {"GET": jobs.get_job, "PATCH": jobs.update_job}),
    ("/jobs/{id}/result/", {"GET": jobs.get_result}),
    ("/jobs/{id}/download_compiled_model/", {"GET": jobs.download_target}),
    (
        "/jobs/{id}/device_runs/latest/artifact_list/{kind:int}/",
        {"GET": jobs.list_artifacts},
    ),
)
# These are below projects/P/ too, where P can only be the one project of this version.
_MIRRORED: tuple[tuple[str, dict[str, _Handler]], ...] = (
    ("/models/", {"GET": models.list_models, "POST": models.create_model}),
    ("/datasets/", {"GET": datasets.list_datasets, "POST": datasets.create_dataset}),
    ("/jobs/", {"GET": jobs.list_jobs, "POST": jobs.create_job}),
    ("/job_summaries/", {"GET": jobs.list_summaries}),
)
_SHARING: dict[str, _Handler] = {
    "GET": directory.get_sharing,
    "PATCH": directory.change_sharing,
    "DELETE": directory.stop_sharing,
}
_BLOBS: dict[str, _Handler] = {
    "GET": transfers.read_blob,
    "PUT": transfers.take_part,
    "POST": transfers.take_form,
}


def create_app(
    workbench: Workbench,
    *,
    token: str,
    account: Account | None = None,
    limits: ApiLimits | None = None,
) -> Starlette:
    """Return the application that speaks the protocol for one user, who has ``token``.

    Ending its lifespan answers everyone who waits; it starts and stops nothing else.
    """
    account = account or Account()
    limits = limits or ApiLimits()
    context = Context(
        workbench=workbench,
        token=token,
        account=account,
        limits=limits,
        sharing=Sharing(account.email),
        slow=CapacityLimiter(limits.slow_calls),
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        yield
        await workbench.waiters.close()

    app = Starlette(
        routes=_routes(),
        middleware=[Middleware(Guard, context=context)],
        exception_handlers=STATUS_HANDLERS,
        lifespan=lifespan,
    )
    # A path without its last slash is another path: a redirect would lose the body.
    app.router.redirect_slashes = False
    app.state.context = context
    return app


def _routes() -> list[Route]:
    table = [(_PREFIX + path, handlers) for path, handlers in (*_ROUTES, *_MIRRORED)]
    table += [(f"{_PREFIX}/projects/{{project}}{path}", _in_project(it)) for path, it in _MIRRORED]
    table += [
        (f"{_PREFIX}/{kind}/{{id}}/shared_access/", _of_kind(kind))
        for kind in ("jobs", "models", "datasets")
    ]
    table.append(("/blobs/{token:path}", _BLOBS))
    return [
        Route(path, handler, methods=[method])
        for path, handlers in table
        for method, handler in handlers.items()
    ]


def _in_project(handlers: dict[str, _Handler]) -> dict[str, _Handler]:
    def bind(handler: _Handler) -> _Handler:
        async def handle(request: Request) -> Response:
            require_project(context_of(request), request.path_params["project"])
            return await handler(request)

        return handle

    return {method: bind(handler) for method, handler in handlers.items()}


def _of_kind(kind: str) -> dict[str, _Handler]:
    def bind(handler: _Handler) -> _Handler:
        async def handle(request: Request) -> Response:
            request.path_params["kind"] = kind
            return await handler(request)

        return handle

    return {method: bind(handler) for method, handler in _SHARING.items()}
