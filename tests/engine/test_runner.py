"""The adapter between stages as the engine asks for them and the sandbox that runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from qdq.base.errors import ChildCrashError, InternalError, ModelCorruptError, OptionError
from qdq.base.progress import NO_PROGRESS
from qdq.ports.stages import StageRequest
from qdq.worker import runner
from qdq.worker.runner import STAGE_OUTPUTS, SandboxStageRunner
from qdq.worker.stages.__main__ import STAGES

MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
tiny (float[1,4] x) => (float[1,4] y) { y = Add (x, w) }
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    graph = onnx.parser.parse_model(MODEL)
    weight = onnx.numpy_helper.from_array(np.ones((1, 4), np.float32), "w")
    graph.graph.initializer.append(weight)
    onnx.save(graph, tmp_path / "tiny.onnx")
    return tmp_path / "tiny.onnx"


def run(tmp_path: Path, request: StageRequest, **given: Any) -> Any:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    settings = {"progress": NO_PROGRESS, "cancelled": lambda: False} | given
    return SandboxStageRunner().run(request, scratch=scratch, log=tmp_path / "log.txt", **settings)


def test_every_stage_has_a_row_of_outputs() -> None:
    assert set(STAGE_OUTPUTS) == set(STAGES)


def test_a_stage_with_its_output_and_log(tmp_path: Path, model: Path) -> None:
    (tmp_path / "log.txt").write_text("before\n")
    spec = {"options": "--target_runtime onnx", "input_specs": None, "device": None}
    result = run(tmp_path, StageRequest("compile", spec, [(model, "model")]))
    assert list(result.outputs) == ["model.onnx"]
    assert onnx.load(result.outputs["model.onnx"]).graph.output[0].name == "y"
    assert result.answer["output"] == "model.onnx"
    text = (tmp_path / "log.txt").read_text()
    assert text.startswith("before\n")
    assert "target runtime onnx" in text


def test_errors_of_the_stage_arrive_as_they_are(tmp_path: Path, model: Path) -> None:
    with pytest.raises(OptionError, match="frobnicate"):
        run(tmp_path, StageRequest("compile", {"options": "--frobnicate"}, [(model, "model")]))
    model.write_bytes(b"nonsense")
    with pytest.raises(ModelCorruptError):
        run(tmp_path, StageRequest("compile", {"options": ""}, [(model, "model")]))


def test_a_cancelled_stage_ends(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ChildCrashError, match="no longer wanted"):
        run(
            tmp_path,
            StageRequest("profile", {"options": ""}, [(model, "model")]),
            cancelled=lambda: True,
        )


def test_an_unknown_stage(tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="no stage"):
        run(tmp_path, StageRequest("frobnicate", {}))


def test_only_plain_files_of_known_names_are_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(link: bool) -> Any:
        def play(stage: str, spec: Any, *, scratch: Path, **_: Any) -> dict[str, Any]:
            room = scratch / "room"
            room.mkdir(exist_ok=True)
            (room / "extra.txt").write_text("not asked for")
            if link:
                (room / "model.onnx").symlink_to("/etc/passwd")
            return {}

        return play

    monkeypatch.setattr(runner, "run_stage", leave(False))
    assert run(tmp_path, StageRequest("compile", {})).outputs == {}
    monkeypatch.setattr(runner, "run_stage", leave(True))
    with pytest.raises(ChildCrashError, match="link"):
        run(tmp_path, StageRequest("compile", {}))
