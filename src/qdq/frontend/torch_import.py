"""Import torch models through a child process, the only place where torch runs."""

from __future__ import annotations

import importlib.util
import os
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import onnx_ir as ir

from qdq.base.child import run_child
from qdq.base.errors import ChildCrashError, InternalError, MissingDependencyError
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.frontend.formats import ModelFormat
from qdq.frontend.interface import add_missing_inputs, rename_inputs
from qdq.frontend.specs import InputSpec
from qdq.frontend.torch_names import OUTPUT_FILE, WRAPPED, input_name
from qdq.graph import infer_shapes, load_model

__all__ = ["TORCH_SECONDS", "import_torch"]

# Exports of the largest models take minutes; one that takes longer hangs.
TORCH_SECONDS = 1800.0
# What the child may leave: as much as the weights of any model that fits a workstation.
_MAX_EXPORT_BYTES = 64 << 30
_MODULE = "qdq.frontend.torch_child"


def import_torch(
    path: Path,
    kind: ModelFormat,
    *,
    specs: Sequence[InputSpec] = (),
    progress: Progress = NO_PROGRESS,
    timeout_s: float = TORCH_SECONDS,
) -> ir.Model:
    """Export the TorchScript or .pt2 at ``path`` and return the graph, weights in memory.

    ``specs`` are for TorchScript only.  Raises what ``import_model`` raises.
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingDependencyError(
            f"Importing {kind.value} needs torch, which is not installed",
            remedy="Run: pip install 'qdq[torch]'",
        )
    spec = {
        "kind": kind.name,
        "model": str(path.resolve()),
        "inputs": [asdict(s) for s in specs],
    }
    with tempfile.TemporaryDirectory(prefix="qdq-import-") as folder:
        run_child(_MODULE, spec, timeout_s=timeout_s, workdir=folder, progress=progress)
        _check_export(Path(folder))
        model = load_model(Path(folder, OUTPUT_FILE))
        # The folder is about to go, and external weights with it.
        ir.external_data.load_to_model(model)
    if kind is ModelFormat.TORCHSCRIPT:
        _finish_torchscript(model, specs)
    infer_shapes(model)
    return model


def _check_export(folder: Path) -> None:
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            facts = entry.stat(follow_symlinks=False)
            total += facts.st_size
            if entry.name == OUTPUT_FILE and not stat.S_ISREG(facts.st_mode):
                raise ChildCrashError("The exported model is not a regular file")
    if total > _MAX_EXPORT_BYTES:
        raise ChildCrashError(
            f"The exported model has {total:,} bytes, the limit is {_MAX_EXPORT_BYTES:,}",
            remedy="Use a smaller model",
        )


def _finish_torchscript(model: ir.Model, specs: Sequence[InputSpec]) -> None:
    """Undo what the exporting wrapper did to names, and bring back inputs that are not used."""
    _strip_wrapper(model.graph)
    exported = {str(value.name) for value in model.graph.inputs}
    renames = {input_name(k): spec.name for k, spec in enumerate(specs)}
    if not exported <= renames.keys():
        raise InternalError(f"The exporter named the inputs {sorted(exported)}")
    rename_inputs(model, {old: new for old, new in renames.items() if old in exported})
    add_missing_inputs(model, specs)


def _strip_wrapper(graph: ir.Graph) -> None:
    for node in graph:
        if node.name:
            node.name = node.name.replace(f"/{WRAPPED}/", "/", 1)
    values = [*graph.initializers.values(), *(v for node in graph for v in node.outputs)]
    taken = {value.name for value in (*values, *graph.inputs)}
    for value in values:
        name = str(value.name)
        short = name.removeprefix(f"{WRAPPED}.").replace(f"/{WRAPPED}/", "/", 1)
        if short != name and short not in taken:
            value.name = short
            taken.add(short)
