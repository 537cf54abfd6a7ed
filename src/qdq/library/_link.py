"""Link several models into one context binary with shared weights."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from qdq.base.devices import HtpTarget, common_target
from qdq.base.errors import OptionError, UnsupportedError
from qdq.base.options import JobKind, Options, parse_options
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.base.qnn_files import QnnKind, qnn_kind
from qdq.base.qnn_package import require_qnn
from qdq.graph import check_static_inputs, save_model
from qdq.library._compile_qnn import binary_specs, find_devices
from qdq.library._io_spec import IoSpec
from qdq.library._load import read_model
from qdq.library._notices import NoticeKeeper
from qdq.library._qnn_output import write_qnn
from qdq.library._qnn_source import RetainedSource, is_retained, retained_source
from qdq.library._sources import PathLike, check_output
from qdq.library._summary import find_quantization
from qdq.target.interface import InterfaceRequest, compile_graph
from qdq.target.qnn import (
    QnnModel,
    QnnRequest,
    QnnSource,
    compile_files,
    default_graph_name,
    read_qnn_request,
)
from qdq.target.qnn.prepare import prepare_for_htp

__all__ = ["LinkResult", "link"]

_RUNTIME = "qnn_context_binary"


@dataclass(frozen=True, slots=True)
class LinkResult:
    """A context binary of several graphs, and what linking saved.

    ``separate_bytes`` is the size of the same graphs compiled one by one, ``linked_bytes`` that of
    the one binary; ``weights_shared`` tells whether it is smaller by more than its headers.
    """

    model: QnnModel
    device: str
    options: Options
    graphs: tuple[str, ...]
    input_spec: tuple[IoSpec, ...]
    output_spec: tuple[IoSpec, ...]
    qnn: dict[str, Any]
    separate_bytes: int
    linked_bytes: int
    weights_shared: bool
    notices: tuple[str, ...]
    output: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, without the binary."""
        return {
            "output": None if self.output is None else str(self.output),
            "target_runtime": _RUNTIME,
            "device": self.device,
            "options": self.options.to_text(),
            "graphs": list(self.graphs),
            "input_spec": [asdict(spec) for spec in self.input_spec],
            "output_spec": [asdict(spec) for spec in self.output_spec],
            "qnn": self.qnn,
            "separate_bytes": self.separate_bytes,
            "linked_bytes": self.linked_bytes,
            "weights_shared": self.weights_shared,
            "notices": list(self.notices),
        }


def link(
    sources: Sequence[PathLike],
    output: PathLike | None = None,
    *,
    device: str | Sequence[str],
    options: str = "",
    progress: Progress = NO_PROGRESS,
) -> LinkResult:
    """Compile several models into one context binary, each a graph, sharing equal weights.

    ``sources`` are DLCs of this compiler, with their retained models beside them, those models, or
    other ONNX models, whose graphs are called after their files.  Every model is also compiled
    alone, to know what linking saves.  Raises OptionError for two graphs of one name,
    UnsupportedError for a foreign DLC, and the errors of compiling for QNN.  On an error nothing is
    written.
    """
    require_qnn()
    parsed = parse_options(JobKind.LINK, options)
    request = read_qnn_request(parsed, runtime=None)
    devices = find_devices(device, _RUNTIME)
    target = common_target(devices)
    place = None if output is None else check_output(output, tuple(sources), suffixes=(".bin",))
    keeper = NoticeKeeper(progress)
    with tempfile.TemporaryDirectory(prefix="qdq-link-") as folder:
        files = _files(sources, target, Path(folder))
        _check_graphs(request, files)
        keeper.step("link", 2 * len(files))
        made = compile_files(files, target, request, progress=keeper)
        separate = _separate_bytes(files, made, target, request, keeper)
    context = made.context
    assert context is not None
    shared = _is_shared(made, separate, len(files))
    _tell(made, separate, keeper, shared=shared, supported=target.weight_sharing)
    if place is not None:
        write_qnn(made.data, None, place)
    first = context.graph(files[0].graph_name)
    return LinkResult(
        model=made,
        device=", ".join(it.name for it in devices),
        options=parsed,
        graphs=tuple(it.graph_name for it in files),
        input_spec=binary_specs(first.inputs),
        output_spec=binary_specs(first.outputs),
        qnn={"kind": _RUNTIME, **context.to_dict(), "compile_seconds": round(made.seconds, 3)},
        separate_bytes=separate,
        linked_bytes=len(made.data),
        weights_shared=shared,
        notices=keeper.notices,
        output=place,
    )


def _files(sources: Sequence[PathLike], target: HtpTarget, folder: Path) -> list[QnnSource]:
    if not sources:
        raise OptionError("There is nothing to link", remedy="Give at least one DLC")
    found = [
        _source(Path(source), target, folder / str(index)) for index, source in enumerate(sources)
    ]
    names = [it.graph_name for it in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OptionError(
            f"Two of the models have graphs named '{twice[0]}'",
            remedy="Compile each with a --qnn_graph_name of its own",
        )
    for it in found:
        if not target.fp16 and find_quantization(it.model).precision is None:
            raise UnsupportedError(
                f"'{it.path.name}' computes in float, and the NPU of {target.chipset} has no "
                "float16",
                remedy="Quantize the model first",
            )
    return [QnnSource(it.path, it.graph_name) for it in found]


def _source(path: Path, target: HtpTarget, folder: Path) -> RetainedSource:
    if qnn_kind(path) is QnnKind.DLC or is_retained(path):
        kept = retained_source(path)
        # It was prepared for the chip that its compile job named.
        if not prepare_for_htp(kept.model, target):
            return kept
        return _saved(kept.model, kept.graph_name, folder)
    model = read_model(path)
    check_static_inputs(model)
    compile_graph(model, InterfaceRequest())
    prepare_for_htp(model, target)
    return _saved(model, default_graph_name(path.stem), folder)


def _saved(model: ir.Model, graph_name: str, folder: Path) -> RetainedSource:
    folder.mkdir()
    prepared = folder / "model.onnx"
    save_model(model, prepared)
    return RetainedSource(prepared, model, graph_name)


def _check_graphs(request: QnnRequest, files: Sequence[QnnSource]) -> None:
    """Refuse a list of graphs to enable that is not all of them: a link leaves none out."""
    if request.graph_name is None:
        return
    wanted = {name.strip() for name in request.graph_name.split(",")}
    have = {it.graph_name for it in files}
    if wanted != have:
        raise OptionError(
            f"--qnn_options context_enable_graphs={request.graph_name}: the models have the graphs "
            f"{', '.join(sorted(have))}",
            remedy="Name all graphs, or leave the key out",
        )


def _separate_bytes(
    files: Sequence[QnnSource],
    made: QnnModel,
    target: HtpTarget,
    request: QnnRequest,
    progress: Progress,
) -> int:
    if len(files) == 1:
        return len(made.data)
    return sum(
        len(compile_files((file,), target, request, progress=progress).data) for file in files
    )


def _is_shared(made: QnnModel, separate: int, count: int) -> bool:
    # What is not blob is the header that each binary has anyway.
    header = len(made.data) - (0 if made.context is None else made.context.blob_bytes)
    return len(made.data) < separate - (count - 1) * header


def _tell(
    made: QnnModel, separate: int, progress: Progress, *, shared: bool, supported: bool
) -> None:
    linked = len(made.data)
    if shared:
        progress.notice(
            f"weights are shared: {linked:,} bytes, {100 * (1 - linked / separate):.0f} % less "
            f"than the {separate:,} of the graphs one by one"
        )
    elif len(made.graph_names) > 1:
        progress.notice(
            f"weights are not shared: {linked:,} bytes, and {separate:,} one by one"
            + ("" if supported else "; chips before Hexagon v73 do not share them")
        )
