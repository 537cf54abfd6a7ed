"""Sessions of ONNX Runtime's QNN execution provider, for child processes only.

The provider is a plug-in: it is registered once in a process, and its device is then added to the
options of a session.  Nothing may ever fall to the CPU: every session forbids the fallback.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from qdq.base.errors import InternalError
from qdq.base.qnn_package import missing_library
from qdq.runtime.ort import import_runtime
from qdq.runtime.qnn.library import HTP, library_folder

__all__ = ["EP_NAME", "ProviderError", "open_provider_session"]

EP_NAME = "QNNExecutionProvider"
_PLUGIN = "libonnxruntime_providers_qnn.so"
_NO_FALLBACK = {"session.disable_cpu_ep_fallback": "1"}
# Warnings and errors.
_SEVERITY = 2
_COLOURS = re.compile(r"\x1b?\[[0-9;]*m")
# 2026-11-27 20:35:08.346 [E:onnxruntime:, file.cc:2453 Function] message
_LOG_LINE = re.compile(r"^[0-9: .-]+\[(?P<level>[A-Z]):onnxruntime:[^\]]*\]\s*(?P<text>.*)$")
# What the provider says of every session, whatever the model.
_ALWAYS = ("File mapped weights", "EPContext encryption config", "HTP power config id")
_LOG_TAIL = 64 << 10


class ProviderError(Exception):
    """The provider or ONNX Runtime failed: the message, and the lines it logged on the way."""

    def __init__(self, message: str, log: tuple[str, ...]) -> None:
        super().__init__(message)
        self.message = message
        self.log = log


def open_provider_session(
    model: str | os.PathLike[str],
    *,
    options: Mapping[str, str],
    config: Mapping[str, str] | None = None,
    optimize: bool = True,
) -> Any:
    """Return an InferenceSession over ``model`` with the HTP backend alone.

    ``options`` are those of the provider, ``config`` entries of the session.  Raises ProviderError
    with the log, MissingDependencyError where a library cannot be loaded.
    """
    ort = import_runtime()
    device = _device(ort)
    settings = ort.SessionOptions()
    settings.log_severity_level = _SEVERITY
    if not optimize:
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    for key, value in {**_NO_FALLBACK, **(config or {})}.items():
        settings.add_session_config_entry(key, value)
    backend = str(library_folder() / HTP)
    with _logged() as log:
        settings.add_provider_for_devices([device], {"backend_path": backend, **options})
        try:
            return ort.InferenceSession(str(model), sess_options=settings)
        except Exception as error:
            failure = str(error)
    raise ProviderError(failure, log.lines())


def _device(ort: Any) -> Any:
    plugin = library_folder() / _PLUGIN
    try:
        ort.register_execution_provider_library(EP_NAME, str(plugin))
    except Exception as error:
        if "already" not in str(error):
            raise missing_library(str(error)) from error
    for device in ort.get_ep_devices():
        if device.ep_name == EP_NAME:
            return device
    raise InternalError("The QNN execution provider offers no device")


class _Log:
    def __init__(self) -> None:
        self.text = ""

    def lines(self) -> tuple[str, ...]:
        """Return the messages, without times, places and what is always said; each once."""
        found: dict[str, None] = {}
        for line in _COLOURS.sub("", self.text).splitlines():
            match = _LOG_LINE.match(line)
            text = (match["text"] if match else line).strip()
            if text and not any(part in text for part in _ALWAYS):
                found[text] = None
        return tuple(found)


@contextmanager
def _logged() -> Iterator[_Log]:
    """Keep what native code writes to standard error; it is passed on when the block ends."""
    log = _Log()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield log
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            size = file.tell() if file.seekable() else 0
            file.seek(max(0, size - _LOG_TAIL))
            data = file.read(_LOG_TAIL)
            log.text = data.decode("utf-8", "replace")
            os.write(2, data)
