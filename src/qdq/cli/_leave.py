"""End a command's process at once: Python takes itself apart for a tenth of a second."""

from __future__ import annotations

import atexit
import os
import sys
import threading

__all__ = ["leave"]


def leave(code: object) -> None:
    """End the process with ``code``, once what is registered for its end has run.

    Returns where the ordinary way is the only one: other threads are to be waited for, ``code`` is
    a message, or the output cannot be written.
    """
    if threading.active_count() > 1 or not (code is None or isinstance(code, int)):
        return
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return
    os._exit((code or 0) & 0xFF)
