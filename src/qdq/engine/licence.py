"""Whose licences the QNN libraries have: told once, in the log of the first job that uses them."""

from __future__ import annotations

from pathlib import Path

from qdq.base import options as grammar
from qdq.base.options import parse_options
from qdq.base.qnn_package import LICENCE_NOTE
from qdq.domain.qnn import QNN_RUNTIMES
from qdq.engine.expand import PlannedStage
from qdq.engine.log import JobLog

__all__ = ["tell_licence"]

_MARK = "qnn-licence-told"
_STAGES = ("link", "placement", "simulate")


def tell_licence(planned: PlannedStage, folder: Path, log: JobLog) -> None:
    """Write the note to ``log`` if ``planned`` is the first stage of this data folder to use QNN.

    ``folder`` is the engine's, where a file stands for its having been told.
    """
    if not _uses_qnn(planned):
        return
    try:
        (folder / _MARK).touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        return
    log.write(f"licences: {LICENCE_NOTE}")


def _uses_qnn(planned: PlannedStage) -> bool:
    if planned.stage in _STAGES:
        return True
    if planned.stage != "compile":
        return False
    options = parse_options(grammar.JobKind.COMPILE, str(planned.spec.get("options", "")))
    return options.get("target_runtime") in QNN_RUNTIMES
