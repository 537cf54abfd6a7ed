"""Several processes and threads on one file, and some that are killed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import store_worker
from store_help import LEASE, job

from qdq.domain.states import JobState
from qdq.store import open_store
from qdq.store.database import FILE_NAME

SCRIPT = Path(store_worker.__file__)


@contextmanager
def process(role: str, folder: Path, *rest: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, str(SCRIPT), role, str(folder), *rest],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def check_file(folder: Path) -> None:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_two_processes_share_200_jobs(tmp_path: Path) -> None:
    repository = open_store(tmp_path)
    with (
        process("claim", tmp_path, "a", "200") as first,
        process("claim", tmp_path, "b", "200") as second,
    ):
        end = time.monotonic() + 60
        while not all((tmp_path / f"ready-{name}").exists() for name in "ab"):
            assert time.monotonic() < end, "a process did not start"
            time.sleep(0.01)
        for number in range(200):
            store_worker.submit(repository, f"j{number}")
        claimed = []
        for child in (first, second):
            out, err = child.communicate(timeout=60)
            assert (child.returncode, err) == (0, "")
            claimed.append(out.split())
    assert sorted(claimed[0] + claimed[1]) == sorted(f"j{number}" for number in range(200))
    assert all(claimed), "one process did all the work"
    rows, total = repository.list_jobs(offset=0, limit=1000)
    assert total == 200
    assert {(row.state, row.attempt, row.retries) for row in rows} == {(JobState.DONE, 1, 0)}
    repository.close()
    check_file(tmp_path)


def test_threads_share_one_repository(tmp_path: Path) -> None:
    repository = open_store(tmp_path)

    def work(number: int) -> list[str]:
        mine = []
        for turn in range(10):
            store_worker.submit(repository, f"j{number}x{turn}")
            repository.list_jobs(offset=0, limit=5)
            found = repository.claim_job(str(number), lease=LEASE)
            assert found is not None
            store_worker.finish(repository, found)
            mine.append(found.id)
        return mine

    with ThreadPoolExecutor(12) as pool:
        claimed = [job_id for mine in pool.map(work, range(12)) for job_id in mine]
    assert len(claimed) == len(set(claimed)) == 120
    repository.close()


def test_processes_open_a_new_folder_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from qdq.store import open_store\n"
        "open_store(Path(sys.argv[1])).put_stage(sys.argv[2], {})"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "new"), str(number)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(6)
    ]
    for child in children:
        _, err = child.communicate(timeout=60)
        assert (child.returncode, err) == (0, "")
    repository = open_store(tmp_path / "new")
    assert all(repository.get_stage(str(number)) == {} for number in range(6))
    repository.close()


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    repository = open_store(tmp_path)
    store_worker.submit(repository, "j1")
    with process("die", tmp_path) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "inside\n"
        begun = time.monotonic()
        found = repository.get_job("j1")
        assert time.monotonic() - begun < 1.0
    assert found is not None
    assert (found.state, found.name) == (JobState.CREATED, "")
    repository.close()


def test_a_writer_killed_inside_leaves_nothing_of_it(tmp_path: Path) -> None:
    repository = open_store(tmp_path)
    store_worker.submit(repository, "j1")
    with process("die", tmp_path) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "inside\n"
        waiting: list[object] = []
        thread = threading.Thread(
            target=lambda: waiting.append(repository.claim_job("w", lease=LEASE))
        )
        thread.start()
        thread.join(0.2)
        assert waiting == []  # the lock is held
        child.kill()
        thread.join(20)
    assert waiting
    assert getattr(waiting[0], "attempt", None) == 1
    found, target = repository.get_job("j1"), repository.get_model("mj1")
    assert found is not None
    assert target is not None
    assert (found.state, found.name, target.blob) == (JobState.CREATED, "", None)
    repository.close()
    check_file(tmp_path)


@pytest.mark.parametrize("kill_round", range(4))
def test_a_writer_killed_at_any_time_keeps_what_it_was_told(
    tmp_path: Path, kill_round: int
) -> None:
    with process("write", tmp_path, "w") as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.05 + 0.037 * kill_round)
        child.kill()
        told = ["jw1", *child.stdout.read().split("\n")[:-1]]
    check_file(tmp_path)
    repository = open_store(tmp_path)
    for job_id in told:
        found = repository.get_job(job_id)
        assert found is not None
        assert found.state is JobState.DONE
    rows, total = repository.list_jobs(offset=0, limit=10_000)
    assert len(told) <= total <= len(told) + 1
    for row in rows:
        target = repository.get_model(f"m{row.id}")
        assert target is not None
        assert (target.blob is not None) == (row.state is JobState.DONE)
    repository.add_job(job("jnew"), None)
    repository.close()
