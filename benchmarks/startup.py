"""Start-up time: ``import qdq`` and ``qdq --help``, the least of ten runs.

python -m benchmarks.startup
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import goal
from benchmarks.efficientnet import ROOT

RUNS = 10


def main() -> None:
    """Time both, with the bare interpreter beside them."""
    script = Path(sys.executable).with_name("qdq")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "qdq"]
    print(f"{'python -c pass [s]':38} {_least([sys.executable, '-c', 'pass']):8.3f}")
    goal("import qdq [s]", _least([sys.executable, "-c", "import qdq"]))
    goal("qdq --help [s]", _least([*command, "--help"]))


def _least(command: list[str]) -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT, env=os.environ)
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
