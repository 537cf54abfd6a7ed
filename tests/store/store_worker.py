"""What tests run in processes of their own: ``python store_worker.py ROLE FOLDER ...``."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from qdq.domain.records import Inspection, Job, Model, ModelType, UploadState
from qdq.domain.states import JobKind, JobState
from qdq.store import SqlRepository, open_store

LEASE = timedelta(seconds=60)
NOW = datetime(2001, 1, 1, tzinfo=UTC)
INSPECTION = Inspection("onnx")


def submit(repository: SqlRepository, job_id: str) -> None:
    repository.add_job(
        Job(job_id, JobKind.COMPILE, "", JobState.CREATED, "", NOW, NOW),
        Model(f"m{job_id}", "", ModelType.ONNX, NOW, UploadState.CREATED),
    )


def claim_all(repository: SqlRepository, worker: str, wanted: int) -> None:
    """Claim and finish until every one of ``wanted`` jobs is done; print what was claimed."""
    while True:
        job = repository.claim_job(worker, lease=LEASE)
        if job is None:
            done = repository.list_jobs(offset=0, limit=1, states=frozenset({JobState.DONE}))[1]
            if done == wanted:
                return
            time.sleep(0.002)
            continue
        assert repository.set_state(job.id, job.attempt, JobState.OPTIMIZING_MODEL)
        finish(repository, job)
        print(job.id, flush=True)
        # As work would: SQLite's lock is not fair, and a waiting process sleeps ever longer.
        time.sleep(0.005)


def finish(repository: SqlRepository, job: Job) -> None:
    assert repository.finish_job(
        job.id,
        job.attempt,
        result={},
        artifacts={},
        target=("blob", 1, "x", INSPECTION),
        output=(),
    )


def write_for_ever(repository: SqlRepository, worker: str) -> None:
    """Submit, claim and finish; print the id of each job once its last write was answered."""
    number = 0
    while True:
        number += 1
        submit(repository, f"j{worker}{number}")
        job = repository.claim_job(worker, lease=LEASE)
        assert job is not None
        finish(repository, job)
        print(job.id, flush=True)


def die_inside(repository: SqlRepository) -> None:
    """Hold an open transaction with writes in it until killed."""
    with repository._database.write() as connection:
        connection.exec_driver_sql("UPDATE jobs SET state = 10, name = 'torn'")
        connection.exec_driver_sql("UPDATE models SET blob = 'torn'")
        print("inside", flush=True)
        time.sleep(60)


def main(role: str, folder: str, *rest: str) -> None:
    repository = open_store(Path(folder))
    match role:
        case "claim":
            (Path(folder) / f"ready-{rest[0]}").touch()
            claim_all(repository, rest[0], int(rest[1]))
        case "write":
            write_for_ever(repository, rest[0])
        case "die":
            die_inside(repository)
    repository.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
