"""``python -m benchmarks`` runs all of them, one after the other (``make bench``)."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.efficientnet import ROOT

NAMES = ("startup", "effnet_lite0", "latency", "memory", "tflite", "service")


def main() -> int:
    """Run each benchmark in a process of its own; return 1 if one could not finish."""
    failed = 0
    for name in NAMES:
        print(f"\n== {name}\n", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        failed += subprocess.run(command, cwd=ROOT, check=False).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
