"""What inference and profile jobs tell at once: who really runs them, and options without use."""

from __future__ import annotations

from collections.abc import Iterator

from qdq.base.options import Options
from qdq.domain.records import Device, Notice, Severity
from qdq.ports.device_host import DeviceHost

__all__ = ["stand_in_notices", "unused_options"]

_MEASURING = ("max_profiler_iterations", "max_profiler_time")


def stand_in_notices(host: DeviceHost, device: Device, *, profiling: bool) -> Iterator[Notice]:
    """Yield what a job must say that a stand-in carries out, and not ``device`` itself."""
    if host.is_device:
        return
    yield Notice(
        Severity.INFO,
        f"No {device.name} is connected: the job runs on the {host.label}, which computes what its "
        "NPU computes",
    )
    if profiling:
        yield _notice(
            f"No latency is known: nothing connected is a {device.name}, and this version of qdq "
            "cannot attach one. To measure it, run the downloaded model on the device itself, with "
            "QAIRT's qnn-net-run or ONNX Runtime's QNN provider. Where ops run, how long the graph "
            "was prepared here and what is how large is in the profile trace"
        )


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
