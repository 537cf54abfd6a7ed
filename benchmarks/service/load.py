"""Many who wait and many who submit at once.

    python -m benchmarks.service.load [--seconds 30] [--pollers 50] [--submits 10]

Jobs do nothing: the same compile job again and again, answered from the finished stages (its first
run is before the clock).  Every submission is told to five pollers, which look at the job until it
has ended; a look that the server holds is answered when the state changes.  Each request has a
connection of its own, as the official client's have.  A submission is timed from the moment at
which it was due, and an answer from the moment at which the job ended by the server's clock, or
from its request if that came later.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue

import numpy as np

from benchmarks.common import goal
from benchmarks.service.overhead import TO_ONNX, small_model, succeeded, target_device
from benchmarks.service.processes import load, watched
from benchmarks.service.server import (
    Answer,
    Server,
    WireClient,
    new_folder,
    running_server,
    state_of,
)
from qdq.api.wire import workbench_pb2 as pb

LOOKERS = 5
GRACE_SECONDS = 20.0
ENDED = (pb.JOB_STATE_DONE, pb.JOB_STATE_FAILED)


@dataclass(slots=True)
class Seen:
    """What all threads saw; lists only grow, which several threads may do at once."""

    submits: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def note(self, answer: Answer) -> Answer:
        """Count an answer."""
        self.statuses.append(answer.status)
        if b"database is locked" in answer.body:
            self.locked.append(answer.body.decode(errors="replace"))
        return answer


def main() -> None:
    """Load a server for a while and print the slowest percentiles."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--pollers", type=int, default=50)
    parser.add_argument("--submits", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    print(f"machine load {load()}")
    with new_folder() as folder, running_server(folder, workers=args.workers) as server:
        order = _order(server.client)
        succeeded(server.client.wait(server.client.post("jobs/", order)))
        with watched(server.pid) as peak:
            seen = _run(server, order, args)
        locked = server.log.read_text(errors="replace").count("database is locked")
    errors = sum(status >= 500 for status in seen.statuses)
    print(
        f"{len(seen.submits)} jobs, {len(seen.statuses)} requests, {len(seen.answers)} pollers saw "
        f"an end, peak memory {peak.server:.0f} MiB, machine load {load()}"
    )
    for name, values in (
        ("submit", seen.submits),
        ("state change to answer", seen.answers),
        ("look that is answered at once", seen.looks),
    ):
        print(f"{name:30} " + _percentiles(values))
    goal("submit p99 [s]", float(np.percentile(seen.submits, 99)))
    goal("state change to answer p99 [s]", float(np.percentile(seen.answers, 99)))
    goal("database is locked", locked + len(seen.locked))
    goal("answers 5xx or none", errors + len(seen.failed))
    for line in seen.failed[:5]:
        print(line)


def _order(client: WireClient) -> pb.Job:
    model_id = client.upload_model(small_model()[0])
    devices = pb.DeviceList(devices=[target_device(client)])
    job = pb.CompileJob(model=pb.Model(model_id=model_id), devices=devices, options=TO_ONNX)
    return pb.Job(compile_job=job)


def _run(server: Server, order: pb.Job, args: argparse.Namespace) -> Seen:
    seen, queue, end = Seen(), SimpleQueue[str | None](), threading.Event()
    body = order.SerializeToString()
    begun = time.perf_counter() + 0.5
    times = [
        [begun + n / args.submits + second for second in range(int(args.seconds))]
        for n in range(args.submits)
    ]
    submitters = [_thread(_submit, server.client, body, seen, queue, due) for due in times]
    pollers = [_thread(_poll, server.client, seen, queue, end) for _ in range(args.pollers)]
    for thread in submitters:
        thread.join()
    for _ in pollers:
        queue.put(None)
    deadline = time.monotonic() + GRACE_SECONDS
    for thread in pollers:
        thread.join(max(0.0, deadline - time.monotonic()))
    end.set()
    seen.failed += [f"{thread.name} still waits" for thread in pollers if thread.is_alive()]
    return seen


def _thread(work: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def _submit(
    client: WireClient, body: bytes, seen: Seen, queue: SimpleQueue[str | None], times: list[float]
) -> None:
    """Submit at each of ``times``; one that is late makes the next ones no later."""
    for due in times:
        time.sleep(max(0.0, due - time.perf_counter()))
        try:
            answer = seen.note(client.call("POST", "jobs/?seed_target_model=true", body))
        except OSError as error:
            seen.failed.append(f"submit: {error}")
            continue
        seen.submits.append(time.perf_counter() - due)
        job_id = pb.CreateUpdateResponse.FromString(answer.body).id
        for _ in range(LOOKERS):
            queue.put(job_id)


def _poll(
    client: WireClient, seen: Seen, queue: SimpleQueue[str | None], end: threading.Event
) -> None:
    while (job_id := queue.get()) is not None:
        try:
            _look_until_it_ends(client, seen, job_id, end)
        except OSError as error:
            seen.failed.append(f"look: {error}")


def _look_until_it_ends(client: WireClient, seen: Seen, job_id: str, end: threading.Event) -> None:
    first = True
    while not end.is_set():
        asked, clock = time.time(), time.perf_counter()
        answer = seen.note(client.call("GET", f"jobs/{job_id}/"))
        took, now = time.perf_counter() - clock, time.time()
        job = pb.Job.FromString(answer.body)
        if first:
            seen.looks.append(took)
            first = False
        if state_of(job) in ENDED:
            told = job.compile_job.completion_time
            seen.answers.append(now - max(asked, told.seconds + told.nanos / 1e9))
            return


def _percentiles(values: list[float]) -> str:
    median, high, most = np.percentile(values, [50, 99, 100]) * 1e3
    return f"median {median:7.1f} ms   p99 {high:7.1f} ms   most {most:7.1f} ms"


if __name__ == "__main__":
    main()
