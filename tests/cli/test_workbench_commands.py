"""client-config, jobs, gc, and what serve refuses; a running server is in tests/engine."""

from __future__ import annotations

import configparser
import os
import socket
import stat
import time
from collections.abc import Callable
from datetime import timedelta
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
        result = qdq("gc", "--data", data)
        assert result.exit_code == 1
        assert f"process {os.getpid()}" in result.stderr
    finally:
        opened.close()
    assert qdq("gc", "--data", data).exit_code == 0


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


def test_gc(qdq: Command, qdq_json: Command, data: Path, tables: Tables, tmp_path: Path) -> None:
    def blob(text: str, age: float = 40) -> str:
        return add_blob(tables, tmp_path, text, age_days=age)

    rows, now = tables.repository, tables.repository.now()
    kept = [blob("of a model"), blob("young", 1), blob("a live dataset"), blob("log"), blob("rep")]
    gone = [blob("nobody's"), blob("expired")]
    rows.add_model(Model("mx", "m", ModelType.ONNX, now, UploadState.CREATED))
    rows.set_model_bytes("mx", blob=kept[0], size=1, inspection=Inspection("onnx"))
    for name, days, content in (("dlive", 1, kept[2]), ("dold", -1, gone[1])):
        expires = now + timedelta(days=days)
        rows.add_dataset(Dataset(name, "d", now, expires, UploadState.CREATED))
        rows.set_dataset_bytes(name, blob=content, size=1, inspection=Inspection("h5"))
    job_id = add_job(tables)
    rows.claim_job("me", lease=timedelta(minutes=1))
    rows.finish_job(
        job_id, 1, result={"report": kept[4]}, artifacts={5: kept[3]}, target=None, output=()
    )
    tried = qdq_json("gc", "--data", data, "--dry-run")
    assert (tried["removed"], tried["dry_run"]) == (2, True)
    assert set(tables.blobs.all()) == {*kept, *gone}
    assert "removed 2 files" in qdq("gc", "--data", data).stdout
    assert set(tables.blobs.all()) == set(kept)
    assert qdq_json("gc", "--data", data, "--days", "0")["removed"] == 1
    assert set(tables.blobs.all()) == {*kept} - {kept[1]}
