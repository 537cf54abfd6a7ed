"""Install the official clients for the acceptance tests, each into .cache/clients/VERSION.

    python scripts/setup_clients.py

The releases are those for which tests/acceptance has a requirements file.  An environment that was
made from the same file with the same Python is kept as it is, which takes no time.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "tests" / "acceptance"
CLIENTS = ROOT / ".cache" / "clients"


def wanted() -> dict[str, Path]:
    """The requirements file of each release."""
    files = sorted(REQUIREMENTS.glob("requirements-*.txt"))
    return {file.stem.removeprefix("requirements-"): file for file in files}


def install(release: str, requirements: Path) -> str:
    """Make the environment of one release, unless it is there; return what was done."""
    folder = CLIENTS / release
    stamp = folder / "installed.txt"
    pins = f"# Python {sys.version}\n{requirements.read_text()}"
    if stamp.exists() and stamp.read_text() == pins:
        return "is there already"
    start = time.perf_counter()
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, symlinks=True)
    # This interpreter's own pip installs into the other environment, which needs none.
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install"]
    subprocess.run([*pip, "--quiet", "--no-deps", "-r", requirements], check=True)
    stamp.write_text(pins)
    return f"installed in {time.perf_counter() - start:.1f} s"


def main() -> int:
    """Install every release, side by side; fail if one cannot be had."""
    failed = 0
    with ThreadPoolExecutor() as pool:
        jobs = {release: pool.submit(install, release, file) for release, file in wanted().items()}
        for release, job in jobs.items():
            try:
                print(f"qai-hub {release} {job.result()}", flush=True)
            except subprocess.CalledProcessError as error:
                print(f"qai-hub {release}: pip ended with {error.returncode}", file=sys.stderr)
                failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
