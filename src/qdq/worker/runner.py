"""The port StageRunner over the sandbox: stages in confined children of this process."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from qdq.base.errors import ChildCrashError, InternalError, OutputError
from qdq.base.progress import Progress
from qdq.ports.stages import CancelCheck, StageRequest, StageResult
from qdq.worker.sandbox import Limits, run_stage
from qdq.worker.sandbox_outputs import LOG_NAME, ROOM_NAME, open_output

__all__ = ["STAGE_OUTPUTS", "SandboxStageRunner"]

# What a stage may leave; anything else in its room is not looked at.
STAGE_OUTPUTS: dict[str, tuple[str, ...]] = {
    "compile": (
        "model.onnx",
        "model.tflite",
        "model.zip",
        "model.bin",
        "model.dlc",
        "model.source.onnx",
        "source.zip",
    ),
    "inspect_dataset": (),
    "inspect_model": (),
    "link": ("model.bin",),
    "placement": ("placement.json",),
    "profile": (),
    "quantize": (
        "model.onnx",
        "model.zip",
        "model.onnx.provenance.json",
        "report.json",
        "report.html",
    ),
    "run": ("output.h5",),
    "simulate": ("output.h5",),
}
# What an unfinished stage leaves for another attempt, which gets it as inputs of these names.
STAGE_KEEPS: dict[str, tuple[str, ...]] = {
    "quantize": ("kept_calibrate.npz", "kept_figures.npz", "kept_round.npz"),
}
_DEFAULT_LIMITS = Limits()
# The stages that a client waits for with a request open.
_INSPECT_SECONDS = 20.0


class SandboxStageRunner:
    """Implements ports.StageRunner; ``limits`` hold for each stage."""

    def __init__(self, *, limits: Limits = _DEFAULT_LIMITS) -> None:
        self._limits = limits

    def run(
        self,
        request: StageRequest,
        *,
        scratch: Path,
        log: Path,
        progress: Progress,
        cancelled: CancelCheck,
    ) -> StageResult:
        """Run ``request`` in a child; see the port."""
        names = STAGE_OUTPUTS.get(request.stage)
        if names is None:
            raise InternalError(f"There is no stage {request.stage!r}")

        def check() -> None:
            if cancelled():
                raise ChildCrashError("The work was ended, as its result is no longer wanted")

        _share_log(scratch, log)
        answer = run_stage(
            request.stage,
            request.spec,
            scratch=scratch,
            inputs=request.inputs,
            limits=self._limits_of(request.stage),
            progress=progress,
            check=check,
        )
        return StageResult(answer, self._outputs(scratch, names))

    def kept(self, stage: str, scratch: Path) -> dict[str, Path]:
        """Return what an unfinished stage left in ``scratch`` to go on from; see the port."""
        found = {}
        for name in STAGE_KEEPS.get(stage, ()):
            with contextlib.suppress(ChildCrashError):
                open_output(scratch, name, max_bytes=self._limits.output_bytes).close()
                found[name] = scratch / ROOM_NAME / name
        return found

    def _limits_of(self, stage: str) -> Limits:
        if not stage.startswith("inspect_"):
            return self._limits
        return Limits(
            wall_s=min(_INSPECT_SECONDS, self._limits.wall_s),
            memory_bytes=self._limits.memory_bytes,
            output_bytes=self._limits.output_bytes,
        )

    def _outputs(self, scratch: Path, names: tuple[str, ...]) -> dict[str, Path]:
        room = scratch / ROOM_NAME
        found = {}
        for name in names:
            if os.path.lexists(room / name):
                # Opened to be checked; the child and all it started are gone, so it stays as it is.
                open_output(scratch, name, max_bytes=self._limits.output_bytes).close()
                found[name] = room / name
        return found


def _share_log(scratch: Path, log: Path) -> None:
    """Make the log that the sandbox appends to one file with ``log``."""
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        log.touch(mode=0o600)
        with contextlib.suppress(FileExistsError):
            os.link(log, scratch / LOG_NAME)
    except OSError as error:
        raise OutputError(
            f"The log of the work cannot be written: {error.strerror or error}",
            remedy="Check permissions and free space of the data folder",
        ) from error
