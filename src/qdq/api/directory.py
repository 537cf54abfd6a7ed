"""Handlers of what there is: devices, frameworks, the user, the status; and of sharing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from qdq.api.answers import protobuf
from qdq.api.context import context_of, read_body, read_message, run
from qdq.api.translate.values import device_to_wire, user_to_wire
from qdq.api.wire import workbench_pb2 as pb
from qdq.base.errors import RequestError
from qdq.service.frameworks import frameworks
from qdq.service.workbench import Workbench

__all__ = [
    "change_sharing",
    "get_sharing",
    "get_status",
    "get_user",
    "list_devices",
    "list_frameworks",
    "log_in",
    "stop_sharing",
]

_SHARED: dict[str, Callable[[Workbench], Callable[[str], Any]]] = {
    "jobs": lambda workbench: workbench.jobs.get,
    "models": lambda workbench: workbench.models.get,
    "datasets": lambda workbench: workbench.datasets.get,
}


async def list_devices(request: Request) -> Response:
    """GET devices/: all that match, or with ``select`` the one that a job would use."""
    devices = context_of(request).workbench.devices
    query = request.query_params
    name, os = query.get("name", ""), query.get("os", "")
    attributes = [it for it in query.getlist("attributes") if it]
    if query.get("select", "").lower() == "true":
        one = devices.select(name=name, os=os, attributes=attributes)
        found = tuple(it for it in (one,) if it is not None)
    else:
        found = devices.find(name=name, os=os, attributes=attributes)
    rows = [device_to_wire(it, devices.soc_description(it)) for it in found]
    return protobuf(pb.DeviceList(devices=rows, total_query_count=len(rows)))


async def list_frameworks(request: Request) -> Response:
    """GET frameworks/."""
    del request
    rows = [
        pb.Framework(
            name=it.name,
            api_version=it.api_version,
            api_tags=it.tags,
            full_version=it.full_version,
        )
        for it in await run(frameworks)
    ]
    return protobuf(pb.FrameworkList(frameworks=rows, total_query_count=len(rows)))


async def get_user(request: Request) -> Response:
    """GET users/auth/user/."""
    return protobuf(user_to_wire(context_of(request).account))


async def log_in(request: Request) -> Response:
    """POST users/auth/login/: there are no passwords here."""
    await read_body(request)
    raise RequestError(
        "This workbench has no passwords", remedy="Take the token from 'qdq client-config'"
    )


async def get_status(request: Request) -> Response:
    """GET status/."""
    del request
    return protobuf(pb.ServiceStatus())


async def get_sharing(request: Request) -> Response:
    """GET {jobs,models,datasets}/ID/shared_access/."""
    await _must_exist(request)
    return protobuf(pb.SharedAccess(email=context_of(request).sharing.emails()))


async def change_sharing(request: Request) -> Response:
    """PATCH {jobs,models,datasets}/ID/shared_access/."""
    asked = await read_message(request, pb.SharedAccessChange)
    await _must_exist(request)
    sharing = context_of(request).sharing
    sharing.change(add=list(asked.add_email), remove=list(asked.remove_email))
    return protobuf(pb.CreateUpdateResponse(id=request.path_params["id"]))


async def stop_sharing(request: Request) -> Response:
    """DELETE {jobs,models,datasets}/ID/shared_access/."""
    await _must_exist(request)
    return protobuf(pb.CreateUpdateResponse(id=request.path_params["id"]))


async def _must_exist(request: Request) -> None:
    look = _SHARED[request.path_params["kind"]](context_of(request).workbench)
    await run(look, request.path_params["id"])
