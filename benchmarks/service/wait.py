"""How soon the official client's ``wait()`` sees that a job of about three seconds has ended.

    python -m benchmarks.service.wait [--runs 5] [--release 0.56.0]

It needs the client's environment (scripts/setup_clients.py).  Jobs are measurements on the
server's own machine that take about three seconds of profiling time by their options.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path
from statistics import median

from benchmarks.common import goal, print_table
from benchmarks.efficientnet import ROOT
from benchmarks.service.overhead import small_model
from benchmarks.service.processes import load
from benchmarks.service.server import Server, new_folder, running_server, state_of
from qdq.api.wire import workbench_pb2 as pb

SCRIPT = Path(__file__).with_name("client_wait.py")
# These would lead the client elsewhere, or give it other credentials.
STEERING = ("proxy", "qaihub", "netrc")


def main() -> None:
    """Let the client submit and wait; print what it saw beside what the server wrote."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--release", default="0.56.0")
    args = parser.parse_args()
    print(f"machine load {load()}")
    with new_folder() as folder, running_server(folder) as server:
        model = folder / "small.onnx"
        model.write_bytes(small_model()[0])
        seen = _client(folder, server, args.release, model, args.runs)
        rows = []
        for job_id, seconds in seen:
            job = server.client.get(f"jobs/{job_id}/", pb.Job)
            if state_of(job) != pb.JOB_STATE_DONE:
                raise SystemExit(f"A job failed:\n{job}")
            rows.append((seconds, _lasted(job), seconds - _lasted(job)))
    cells = [(f"{index + 1}", *(f"{value:.2f}" for value in row)) for index, row in enumerate(rows)]
    print_table(("run", "wait() returned [s]", "job lasted [s]", "later [s]"), cells)
    print()
    goal("wait() later than a 3 s job [s]", median(row[2] for row in rows))
    goal("wait() of a 3 s job [s]", median(row[0] for row in rows))


def _client(
    folder: Path, server: Server, release: str, model: Path, runs: int
) -> list[tuple[str, float]]:
    python = ROOT / ".cache" / "clients" / release / "bin" / "python"
    if not python.exists():
        raise SystemExit(f"There is no client {release}: run scripts/setup_clients.py")
    ini = folder / "client.ini"
    url = f"http://127.0.0.1:{server.port}"
    ini.write_text(
        f"[api]\napi_token = {server.token}\napi_url = {url}\nweb_url = {url}\nverbose = False\n"
    )
    kept = {
        name: value
        for name, value in os.environ.items()
        if not any(word in name.lower() for word in STEERING) and name != "PYTHONPATH"
    }
    done = subprocess.run(
        [str(python), str(SCRIPT), str(model), str(runs)],
        env={**kept, "HOME": str(folder), "NO_PROXY": "*", "QAIHUB_CLIENT_INI": str(ini)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60 * (runs + 2),
    )
    if done.returncode:
        raise SystemExit(f"The client failed:\n{done.stdout}\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return [(str(job_id), float(seconds)) for job_id, seconds in found]


def _lasted(job: pb.Job) -> float:
    """Return the seconds from the job's submission to its end, by the server's clock."""
    row = job.inference_job
    times = (row.creation_time, row.completion_time)
    begun, ended = (it.seconds + it.nanos / 1e9 for it in times)
    return float(ended - begun)


if __name__ == "__main__":
    main()
