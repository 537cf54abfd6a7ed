"""``python -m benchmarks.service`` runs all benchmarks of the server, one after the other."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.efficientnet import ROOT

NAMES = ("start", "overhead", "wait", "load", "uploads")


def main() -> int:
    """Run each in a process of its own; return 1 if one could not finish."""
    failed = 0
    for name in NAMES:
        print(f"\n== service.{name}\n", flush=True)
        command = [sys.executable, "-m", f"benchmarks.service.{name}"]
        failed += subprocess.run(command, cwd=ROOT, check=False).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
