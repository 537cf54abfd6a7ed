"""The peers' environments under .cache, made from pinned requirement files.

An environment that was made from the same file with the same Python is kept, which takes no time.
torch must be the CPU build: elsewhere than on a machine set up for it, TORCH_INDEX names the index.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

from benchmarks.efficientnet import ROOT

__all__ = ["ENVIRONMENTS", "python_of", "requirements_of"]

REQUIREMENTS = Path(__file__).resolve().parent / "requirements"
ENVIRONMENTS = tuple(sorted(file.stem for file in REQUIREMENTS.glob("*.txt")))
OURS = "qdq"
# Quark compiles C++ when it is first imported, which takes minutes and belongs to its installation.
_FIRST_IMPORTS = {"quark": "from quark.onnx import ModelQuantizer"}


def cache_folder() -> Path:
    """Return the folder of the environments and of what the peers write."""
    return Path(os.environ.get("QDQ_CACHE", ROOT / ".cache")).absolute() / "quantizers"


def requirements_of(name: str) -> str:
    """Return the text of an environment's pins; that of our own is empty."""
    return "" if name == OURS else (REQUIREMENTS / f"{name}.txt").read_text()


def python_of(name: str) -> Path:
    """Return the interpreter of an environment, which is made if absent; exit if it cannot be."""
    if name == OURS:
        return Path(sys.executable)
    folder = cache_folder() / "environments" / name
    stamp = folder / "installed.txt"
    pins = f"# Python {sys.version}\n{requirements_of(name)}"
    if not (stamp.exists() and stamp.read_text() == pins):
        _make(name, folder)
        stamp.write_text(pins)
    return folder / "bin" / "python"


def _make(name: str, folder: Path) -> None:
    start = time.perf_counter()
    print(f"installing the environment of {name} ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, symlinks=True)
    # This interpreter's own pip installs into the other environment, which needs none.
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet"]
    index = os.environ.get("TORCH_INDEX")
    extra = ["--extra-index-url", index] if index else []
    file = REQUIREMENTS / f"{name}.txt"
    done = subprocess.run([*pip, "--no-deps", *extra, "-r", file], check=False)
    if done.returncode:
        raise SystemExit(f"the environment of {name} cannot be installed from {file}")
    if name in _FIRST_IMPORTS:
        python = folder / "bin" / "python"
        subprocess.run([python, "-c", _FIRST_IMPORTS[name]], check=False, capture_output=True)
    print(f"{name}: installed in {time.perf_counter() - start:.0f} s", flush=True)


def main() -> None:
    """Make all environments."""
    for name in ENVIRONMENTS:
        python_of(name)


if __name__ == "__main__":
    main()
