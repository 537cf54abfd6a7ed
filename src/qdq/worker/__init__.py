"""The work itself: stages in sandboxed child processes, and what they may touch.

Everything here but ``stages`` runs in the trusted process and is standard library only; ``stages``
runs in the child, which alone reads models and datasets.
"""

from qdq.worker.archive import ArchiveLimits, extract_archive
from qdq.worker.sandbox import Limits, describe_sandbox, run_stage
from qdq.worker.sandbox_outputs import LOG_NAME, open_log, open_output
from qdq.worker.sandbox_view import SandboxLevel, sandbox_level

__all__ = [
    "LOG_NAME",
    "ArchiveLimits",
    "Limits",
    "SandboxLevel",
    "describe_sandbox",
    "extract_archive",
    "open_log",
    "open_output",
    "run_stage",
    "sandbox_level",
]
