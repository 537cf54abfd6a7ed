"""Who carries jobs out on this machine: threads that claim jobs and run their stages in children.

The row of a job is the truth.  Every write is fenced by the attempt, so that a worker that lost
its lease, or woke up late, changes nothing; a stage that has ended is kept under the hash of what
went into it, so that neither a crash nor equal work does it twice.
"""

from qdq.engine.local import LocalEngine
from qdq.engine.log import HUB_LOG, live_log

__all__ = ["HUB_LOG", "LocalEngine", "live_log"]
