"""The child: limits first, and only then the stage that the spec names."""

from __future__ import annotations

import contextlib
import resource
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from qdq.base.child_side import child_main
from qdq.base.errors import InternalError
from qdq.base.progress import Progress
from qdq.worker.stages.log import StepLog, log, log_end

# Each stage is a module here with a function ``work(spec, progress)``.
STAGES = (
    "compile",
    "inspect_dataset",
    "inspect_model",
    "link",
    "placement",
    "profile",
    "quantize",
    "run",
    "simulate",
)

# Address space, threads' stacks and mapped weights included; the parent counts what is really used.
_SPARE_ADDRESSES = 16 << 30


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Run one stage under its limits."""
    _limit(spec["limits"])
    name = spec["stage"]
    if name not in STAGES:
        raise InternalError(f"There is no stage {name!r}")
    begun = time.monotonic()
    stage = import_module(f"qdq.worker.stages.{name}")
    steps = StepLog(progress)
    try:
        result: dict[str, Any] = stage.work(spec["spec"], steps)
    except Exception as error:
        log(f"failed: {error}")
        raise
    finally:
        steps.close()
        log_end(begun)
    return result


def _limit(limits: dict[str, int]) -> None:
    wanted = {
        resource.RLIMIT_AS: 2 * limits["memory_bytes"] + _SPARE_ADDRESSES,
        resource.RLIMIT_FSIZE: limits["output_bytes"],
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_CORE: 0,
    }
    if "processes" in limits:
        wanted[resource.RLIMIT_NPROC] = limits["processes"]
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (least, least))
    # When memory is short on the whole machine, the kernel is to end this, not the server.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


if __name__ == "__main__":
    child_main(work)
