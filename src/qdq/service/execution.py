"""Options of inference and profile jobs that this job has no use for: told, not ignored."""

from __future__ import annotations

from collections.abc import Iterator

from qdq.base.options import Options
from qdq.domain.records import Notice, Severity

__all__ = ["unused_options"]

_MEASURING = ("max_profiler_iterations", "max_profiler_time")


def unused_options(options: Options, *, runs: bool, measures: bool) -> Iterator[Notice]:
    """Yield a notice for each option that changes nothing in a job that ``runs`` or ``measures``.

    They are not refused: clients have one option string for all jobs of a model.
    """
    if options.get_flag("dequantize_outputs") and not runs:
        yield _notice("--dequantize_outputs changes nothing: the job returns no outputs")
    given = [f"--{name}" for name in _MEASURING if name in options.given]
    if given and not measures:
        verb = "changes" if len(given) == 1 else "change"
        yield _notice(f"{' and '.join(given)} {verb} nothing: the job does not profile")


def _notice(message: str) -> Notice:
    return Notice(Severity.WARNING, message)
