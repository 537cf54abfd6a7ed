"""Uploads and downloads: both forms, retries, limits, signed links."""

from __future__ import annotations

import httpx
import pytest

from qdq.api.wire import workbench_pb2 as pb
from qdq.base.errors import ModelCorruptError
from qdq.domain.states import JobState

pytestmark = pytest.mark.anyio
FLAG = {"supports_s3_credentials": "true"}


async def test_a_model_goes_up_in_parts_and_comes_down_whole(wire):
    data = bytes(range(256)) * 10
    model_id = await wire.upload_model(data)
    model = await wire.ask(pb.Model, "GET", f"models/{model_id}/")
    assert model.file_upload_complete
    assert [it.name for it in model.input_spec.types] == ["image"]
    assert list(model.input_spec.types[0].tensor_type.shape) == [1, 3, 8, 8]
    link = await wire.ask(pb.FileDownloadResponse, "GET", f"models/{model_id}/download/", **FLAG)
    assert link.url.filename == "net.onnx"
    # On the host the client called, or it blames another service.
    assert link.url.url.startswith("http://127.0.0.1:8800/")
    found = await wire.http.get(link.url.url)
    assert found.content == data
    assert found.headers["content-length"] == str(len(data))
    assert "net.onnx" in found.headers["content-disposition"]
    head = await wire.http.head(link.url.url)
    assert (head.status_code, head.content) == (200, b"")


async def test_the_host_of_links_is_the_request_s(wire):
    model_id = await wire.upload_model()
    answer = await wire.http.get(
        f"/api/v1/models/{model_id}/download/",
        headers={"Authorization": "token abc123", "Host": "bench.example:99"},
    )
    assert pb.FileDownloadURL.FromString(answer.content).url.startswith("http://bench.example:99/")


async def test_old_clients_get_the_old_messages(wire):
    wire.version = "0.50.0"
    made = await wire.ask(
        pb.CreateUpdateResponse, "POST", "models/", pb.Model(name="m", model_type=6)
    )
    link = await wire.ask(
        pb.FileMultipartUploadURL, "GET", f"models/{made.id}/multipart_upload/", file_size=3
    )
    assert len(link.urls) == 1
    assert link.max_part_size >= 1
    data = await wire.ask(pb.CreateUpdateResponse, "POST", "datasets/", pb.Dataset(name="d"))
    form = await wire.ask(pb.FileUploadURL, "GET", f"datasets/{data.id}/upload_url/")
    assert form.file_field_name
    dataset_id = await wire.upload_dataset(b"values")
    down = await wire.ask(pb.FileDownloadURL, "GET", f"datasets/{dataset_id}/download_data/")
    assert (await wire.http.get(down.url)).content == b"values"
    assert down.filename == "samples.h5"


async def _parts(wire, size: int = 5):
    made = await wire.ask(
        pb.CreateUpdateResponse, "POST", "models/", pb.Model(name="m", model_type=6)
    )
    path = f"models/{made.id}/multipart_upload/"
    link = await wire.ask(pb.FileUploadResponse, "GET", path, file_size=size, **FLAG)
    return path, link.multipart_url


async def test_a_part_may_be_sent_again(wire):
    path, link = await _parts(wire)
    tags = [(await wire.http.put(link.urls[0], content=it)).headers["etag"] for it in
            (b"wrong", b"right", b"right")]  # fmt: skip
    assert tags[1] == tags[2] != tags[0]
    assert tags[0].startswith('"')
    done = pb.FileMultipartUploadComplete(upload_id=link.upload_id, etags=tags[2:])
    for _ in range(2):
        answer = await wire.ask(pb.CreateUpdateResponse, "POST", path, done)
        assert answer.status == ""
    blob = wire.room.repository.models[answer.id].blob
    assert wire.room.blobs.path(blob).read_bytes() == b"right"


async def test_parts_have_their_size(wire):
    _, link = await _parts(wire)
    assert (await wire.http.put(link.urls[0], content=b"123456")).status_code == 413
    assert (await wire.http.put(link.urls[0], content=b"1234")).status_code == 400

    async def unknown_length():
        for _ in range(3):
            yield b"123"

    assert (await wire.http.put(link.urls[0], content=unknown_length())).status_code == 413
    assert not wire.room.blobs.parts


async def test_files_over_the_limit_are_refused_before_they_are_sent(wire):
    model = await wire.ask(
        pb.CreateUpdateResponse, "POST", "models/", pb.Model(name="m", model_type=6)
    )
    path = f"models/{model.id}/multipart_upload/"
    assert "5,000" in await wire.refused(413, "GET", path, file_size=5001)
    await wire.refused(400, "GET", path)
    await wire.refused(400, "GET", path, file_size="-1")
    data = await wire.ask(pb.CreateUpdateResponse, "POST", "datasets/", pb.Dataset(name="d"))
    await wire.refused(413, "GET", f"datasets/{data.id}/upload_url/", file_size=5001)
    form = await wire.ask(pb.FileUploadURL, "GET", f"datasets/{data.id}/upload_url/")
    sent = await wire.http.post(form.url, files={"file": ("model", b"x" * 5001)})
    assert sent.status_code == 413
    assert "detail" in sent.json()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/form-data; boundary=x"),
        (b"--x--\r\n", "multipart/form-data; boundary=x"),
        (b"hello", "text/plain"),
        (b"hello", "multipart/form-data"),
        (b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ncut',
         "multipart/form-data; boundary=x"),
    ],
)  # fmt: skip
async def test_bad_forms_are_refused(wire, body, content_type):
    data = await wire.ask(pb.CreateUpdateResponse, "POST", "datasets/", pb.Dataset(name="d"))
    form = await wire.ask(pb.FileUploadURL, "GET", f"datasets/{data.id}/upload_url/")
    sent = await wire.http.post(form.url, content=body, headers={"Content-Type": content_type})
    assert sent.status_code == 400
    assert not wire.room.blobs.parts
    await wire.refused(400, "PATCH", f"datasets/{data.id}/", pb.Dataset(file_upload_complete=True))


async def test_links_are_for_one_verb_one_object_and_a_time(wire):
    _, link = await _parts(wire)
    url = link.urls[0]
    assert (await wire.http.get(url)).status_code == 403
    assert (await wire.http.post(url, content=b"x")).status_code == 403
    assert (
        await wire.http.put(url.replace("part%2Fm", "part%2Fn"), content=b"x")
    ).status_code == 403
    wire.room.blobs.expired = True
    assert (await wire.http.put(url, content=b"12345")).status_code == 403
    assert (await wire.http.get("/blobs/nonsense")).status_code == 403


async def test_a_corrupt_model_is_told_when_it_is_confirmed(wire):
    wire.room.stages.answers["inspect_model"] = ModelCorruptError("It is cut off")
    path, link = await _parts(wire)
    tag = (await wire.http.put(link.urls[0], content=b"12345")).headers["etag"]
    done = pb.FileMultipartUploadComplete(upload_id=link.upload_id, etags=[tag])
    assert "cut off" in await wire.refused(400, "POST", path, done)


async def test_downloads_say_why_there_is_nothing(wire):
    await wire.refused(404, "GET", "models/mnothing/download/", **FLAG)
    await wire.refused(404, "GET", "datasets/dnothing/download_data/")
    job_id = await wire.compile()
    target = (await wire.job(job_id)).compile_job.target_model.model_id
    wire.room.repository.change(job_id, state=JobState.FAILED, failure_reason="Op Foo.")
    assert "Op Foo" in await wire.refused(404, "GET", f"models/{target}/download/", **FLAG)


async def test_a_deleted_blob_is_404(wire):
    model_id = await wire.upload_model()
    link = await wire.ask(pb.FileDownloadURL, "GET", f"models/{model_id}/download/")
    wire.room.blobs.delete(wire.room.repository.models[model_id].blob)
    found: httpx.Response = await wire.http.get(link.url)
    assert found.status_code == 404
    await wire.refused(404, "GET", f"models/{model_id}/download/")


async def test_a_permanent_dataset_has_a_far_end_where_clients_need_one(wire):
    made = await wire.ask(
        pb.CreateUpdateResponse, "POST", "datasets/", pb.Dataset(name="d", permanent=True)
    )
    assert made.expiration_time.seconds > 4_000_000_000
    found = await wire.ask(pb.Dataset, "GET", f"datasets/{made.id}/")
    assert found.permanent
    assert not found.HasField("expiration_time")
