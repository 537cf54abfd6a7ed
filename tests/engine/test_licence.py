"""The terms of Qualcomm's libraries stand in one log of a data folder: that of the first user."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from qdq.base.qnn_package import LICENCE_NOTE
from qdq.domain.records import Job
from qdq.domain.states import JobKind, JobState
from qdq.engine.expand import PlannedStage
from qdq.engine.licence import tell_licence
from qdq.engine.log import JobLog

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BINARY = {"options": "--target_runtime qnn_context_binary"}


def _log(folder: Path, stage: str, spec: dict[str, str]) -> str:
    job = Job(f"j{stage}", JobKind.COMPILE, "net", JobState.CREATED, "", NOW, NOW)
    log = JobLog(folder, job)
    tell_licence(PlannedStage(stage, spec, (), (JobState.OPTIMIZING_MODEL,)), folder, log)
    text = log.path.read_text()
    log.remove()
    return text


@pytest.mark.parametrize(
    ("stage", "spec"),
    [("compile", BINARY), ("link", {}), ("placement", {}), ("simulate", {"options": ""})],
)
def test_the_first_stage_that_uses_qnn_tells_and_no_other(tmp_path, stage, spec):
    for other in ({}, {"options": "--target_runtime tflite"}, {"options": ""}):
        assert LICENCE_NOTE not in _log(tmp_path, "compile", other)
    assert LICENCE_NOTE not in _log(tmp_path, "quantize", {})
    assert _log(tmp_path, stage, spec).count(LICENCE_NOTE) == 1
    assert LICENCE_NOTE not in _log(tmp_path, "compile", BINARY)
    assert LICENCE_NOTE not in _log(tmp_path, "placement", {})
