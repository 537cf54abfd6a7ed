"""Garbage is collected while jobs run: nothing that they read, recall or make is lost."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qdq.domain.states import JobKind, JobState
from qdq.service.retention import GRACE, collect_garbage

OLD = GRACE + timedelta(hours=1)
ROUNDS = 12


def age_everything(bench: Any) -> None:
    """Let every file and finished stage be older than the grace time."""
    then = datetime.now(UTC) - OLD
    for blob in bench.blobs.all():
        try:
            os.utime(bench.blobs.path(blob), (then.timestamp(), then.timestamp()))
        except FileNotFoundError:
            continue
    with closing(sqlite3.connect(bench.folder / "store" / "workbench.sqlite3")) as connection:
        text = then.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        connection.execute("UPDATE stages SET created = ?", (text,))
        connection.execute("UPDATE models SET created = ?", (text,))
        connection.commit()


@pytest.mark.parametrize("workers", [1, 3])
def test_collecting_beside_running_jobs(bench: Any, stages: Any, workers: int) -> None:
    model = bench.model()
    bench.engine(stages, workers=workers)
    over = threading.Event()
    # No file gets a day older while one collection lasts.
    one_time = threading.Lock()
    removed = []

    def collect() -> None:
        while not over.is_set():
            with one_time:
                found = collect_garbage(
                    bench.repository, bench.blobs, older_than=GRACE, serving=True, dry_run=False
                )
            removed.append(found.removed + found.stages)

    collector = threading.Thread(target=collect)
    collector.start()
    jobs = []
    try:
        for number in range(ROUNDS):
            # Three rounds do the same work, whose stage and bytes may be forgotten just then.
            submitted = [
                bench.submit(JobKind.COMPILE, model=model, options=f"--output_names n{number // 3}")
                for _ in range(2)
            ]
            jobs += [bench.wait(job_id) for job_id in submitted]
            with one_time:
                age_everything(bench)
    finally:
        over.set()
        collector.join()
    assert {job.state for job in jobs} == {JobState.DONE}
    for job in jobs:
        target = bench.repository.get_model(job.target_model_id)
        assert bench.blobs.exists(target.blob)
        assert bench.blobs.exists(job.artifacts[5])
    assert sum(removed) > 0
