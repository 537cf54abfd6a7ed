"""How much a stage's child is confined here, and what it sees under bubblewrap.

It sees Python and its packages, the system's libraries and nothing else, all read-only; its own
room is the only place it can write to.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from collections.abc import Sequence
from enum import Enum
from functools import cache
from pathlib import Path

__all__ = ["ROOM", "SandboxLevel", "bubblewrap_prefix", "import_paths", "probe", "sandbox_level"]

# Where the child's room is in its own view.
ROOM = "/room"

_PROBE_SECONDS = 20.0
_CONFINED = (
    "--unshare-user",
    "--unshare-ipc",
    "--unshare-pid",
    "--unshare-net",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--disable-userns",
    "--cap-drop",
    "ALL",
    "--die-with-parent",
    "--new-session",
    "--hostname",
    "qdq",
)
_ROOT_FOLDERS = ("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin")
# Where the loader finds libraries, which of them is chosen, and how many processors there are.
_SYSTEM = (
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
)


class SandboxLevel(Enum):
    """How children are confined: in namespaces of their own, or by limits alone."""

    BUBBLEWRAP = "bubblewrap"
    PROCESS = "process"


@cache
def sandbox_level() -> SandboxLevel:
    """Return the level in force; bubblewrap is tried, once, before it is relied on."""
    return SandboxLevel.BUBBLEWRAP if probe() is None else SandboxLevel.PROCESS


@cache
def probe() -> str | None:
    """Start Python under bubblewrap; return None when that works, or why it does not."""
    if sys.platform != "linux":
        return "it needs Linux"
    if shutil.which("bwrap") is None:
        return "it is not installed"
    command = [*bubblewrap_prefix(None), sys.executable, "-P", "-c", "import qdq.base.errors"]
    try:
        done = subprocess.run(
            command,
            env={"PYTHONPATH": os.pathsep.join(import_paths())},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else f"it ended with the exit code {done.returncode}"


def bubblewrap_prefix(room: Path | None, inputs: Sequence[tuple[Path, str]] = ()) -> list[str]:
    """Return the command that runs a child in ``room``; ``inputs`` are (file, path in the room)."""
    command = [shutil.which("bwrap") or "bwrap", *_CONFINED]
    for path in _read_only_paths():
        command += ["--ro-bind", path, path]
    for path in _ROOT_FOLDERS:
        if Path(path).is_symlink():
            command += ["--symlink", str(Path(path).readlink()), path]
        elif Path(path).is_dir():
            command += ["--ro-bind", path, path]
    for path in _SYSTEM:
        command += ["--ro-bind-try", path, path]
    command += ["--proc", "/proc", "--dev", "/dev"]
    if room is not None:
        command += ["--bind", str(room), ROOM, "--bind", str(room / "tmp"), "/tmp"]
        for file, name in inputs:
            command += ["--ro-bind", str(file), f"{ROOM}/{name}"]
        command += ["--chdir", ROOM]
    # Last, as nothing can be mounted below them afterwards: both are memory the child could fill.
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/", "--"]


def import_paths() -> list[str]:
    """Return what the child's PYTHONPATH must be: this package, and the user's own if in use."""
    paths = [str(_package_root())]
    if site.ENABLE_USER_SITE and site.getusersitepackages() in sys.path:
        paths.append(site.getusersitepackages())
    return paths


def _package_root() -> Path:
    return Path(__file__).resolve().parents[2]


def _read_only_paths() -> list[str]:
    # Of the package's folder only the package: it may be a source tree with anything beside it.
    wanted = [sys.prefix, sys.base_prefix, str(_package_root() / "qdq"), *import_paths()[1:]]
    every = {"/usr", *wanted, *map(os.path.realpath, wanted)}
    return sorted(
        path
        for path in every
        if Path(path).is_dir() and not any(path.startswith(f"{other}/") for other in every)
    )
