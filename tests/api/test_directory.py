"""Who may ask, what there is, and how errors look."""

from __future__ import annotations

import pytest

from qdq.api.wire import workbench_pb2 as pb
from service.workbench_fakes import IMAGE, ONNX_ANSWER

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "header", [None, "", "token", "token wrong", "Bearer abc123", "token abc1234"]
)
async def test_a_wrong_token_is_401(wire, header):
    headers = {} if header is None else {"Authorization": header}
    for path in ("devices/", "models/", "nonsense/"):
        found = await wire.http.get(f"/api/v1/{path}", headers=headers)
        assert found.status_code == 401
        assert "detail" in found.json()


async def test_clients_that_are_too_old_are_told(wire):
    wire.version = "0.9.1"
    assert "0.50" in await wire.refused(426, "GET", "devices/")
    for version in ("0.50.0", "0.56.0", "1.0", "", "strange"):
        wire.version = version
        await wire.ask(pb.DeviceList, "GET", "devices/")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "nothing/"),
        ("GET", "devices"),
        ("DELETE", "devices/"),
        ("PUT", "jobs/"),
        ("GET", ""),
    ],
)
async def test_other_paths_and_methods_are_404_with_a_text(wire, method, path):
    assert method in await wire.refused(404, method, path)


async def test_an_unexpected_error_is_500_and_tells_nothing(wire, monkeypatch):
    def fail(*args, **kwargs):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(wire.room.workbench.devices, "find", fail)
    assert "secret" not in await wire.refused(500, "GET", "devices/")


async def test_devices(wire):
    everything = await wire.ask(pb.DeviceList, "GET", "devices/", name="", os="", select="False")
    assert everything.total_query_count == len(everything.devices) > 10
    assert everything.devices[0].name == "Host (Test CPU)"
    found = await wire.ask(
        pb.DeviceList, "GET", "devices/", name="", os="[13,15)",
        attributes=["format:phone", "vendor:samsung"],
    )  # fmt: skip
    assert {it.os for it in found.devices} == {"13", "14"}
    one = await wire.ask(
        pb.DeviceList, "GET", "devices/", os="", select="True", attributes="hexagon:v75"
    )
    assert len(one.devices) == 1
    assert one.devices[0].soc_description == "Snapdragon 8 Gen 3"
    none = await wire.ask(pb.DeviceList, "GET", "devices/", name="Nokia 3310", select="True")
    assert not none.devices
    await wire.refused(400, "GET", "devices/", os="[13")


async def test_frameworks_user_status_login(wire):
    found = await wire.ask(pb.FrameworkList, "GET", "frameworks/")
    assert found.frameworks[0].name == "ONNX Runtime"
    assert found.frameworks[0].full_version.startswith(found.frameworks[0].api_version)
    user = await wire.ask(pb.User, "GET", "users/auth/user/")
    assert user.email == "user@localhost"
    assert not user.HasField("token")
    await wire.ask(pb.ServiceStatus, "GET", "status/")
    refused = await wire.http.post(
        "/api/v1/users/auth/login/", json={"email": "a", "password": "b"}
    )
    assert refused.status_code == 400


async def test_projects_mirror_the_lists(wire):
    made = await wire.ask(
        pb.CreateUpdateResponse,
        "POST",
        "projects/default/models/",
        pb.Model(name="m", model_type=6),
    )
    await wire.ask(
        pb.CreateUpdateResponse, "POST", "projects/default/datasets/", pb.Dataset(name="d")
    )
    models = await wire.ask(pb.ModelList, "GET", "projects/default/models/")
    assert [it.model_id for it in models.models] == [made.id]
    assert (
        await wire.ask(pb.DatasetList, "GET", "projects/default/datasets/")
    ).total_query_count == 1
    assert (
        await wire.ask(pb.JobSummaryList, "GET", "projects/default/job_summaries/")
    ).ByteSize() == 0
    await wire.refused(400, "POST", "projects/default/jobs/", pb.Job())


async def test_there_is_one_project(wire):
    user = await wire.ask(pb.User, "GET", "users/auth/user/")
    assert user.default_project_slug == "default"
    for name in (user.default_project_id, user.default_project_slug):
        await wire.ask(pb.ModelList, "GET", f"projects/{name}/models/")
    model_id = await wire.upload_model()
    assert (await wire.ask(pb.Model, "GET", f"models/{model_id}/")).project_id == (
        user.default_project_id
    )
    job_id = await wire.compile()
    assert (await wire.job(job_id)).compile_job.project_id == user.default_project_id
    for kind in ("models", "jobs", "job_summaries", "datasets"):
        assert "'other'" in await wire.refused(404, "GET", f"projects/other/{kind}/")
    body = pb.Dataset(name="d", project_id="other")
    assert "'other'" in await wire.refused(404, "POST", "datasets/", body)


async def test_models_are_listed_by_producer(wire):
    job_id = await wire.compile()
    found = await wire.ask(pb.ModelList, "GET", "models/", producer=job_id)
    assert [it.producer_id for it in found.models] == [job_id]
    assert found.total_query_count == 1
    await wire.refused(400, "PATCH", f"models/{found.models[0].model_id}/", pb.Model(name="x"))


async def test_specs_leave_out_what_clients_cannot_read(wire):
    odd = {"name": "s", "dtype": "string", "shape": [1]}
    quantized = {**IMAGE, "name": "q", "dtype": "uint8", "scale": 0.5, "zero_point": 128}
    wire.room.stages.answers["inspect_model"] = {**ONNX_ANSWER, "inputs": [odd, IMAGE, quantized]}
    model_id = await wire.upload_model()
    types = (await wire.ask(pb.Model, "GET", f"models/{model_id}/")).input_spec.types
    assert [it.name for it in types] == ["image", "q"]
    assert not types[0].tensor_type.HasField("scale")
    assert (types[1].tensor_type.scale, types[1].tensor_type.zero_point) == (0.5, 128.0)
    assert all(it.tensor_type.dtype != pb.TENSOR_DTYPE_UNSPECIFIED for it in types)


async def test_sharing_with_nobody(wire):
    made = {
        "jobs": await wire.compile(),
        "models": await wire.upload_model(),
        "datasets": await wire.upload_dataset(),
    }
    for kind, name in made.items():
        path = f"{kind}/{name}/shared_access/"
        assert not (await wire.ask(pb.SharedAccess, "GET", path)).email
        stranger = pb.SharedAccessChange(add_email=["a@b.c"])
        assert "a@b.c" in await wire.refused(400, "PATCH", path, stranger)
        gone = pb.SharedAccessChange(remove_email=["a@b.c"])
        assert (await wire.ask(pb.CreateUpdateResponse, "PATCH", path, gone)).id == name
        assert (await wire.ask(pb.CreateUpdateResponse, "DELETE", path)).id == name
        await wire.refused(404, "GET", f"{kind}/{kind[0]}nothing/shared_access/")


async def test_names_and_types_of_models_are_checked(wire):
    await wire.refused(400, "POST", "models/", pb.Model(name="x", model_type=10))
    await wire.refused(400, "POST", "models/", pb.Model(name="x" * 300, model_type=6))
    await wire.refused(404, "GET", "models/dsomething/")
    await wire.refused(404, "GET", "jobs/j..%2F..%2Fx/")
