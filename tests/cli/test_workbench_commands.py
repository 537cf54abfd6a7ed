"""client-config, jobs, gc, and what serve refuses; a running server is in tests/engine."""

from __future__ import annotations

import configparser
import os
import socket
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qdq.bootstrap import Tables, open_tables, open_workbench
from qdq.domain.ids import IdKind, new_id
from qdq.domain.records import Dataset, Inspection, Job, Model, ModelType, UploadState
from qdq.domain.states import JobKind, JobState

Command = Callable[..., Any]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    return tmp_path / "home"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def tables(data: Path) -> Any:
    found = open_tables(data)
    yield found
    found.close()


def add_blob(tables: Tables, folder: Path, text: str, *, age_days: float = 0.0) -> str:
    file = folder / "made"
    file.write_text(text)
    blob, _ = tables.blobs.put_file(file)
    then = time.time() - age_days * 86400
    os.utime(tables.blobs.path(blob), (then, then))
    return blob


def add_job(tables: Tables, **fields: Any) -> str:
    now = tables.repository.now()
    model_id, job_id = new_id(IdKind.MODEL), new_id(IdKind.JOB)
    tables.repository.add_model(Model(model_id, "net", ModelType.ONNX, now, UploadState.CREATED))
    tables.repository.add_job(
        Job(
            job_id,
            JobKind.PROFILE,
            fields.pop("name", "net"),
            JobState.CREATED,
            "",
            now,
            now,
            model_ids=(model_id,),
            **fields,
        ),
        None,
    )
    return job_id


def test_client_config_prints_the_file_and_nothing_else(qdq: Command, data: Path) -> None:
    result = qdq("client-config", "--data", data)
    assert result.exit_code == 0
    assert result.stderr == ""
    config = configparser.ConfigParser()
    config.read_string(result.stdout)
    assert dict(config["api"]) == {
        "api_token": (data / "token").read_text().strip(),
        "api_url": "http://127.0.0.1:8800",
        "web_url": "http://127.0.0.1:8800",
        "verbose": "True",
    }
    assert stat.S_IMODE((data / "token").stat().st_mode) == 0o600
    again = qdq("client-config", "--data", data, "--host", "::1", "--port", "9")
    assert "api_url = http://[::1]:9\n" in again.stdout
    assert again.stdout.splitlines()[1] == result.stdout.splitlines()[1]


def test_client_config_writes_and_never_overwrites(qdq: Command, data: Path, home: Path) -> None:
    path = home / ".qai_hub" / "client.ini"
    first = qdq("client-config", "--data", data, "--write")
    assert (first.exit_code, first.stdout) == (0, "")
    assert f"wrote {path}" in first.stderr
    assert path.read_text() == qdq("client-config", "--data", data).stdout
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "up to date" in qdq("client-config", "--data", data, "--write").stderr
    text = path.read_text()
    other = qdq("client-config", "--data", data, "--write", "--port", "9")
    assert other.exit_code == 1
    assert "left as it is" in other.stderr
    assert path.read_text() == text
    named = qdq("client-config", "--data", data, "--write", "--port", "9", "--profile", "local")
    assert named.exit_code == 0
    assert ":9\n" in (home / ".qai_hub" / "local.ini").read_text()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--profile", "x"), "--write"),
        (("--write", "--profile", "../x"), "name of a profile"),
        (("--write", "--profile", ""), "name of a profile"),
    ],
)
def test_client_config_wrong_usage(
    qdq: Command, data: Path, home: Path, *, words: tuple[str, ...], part: str
) -> None:
    result = qdq("client-config", "--data", data, *words)
    assert result.exit_code == 2
    assert part in result.stderr


def test_the_users_own_folder(qdq: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert qdq("client-config").exit_code == 0
    assert (home / ".local" / "share" / "qdq" / "token").exists()
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "elsewhere"))
    assert qdq("client-config").exit_code == 0
    assert (home / "elsewhere" / "qdq" / "token").exists()


@pytest.mark.parametrize("content", ["", "short", "has a % sign in it, and spaces"])
def test_a_token_that_would_break_the_client(qdq: Command, data: Path, content: str) -> None:
    data.mkdir()
    (data / "token").write_text(content)
    result = qdq("client-config", "--data", data)
    assert result.exit_code == 1
    assert "letters and digits" in result.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_serve_refuses_what_others_can_reach(qdq: Command, data: Path, host: str) -> None:
    result = qdq("serve", "--host", host, "--data", data)
    assert result.exit_code == 1
    assert "no users" in result.stderr
    assert not data.exists()


def test_serve_tells_that_the_port_is_taken(qdq: Command, data: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = qdq("serve", "--port", other.getsockname()[1], "--data", data)
    assert result.exit_code == 1
    assert "--port" in result.stderr


def test_one_server_for_a_folder(data: Path, qdq: Command) -> None:
    opened = open_workbench(data)
    try:
        result = qdq("serve", "--port", "0", "--data", data)
        assert result.exit_code == 1
        assert f"process {os.getpid()}" in result.stderr
        # What reads and what collects may work beside it.
        assert qdq("jobs", "list", "--data", data).exit_code == 0
        assert qdq("gc", "--data", data).exit_code == 0
    finally:
        opened.close()


def test_devices(qdq: Command, qdq_json: Command) -> None:
    everything = qdq_json("devices")["devices"]
    assert [row["runs"] for row in everything] == [True] + [False] * (len(everything) - 1)
    assert all(row["source"] for row in everything)
    phones = qdq_json("devices", "--attribute", "format:phone", "--attribute", "hexagon:v75")
    assert {row["name"] for row in phones["devices"]} == {
        "Samsung Galaxy S24",
        "Samsung Galaxy S24 (Family)",
    }
    shown = qdq("devices", "--attribute", "os:windows").stdout
    assert "Snapdragon X Elite CRD" in shown
    assert "windows 11" in shown
    assert qdq_json("devices", "--attribute", "no:such")["devices"] == []


def test_no_workbench(qdq: Command, data: Path) -> None:
    for words in (("jobs", "list"), ("jobs", "show", "jx"), ("gc",)):
        result = qdq(*words, "--data", data)
        assert result.exit_code == 1
        assert "There is no workbench" in result.stderr
    assert not data.exists()


def test_jobs(qdq: Command, qdq_json: Command, data: Path, tables: Tables) -> None:
    first, second = add_job(tables, name="first"), add_job(tables, name="second")
    tables.repository.claim_job("me", lease=timedelta(minutes=1))
    tables.repository.set_state(first, 1, JobState.PROVISIONING_DEVICE)
    shown = qdq("jobs", "list", "--data", data).stdout
    assert shown.index("second") < shown.index("first")
    document = qdq_json("jobs", "list", "--data", data, "--state", "running")
    assert [job["id"] for job in document["jobs"]] == [first]
    assert document["jobs"][0]["state"] == "provisioning_device"
    assert qdq("jobs", "list", "--data", data, "--state", "odd").exit_code == 2
    assert "first" in qdq("jobs", "show", first, "--data", data).stdout
    assert qdq_json("jobs", "cancel", second, "--data", data)["cancelled"]
    assert qdq_json("jobs", "show", second, "--data", data)["failure_reason"]
    assert "had ended" in qdq("jobs", "cancel", second, "--data", data).stdout
    assert qdq("jobs", "cancel", first, "--data", data).exit_code == 0
    assert "being cancelled" in qdq("jobs", "list", "--data", data).stdout
    absent = qdq("jobs", "show", "jabsent", "--data", data)
    assert absent.exit_code == 1
    assert "jabsent" in absent.stderr


def test_priority(qdq: Command, qdq_json: Command, data: Path, tables: Tables) -> None:
    first, second, third = (add_job(tables, name=name) for name in ("one", "two", "three"))
    assert "priority -5" in qdq("jobs", "priority", first, "-5", "--data", data).stdout
    done = qdq_json("jobs", "priority", third, "100", "--data", data)
    assert done == {"job": third, "priority": 100, "changed": True}
    listed = qdq_json("jobs", "list", "--data", data)["jobs"]
    assert [(job["id"], job["priority"]) for job in listed] == [
        (third, 100),
        (second, 0),
        (first, -5),
    ]
    assert "priority" in qdq("jobs", "list", "--data", data).stdout
    assert "-5" in qdq("jobs", "show", first, "--data", data).stdout
    claimed = [tables.repository.claim_job("me", lease=timedelta(minutes=1)) for _ in range(3)]
    assert [job.id for job in claimed if job] == [third, second, first]
    for words in (("101",), ("-101",), ("high",), ("5", "--oops")):
        assert qdq("jobs", "priority", first, *words, "--data", data).exit_code == 2
    tables.repository.fail_job(second, 1, reason="why", failure_type=3, artifacts={})
    assert "had ended" in qdq("jobs", "priority", second, "1", "--data", data).stdout
    assert qdq("jobs", "priority", "jabsent", "1", "--data", data).exit_code == 1


def test_the_log_of_a_running_job_and_of_an_ended_one(
    qdq: Command, data: Path, tables: Tables, tmp_path: Path
) -> None:
    job_id = add_job(tables)
    assert qdq("jobs", "logs", job_id, "--data", data).stdout == ""
    job = tables.repository.claim_job("me", lease=timedelta(minutes=1))
    assert job is not None
    folder = data / "scratch" / f"{job_id}-{job.attempt}"
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("at work\n")
    assert qdq("jobs", "logs", job_id, "--data", data).stdout == "at work\n"
    blob = add_blob(tables, tmp_path, "it is done\n")
    tables.repository.finish_job(
        job_id, job.attempt, result={}, artifacts={5: blob}, target=None, output=()
    )
    assert qdq("jobs", "logs", job_id, "-f", "--data", data).stdout == "it is done\n"


def age(data: Path, table: str, row_id: str, *, days: float) -> None:
    """Let a row be older than the clock of the database would."""
    then = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    column, key = ("updated", "id") if table == "jobs" else ("created", "id")
    key = "key" if table == "stages" else key
    with closing(sqlite3.connect(data / "store" / "workbench.sqlite3")) as connection:
        statement = f"UPDATE {table} SET {column} = ? WHERE {key} = ?"
        assert connection.execute(statement, (then, row_id)).rowcount == 1
        connection.commit()


@dataclass
class Old:
    """Rows and blobs of 40 days ago, by what shall become of them."""

    kept: set[str]
    gone: set[str]
    kept_jobs: set[str]


@pytest.fixture
def old(data: Path, tables: Tables, tmp_path: Path) -> Old:
    rows, now = tables.repository, tables.repository.now()

    def blob(text: str, age_days: float = 40) -> str:
        return add_blob(tables, tmp_path, text, age_days=age_days)

    def model(name: str, text: str, *, days: float = 40) -> str:
        content = blob(text)
        rows.add_model(Model(name, "m", ModelType.ONNX, now, UploadState.CREATED))
        rows.set_model_bytes(name, blob=content, size=1, inspection=Inspection("onnx"))
        age(data, "models", name, days=days)
        return content

    def dataset(name: str, text: str, *, expires: float) -> str:
        content = blob(text)
        rows.add_dataset(
            Dataset(name, "d", now, now + timedelta(days=expires), UploadState.CREATED)
        )
        rows.set_dataset_bytes(name, blob=content, size=1, inspection=Inspection("h5"))
        age(data, "datasets", name, days=40)
        return content

    def job(
        name: str, model_id: str, *, days: float, dataset_id: str | None = None, end: bool = True
    ) -> str:
        target = Model(f"mof{name}", "t", ModelType.ONNX, now, UploadState.CREATED)
        kind, state = JobKind.COMPILE, JobState.CREATED
        fields: dict[str, Any] = {"model_ids": (model_id,), "dataset_id": dataset_id}
        rows.add_job(Job(name, kind, "n", state, "", now, now, **fields), target)
        made = blob(f"log of {name}")
        if end:
            claimed = rows.claim_job("me", lease=timedelta(minutes=1))
            assert claimed is not None
            target_bytes = (blob(f"target of {name}"), 1, "t.onnx", Inspection("onnx"))
            rows.finish_job(name, 1, result={}, artifacts={5: made}, target=target_bytes, output=())
            assert claimed.id == name
        age(data, "jobs", name, days=days)
        age(data, "models", target.id, days=40)
        return made

    kept, gone = set(), set()
    gone |= {blob("nobody's"), model("munused", "unused"), dataset("dold", "old", expires=-1)}
    kept |= {blob("young", 1), model("myoung", "young model", days=1)}
    kept.add(dataset("dlive", "live", expires=1))
    # An old job, and what only it used.
    gone |= {model("mgone", "of the old job"), job("jgone", "mgone", days=40)}
    # A young job on the target of an old one keeps all of the old one.
    kept |= {model("mchain", "of the chain"), job("jchain", "mchain", days=40)}
    kept.add(job("jyoung", "mofjchain", days=0.5))
    # The bytes of a dataset that expired serve only the job that still waits for them.
    kept |= {model("mwait", "waits"), dataset("dwait", "waits data", expires=-1)}
    gone.add(job("jwait", "mwait", days=40, dataset_id="dwait", end=False))
    for name, days in (("skept", 1), ("sgone", 40)):
        content = blob(f"stage {name}")
        (kept if name == "skept" else gone).add(content)
        rows.put_stage(name, {"outputs": {"model.onnx": [content, 1]}, "log": None})
        age(data, "stages", name, days=days)
    for name in ("jgone", "jchain", "jyoung"):
        found = rows.get_model(f"mof{name}")
        assert found is not None
        assert found.blob is not None
        (gone if name == "jgone" else kept).add(found.blob)
    return Old(kept, gone, {"jchain", "jyoung", "jwait"})


def test_gc(qdq: Command, qdq_json: Command, data: Path, tables: Tables, old: Old) -> None:
    everything = set(tables.blobs.all())
    assert everything == old.kept | old.gone
    tried = qdq_json("gc", "--data", data, "--dry-run")
    assert tried["dry_run"]
    assert set(tables.blobs.all()) == everything
    assert tables.repository.list_jobs(offset=0, limit=99)[1] == 4
    done = qdq_json("gc", "--data", data)
    assert set(tables.blobs.all()) == old.kept
    assert done == tried | {"dry_run": False}
    assert (done["removed"], done["kept"]) == (len(old.gone), len(old.kept))
    assert [done[kind] for kind in ("jobs", "models", "datasets", "stages")] == [1, 3, 1, 1]
    jobs, _ = tables.repository.list_jobs(offset=0, limit=99)
    assert {job.id for job in jobs} == old.kept_jobs
    assert tables.repository.get_stage("sgone") is None
    assert tables.repository.get_stage("skept") is not None
    again = qdq_json("gc", "--data", data)
    assert [again[kind] for kind in ("removed", "jobs", "models", "datasets", "stages")] == [0] * 5


def test_gc_of_everything_leaves_what_is_at_work(
    qdq: Command, data: Path, tables: Tables, old: Old
) -> None:
    shown = qdq("gc", "--data", data, "--older-than", "0").stdout
    assert "removed 3 jobs" in shown
    jobs, _ = tables.repository.list_jobs(offset=0, limit=99)
    assert [job.id for job in jobs] == ["jwait"]
    assert tables.repository.get_model("mwait") is not None
    assert tables.repository.get_dataset("dwait") is not None
    assert len(tables.blobs.all()) == 3  # the model, its data, and the dataset that has not expired


def test_gc_beside_a_server_spares_what_is_young(
    qdq_json: Command, data: Path, tables: Tables, tmp_path: Path, old: Old
) -> None:
    opened = open_workbench(data)
    try:
        hours = add_blob(tables, tmp_path, "a few hours old", age_days=0.5)
        job_id = add_job(tables)
        done = qdq_json("gc", "--data", data, "--older-than", "0")
    finally:
        opened.close()
    assert tables.blobs.exists(hours)
    assert tables.repository.get_job(job_id) is not None
    assert done["jobs"] == 1
    assert qdq_json("gc", "--data", data, "--older-than", "0")["removed"] >= 1
    assert not tables.blobs.exists(hours)
