"""The server's start and what it holds when idle.

    python -m benchmarks.service.start [--runs 7]

Start: from the process's start to its first answer to a request with its user's token, with an
empty data folder and with one that exists; the median of several, taking turns.  Memory: resident,
of the server and all its processes, two seconds after a run through the listings.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

from benchmarks.common import goal
from benchmarks.service.processes import load, settle
from benchmarks.service.server import new_folder, running_server

SETTLE_SECONDS = 2.0
LISTINGS = ("devices/?select=False", "frameworks/", "models/", "datasets/", "job_summaries/")


def main() -> None:
    """Start servers and print the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    print(f"machine load {load()}")
    fresh, again, idle = [], [], []
    for _ in range(runs):
        with new_folder() as folder:
            fresh.append(_start(folder)[0])
            seconds, mib = _start(folder)
            again.append(seconds)
            idle.append(mib)
    print(f"{'start, slowest of all [s]':38} {max(fresh + again):8.3f}")
    goal("server start, empty folder [s]", median(fresh))
    goal("server start [s]", median(again))
    goal("server memory, idle [MiB]", max(idle))


def _start(folder: Path) -> tuple[float, float]:
    with running_server(folder) as server:
        for path in LISTINGS:
            server.client.call("GET", path)
        return server.started_s, settle(server.pid, seconds=SETTLE_SECONDS)


if __name__ == "__main__":
    main()
