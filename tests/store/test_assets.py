"""Models, datasets and finished stages, as any Repository keeps them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from store_help import BAD, INSPECTION, Adapter, dataset, job, model

from qdq.base.errors import InternalError
from qdq.domain.records import ModelType, UploadState
from qdq.ports.repository import Repository


def test_now_is_utc_and_close_to_ours(repository: Repository) -> None:
    now = repository.now()
    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=60)
    assert repository.now() >= now


def test_unknown_ids_are_none(repository: Repository) -> None:
    assert repository.get_model("m9") is None
    assert repository.get_dataset("d9") is None
    assert repository.get_job("j9") is None
    assert repository.get_stage("k") is None


def test_a_model_comes_back_with_the_time_of_the_database(repository: Repository) -> None:
    given = model(
        type=ModelType.AIMET_ONNX,
        is_directory=True,
        filename="a 'b\".zip",
        metadata={1: "2.4", 30: "x"},
        hidden=True,
        size=2**40,
    )
    before = repository.now()
    repository.add_model(given)
    found = repository.get_model("m1")
    assert found is not None
    assert before <= found.created <= repository.now()
    assert replace(found, created=given.created) == given


def test_a_dataset_comes_back_with_its_expiry(repository: Repository) -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    given = dataset(permanent=True, expires=datetime(2050, 1, 2, 3, 4, 5, 678000, tzinfo=zone))
    before = repository.now()
    repository.add_dataset(given)
    found = repository.get_dataset("d1")
    assert found is not None
    assert before <= found.created <= repository.now()
    assert replace(found, created=given.created) == given
    assert found.expires.utcoffset() == timedelta(0)


def test_an_id_is_given_once(repository: Repository) -> None:
    repository.add_model(model(name="first"))
    with pytest.raises(InternalError, match=r"models\.id"):
        repository.add_model(model(name="second"))
    found = repository.get_model("m1")
    assert found is not None
    assert found.name == "first"


def test_bytes_of_a_model(repository: Repository) -> None:
    repository.add_model(model())
    repository.set_model_bytes("m1", blob="b1", size=7, inspection=INSPECTION)
    found = repository.get_model("m1")
    assert found is not None
    assert (found.upload, found.blob, found.size) == (UploadState.READY, "b1", 7)
    assert found.inspection == INSPECTION


def test_bytes_of_a_dataset(repository: Repository) -> None:
    repository.add_dataset(dataset())
    repository.set_dataset_bytes("d1", blob="b1", size=7, inspection=INSPECTION)
    found = repository.get_dataset("d1")
    assert found is not None
    assert (found.upload, found.blob, found.size) == (UploadState.READY, "b1", 7)
    assert found.inspection == INSPECTION


def test_bad_bytes_may_be_replaced_and_good_ones_may_not(repository: Repository) -> None:
    repository.add_model(model())
    repository.set_model_bytes("m1", blob="bad", size=1, inspection=BAD)
    found = repository.get_model("m1")
    assert found is not None
    assert (found.upload, found.inspection) == (UploadState.BAD, BAD)
    for blob in ("good", "late"):
        repository.set_model_bytes("m1", blob=blob, size=2, inspection=INSPECTION)
        found = repository.get_model("m1")
        assert found is not None
        assert (found.upload, found.blob) == (UploadState.READY, "good")


def test_only_uploads_take_bytes(repository: Repository) -> None:
    repository.add_job(job(), model("mt"))
    for model_id in ("m9", "mt"):
        with pytest.raises(InternalError, match=model_id):
            repository.set_model_bytes(model_id, blob="b", size=1, inspection=INSPECTION)
    with pytest.raises(InternalError, match="d9"):
        repository.set_dataset_bytes("d9", blob="b", size=1, inspection=INSPECTION)
    target = repository.get_model("mt")
    assert target is not None
    assert target.blob is None


def test_lists_are_newest_first_with_the_total(repository: Repository) -> None:
    for number in range(7):
        repository.add_model(model(f"m{number}"))
        repository.add_dataset(dataset(f"d{number}"))
    found, total = repository.list_models(offset=2, limit=3)
    assert ([it.id for it in found], total) == (["m4", "m3", "m2"], 7)
    data, total = repository.list_datasets(offset=5, limit=50)
    assert ([it.id for it in data], total) == (["d1", "d0"], 7)
    assert repository.list_datasets(offset=99, limit=50) == ([], 7)
    assert repository.list_models(offset=0, limit=0) == ([], 7)


def test_models_of_a_producer(repository: Repository) -> None:
    repository.add_model(model("m1"))
    repository.add_job(job("j1"), model("mt", hidden=True))
    found, total = repository.list_models(offset=0, limit=9, producer="j1")
    assert ([it.id for it in found], total) == (["mt"], 1)
    assert repository.list_models(offset=0, limit=9, producer="j2") == ([], 0)
    assert repository.list_models(offset=0, limit=9)[1] == 2


def test_a_stage_is_kept_and_replaced(repository: Repository) -> None:
    repository.put_stage("key", {"answer": {"a": [1.5, None]}, "outputs": {"m": ["f" * 64, 3]}})
    assert repository.get_stage("key") == {
        "answer": {"a": [1.5, None]},
        "outputs": {"m": ["f" * 64, 3]},
    }
    repository.put_stage("key", {"answer": {}})
    assert repository.get_stage("key") == {"answer": {}}
    assert repository.get_stage("other") is None


def test_live_blobs_are_all_that_rows_name(adapter: Adapter) -> None:
    repository = adapter.repository
    names = {letter: letter * 64 for letter in "abcdef"}
    repository.add_model(model())
    repository.set_model_bytes("m1", blob=names["a"], size=1, inspection=INSPECTION)
    repository.add_dataset(dataset())
    repository.set_dataset_bytes("d1", blob=names["b"], size=1, inspection=INSPECTION)
    repository.put_stage("k", {"outputs": {"x": [names["c"], 3]}})
    repository.add_job(job(), model("mt"))
    claimed = repository.claim_job("w", lease=timedelta(seconds=9))
    assert claimed is not None
    assert repository.finish_job(
        "j1",
        1,
        result={"report": {"at": names["d"]}},
        artifacts={5: names["e"]},
        target=(names["f"], 1, "x", INSPECTION),
        output=(),
    )
    found = repository.prune(older_than=timedelta(days=1), dry_run=True)
    assert found.live == frozenset(names.values())


def test_times_do_not_come_from_the_caller(adapter: Adapter) -> None:
    adapter.forward(3600)
    adapter.repository.add_model(model())
    found = adapter.repository.get_model("m1")
    assert found is not None
    assert found.created > datetime.now(UTC) + timedelta(minutes=59)
