"""What a job's options ask of the runtime that runs its model."""

from __future__ import annotations

from qdq.base.errors import OptionError
from qdq.base.options import JobKind, Options, parse_options

__all__ = ["read_runtime_options", "threads_of"]

_TFLITE_ONLY = ("tflite_delegates", "tflite_options")
_THREADS = "number_of_threads"


def read_runtime_options(text: str, *, tflite: bool) -> Options:
    """Parse the options of a profile or inference job.

    Raises OptionError, also for options of TFLite on an ONNX model.
    """
    options = parse_options(JobKind.PROFILE, text)
    given = [name for name in _TFLITE_ONLY if name in options.given]
    if given and not tflite:
        raise OptionError(
            f"Option --{given[0]} is for TFLite models, and this one is ONNX",
            remedy="Leave it out, or compile with --target_runtime tflite",
        )
    return options


def threads_of(options: Options, threads: int) -> int:
    """Return how many threads to run on: those of the options, or else ``threads``."""
    pairs = options.get("tflite_options") or ()
    assert isinstance(pairs, tuple)
    return int(dict(pairs).get(_THREADS, threads))  # type: ignore[arg-type]
