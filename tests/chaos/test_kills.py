"""kill -9 of the server and of its children: nothing is lost, nothing twice, no wrong bytes."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.assets import samples
from chaos.protocol import Caller
from chaos.servers import MortalServer, alive
from chaos.storm import Killer, Order, order_jobs
from chaos.witness import Change, call_witness, hear_witness
from qdq.bootstrap import Tables, open_tables
from qdq.dataset import write_h5
from qdq.domain.records import Job
from qdq.domain.states import JobState

SEED = int(os.environ.get("QDQ_CHAOS_SEED", "20"))
# What a killed process may end a job with, at last.
INFRASTRUCTURE = {2001, 2002, 2004}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MortalServer]:
    mortal = MortalServer(tmp_path)
    yield mortal
    mortal.stop()


@pytest.mark.medium
@pytest.mark.timeout(300)
def test_fifteen_seconds_of_kills(server: MortalServer, tmp_path: Path) -> None:
    storm(server, tmp_path, jobs=12, seconds=15)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_minute_of_kills(server: MortalServer, tmp_path: Path) -> None:
    storm(server, tmp_path, jobs=40, seconds=60)


def storm(server: MortalServer, folder: Path, *, jobs: int, seconds: float) -> None:
    server.start()
    server.stop()
    call_witness(server.data)
    server.start()
    dataset = upload_samples(server, folder)
    killer = Killer(server, SEED)
    hand = threading.Thread(target=killer.run, args=(seconds,), name="killer")
    hand.start()
    try:
        # The last ones come a while before the end, so that they too are hit.
        orders, repeats = order_jobs(server, jobs, dataset=dataset, seconds=seconds * 0.75)
    finally:
        hand.join()
    ended = sum(state.is_final for state in states(server, orders))
    calm = time.monotonic()
    until_terminal(server, orders, seconds=120)
    calm = time.monotonic() - calm
    left = alive(server.killed, seconds=10)
    downloads = downloaded(server, orders)
    server.stop()
    show(folder, server, orders, killer, repeats=repeats, ended=ended, calm=calm)
    assert not left
    assert len(orders) == jobs
    assert min(killer.kills["server"], killer.kills["child"]) >= seconds / 15
    tables = open_tables(server.data)
    try:
        check_rows(tables, orders, repeats=repeats)
        check_bytes(tables, orders, downloads)
    finally:
        tables.close()
    check_changes(hear_witness(server.data))
    assert not list((server.data / "scratch" / "logs").glob("*"))


def upload_samples(server: MortalServer, folder: Path) -> str:
    write_h5(folder / "samples.h5", {"image": samples()})
    caller = Caller(server.port, server.token)
    try:
        return caller.upload_dataset((folder / "samples.h5").read_bytes())
    finally:
        caller.close()


def until_terminal(server: MortalServer, orders: list[Order], *, seconds: float) -> None:
    end = time.monotonic() + seconds
    tables = open_tables(server.data)
    try:
        while left := [it for it in orders if not job_of(tables, it).state.is_final]:
            assert time.monotonic() < end, f"{len(left)} jobs never ended: {left}"
            time.sleep(0.2)
    finally:
        tables.close()


def states(server: MortalServer, orders: list[Order]) -> list[JobState]:
    tables = open_tables(server.data)
    try:
        return [job_of(tables, order).state for order in orders]
    finally:
        tables.close()


def downloaded(server: MortalServer, orders: list[Order]) -> dict[str, str]:
    """Return the SHA-256 of what each job that is done hands out, by its id."""
    caller, tables = Caller(server.port, server.token), open_tables(server.data)
    found = {}
    try:
        for order in orders:
            job = job_of(tables, order)
            if job.state is not JobState.DONE:
                continue
            if job.target_model_id:
                found[job.id] = caller.digest(f"models/{job.target_model_id}/download/")
            else:
                found[job.id] = caller.digest(f"datasets/{job.output_dataset_id}/download_data/")
    finally:
        caller.close()
        tables.close()
    return found


def check_rows(tables: Tables, orders: list[Order], *, repeats: int) -> None:
    """Every job is there and has ended; what nobody ordered is a submit whose answer was cut."""
    rows, total = tables.repository.list_jobs(offset=0, limit=1000)
    ids = {row.id for row in rows}
    assert {order.job_id for order in orders} <= ids
    assert len(ids) == total <= len(orders) + repeats
    for job in rows:
        assert job.state.is_final
        assert job.lease_until is None
        assert job.completed is not None
        if job.state is JobState.FAILED:
            assert job.failure_reason
            assert job.failure_type in INFRASTRUCTURE, job.failure_reason
            assert job.retries >= 2
            assert job.result is None
        else:
            assert job.failure_reason is None
            assert job.result


def check_bytes(tables: Tables, orders: list[Order], downloads: dict[str, str]) -> None:
    """A job that is done has bytes that are what their name says, and they are what it serves."""
    repository, blobs = tables.repository, tables.blobs
    for name in blobs.all():
        assert hashlib.sha256(blobs.path(name).read_bytes()).hexdigest() == name
    datasets, _ = repository.list_datasets(offset=0, limit=1000)
    outputs = Counter(it.producer_id for it in datasets if it.producer_id)
    for order in orders:
        job = job_of(tables, order)
        target = repository.get_model(job.target_model_id) if job.target_model_id else None
        if job.state is not JobState.DONE:
            assert target is None or target.blob is None
            assert not outputs[job.id]
            continue
        if order.kind == "inference":
            assert outputs[job.id] == 1
            output = repository.get_dataset(job.output_dataset_id or "")
            assert output is not None
            assert output.blob == downloads[job.id]
            assert (job.result or {})["profile"]
        else:
            assert target is not None
            assert target.blob == downloads[job.id]
        assert all(blobs.exists(blob) for blob in job.artifacts.values())


def check_changes(changes: list[Change]) -> None:
    """What the witness saw: attempts only grow, one end each, by the attempt that held the job."""
    ended: set[str] = set()
    filled: set[str] = set()
    attempts: Counter[str] = Counter()
    assert not [it for it in changes if it.what == "deletion"]
    for change in changes:
        if change.what == "model":
            assert (change.before, change.after) == (0, 1)
            assert change.id not in filled
            filled.add(change.id)
            continue
        assert change.id not in ended, change
        assert change.attempt in (change.attempt_before, (change.attempt_before or 0) + 1)
        assert (change.attempt_before or 0) == attempts[change.id]
        attempts[change.id] = change.attempt or 0
        if JobState(change.after or 0).is_final:
            assert change.held == 1
            ended.add(change.id)
    assert ended == set(attempts)


def job_of(tables: Tables, order: Order) -> Job:
    job = tables.repository.get_job(order.job_id)
    assert job is not None, f"{order} is lost"
    return job


def show(
    folder: Path,
    server: MortalServer,
    orders: list[Order],
    killer: Killer,
    *,
    repeats: int,
    ended: int,
    calm: float,
) -> None:
    """Print the figures; pytest shows them with -s or on failure."""
    tables = open_tables(server.data)
    rows, total = tables.repository.list_jobs(offset=0, limit=1000)
    tables.close()
    told = {
        "seed": killer.seed,
        "kills": dict(killer.kills),
        "jobs ordered": len(orders),
        "jobs in the table": total,
        "requests repeated": repeats,
        "states": dict(Counter(row.state.name for row in rows)),
        "attempts": dict(sorted(Counter(row.attempt for row in rows).items())),
        "failures": dict(Counter(row.failure_reason for row in rows if row.failure_reason)),
        "jobs ended before the last kill": ended,
        "seconds to the last end, after the last kill": round(calm, 1),
    }
    print(json.dumps(told, indent=1))
    (folder / "figures.json").write_text(json.dumps(told, indent=1))
