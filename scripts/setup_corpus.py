"""Install what the medium tests' models come from, and build them all under .cache/corpus.

    python scripts/setup_corpus.py

Packages of trained models go to a folder of their own, without their dependencies.  Fashion-MNIST
is a Debian package: it is installed when this runs as root and apt-get exists.  What cannot be had
is named and left out; with QDQ_REQUIRE_ALL=1 it is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from corpus import fashion, models  # noqa: E402 - found through the line above

REQUIREMENTS = ROOT / "tests" / "corpus" / "requirements.txt"
DEBIAN_PACKAGE = "dataset-fashion-mnist"


def install_packages() -> None:
    """Install the pinned packages, unless the same pins are there already."""
    site = models.cache_folder() / "site"
    stamp = site / "installed.txt"
    if stamp.exists() and stamp.read_text() == REQUIREMENTS.read_text():
        return
    shutil.rmtree(site, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    done = subprocess.run([*pip, "--target", site, "-r", REQUIREMENTS], check=False)
    if done.returncode == 0:
        stamp.write_text(REQUIREMENTS.read_text())


def install_fashion() -> None:
    """Install Fashion-MNIST where that is possible."""
    if fashion.DATA.is_dir() or shutil.which("apt-get") is None or os.geteuid() != 0:
        return
    # A machine that never updated its lists knows no package.
    subprocess.run(["apt-get", "update", "-qq"], check=False)
    subprocess.run(["apt-get", "install", "-y", "-qq", DEBIAN_PACKAGE], check=False)


def build_all() -> int:
    """Build every model, tell of each, and return how many are missing."""
    # Children do the work, on one core each where it is long.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return len(models.MODEL_IDS) - sum(pool.map(_built, models.MODEL_IDS))


def _built(model_id: str) -> bool:
    start = time.perf_counter()
    try:
        file = models.build(model_id)
    except models.UnavailableError as reason:
        print(f"{model_id:14} left out: {reason}", flush=True)
        return False
    size = file.stat().st_size / 2**20
    print(f"{model_id:14} {size:6.1f} MiB {time.perf_counter() - start:6.1f} s", flush=True)
    return True


def main() -> int:
    """Install and build everything; fail on a gap only where none is allowed."""
    install_packages()
    install_fashion()
    missing = build_all()
    return 1 if missing and os.environ.get("QDQ_REQUIRE_ALL") == "1" else 0


if __name__ == "__main__":
    sys.exit(main())
