"""Sessions on the HTP simulator: from a compiled model, or from the source of a DLC."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qdq.base.compute_units import check_units
from qdq.base.devices import HtpTarget, chip_target, common_target, find_device
from qdq.base.errors import OptionError
from qdq.base.options import JobKind, Options, parse_options
from qdq.base.progress import Progress
from qdq.base.qnn_files import QnnKind, qnn_kind
from qdq.base.qnn_package import check_qairt, require_qnn, simulator_label
from qdq.library._compile_qnn import binary_specs, check_chip
from qdq.library._io_spec import IoSpec
from qdq.library._qnn_source import RetainedSource, read_retained, retained_source
from qdq.library._sources import PathLike
from qdq.library._summary import find_quantization
from qdq.runtime.qnn.context import ContextBinary
from qdq.runtime.qnn.session import QnnSession, open_context
from qdq.target.qnn import QnnModel, QnnRequest, compile_qnn

__all__ = ["compile_retained", "open_simulator", "output_specs", "qnn_run_options"]

_OTHERS = ("onnx_options", "tflite_delegates", "tflite_options")
_MEASURING = ("max_profiler_iterations", "max_profiler_time")
_COMPILING = (
    "default_graph_htp_optimizations",
    "default_graph_htp_precision",
    "default_graph_htp_vtcm_size",
)
_GRAPHS = "context_enable_graphs"


def qnn_run_options(text: str) -> Options:
    """Return the options of a run on the simulator; OptionError for what it does not have."""
    options = parse_options(JobKind.PROFILE, text)
    check_units(options, qnn=True)
    for name in (*_OTHERS, *_MEASURING):
        if name in options.given:
            raise OptionError(
                f"Option --{name} does not apply to a compiled QNN model on the HTP simulator",
                remedy="Leave it out",
            )
    for key in _COMPILING:
        if key in options.get_pairs("qnn_options"):
            raise OptionError(
                f"--qnn_options {key} is a setting of compiling, and the model is compiled",
                remedy="Give it to the compile or link job",
            )
    if "qairt_version" in options.given:
        check_qairt(str(options.get("qairt_version")))
    return options


@contextmanager
def open_simulator(
    model: PathLike,
    options: Options,
    *,
    device: str | None,
    source: PathLike | None,
    progress: Progress,
) -> Iterator[QnnSession]:
    """Give a session on a compiled model; a DLC's retained source is compiled for ``device``.

    With a ``source`` a graph of a linked binary is compiled from it likewise, as the simulator does
    not load binaries with shared weights.
    Raises SpecError for a binary that is for another chip than ``device`` has, UnsupportedError for
    a DLC without its source, OptionError for a DLC without a device, and the errors of compiling.
    """
    require_qnn()
    progress.notice(
        f"runs on the {simulator_label()}: what the NPU computes; how fast a device is, it "
        "cannot tell"
    )
    graph = options.get_pairs("qnn_options").get(_GRAPHS)
    if qnn_kind(model) is not QnnKind.DLC:
        with open_context(model, graph=graph) as session:
            if device is not None:
                check_chip(session.context, find_device(device))
            if source is None:
                yield session
                return
            made = _compile_graph(session.context, source, graph, progress)
    else:
        made = compile_retained(retained_source(model, source), device, progress)
    with tempfile.TemporaryDirectory(prefix="qdq-dlc-") as folder:
        binary = Path(folder, "model.bin")
        binary.write_bytes(made.data)
        with open_context(binary, graph=graph) as session:
            yield session


def _compile_graph(
    context: ContextBinary, source: PathLike, graph: str | None, progress: Progress
) -> QnnModel:
    """Compile one graph of a linked binary alone, from the model that was kept of it."""
    retained = read_retained(Path(source))
    context.graph(retained.graph_name)
    if graph not in (None, retained.graph_name):
        raise OptionError(
            f"--qnn_options {_GRAPHS}={graph}: the source is that of '{retained.graph_name}'",
            remedy="Give the source of the graph that is to run",
        )
    progress.notice(
        f"the graph '{retained.graph_name}' of the linked binary is compiled alone from its ONNX "
        f"model for {context.chipset} and run: the simulator loads no shared weights"
    )
    return _compile(retained, chip_target(context.soc_model), progress)


def compile_retained(retained: RetainedSource, device: str | None, progress: Progress) -> QnnModel:
    """Compile the model that a DLC was made from, for the chip of ``device``."""
    if device is None:
        raise OptionError(
            "A DLC is for no chip yet: running it needs a device to compile it for",
            remedy="Name one (--device 'Samsung Galaxy S24')",
        )
    target = common_target((find_device(device),))
    progress.notice(
        f"a DLC cannot be run by itself: the ONNX model that it was made from is compiled for "
        f"{target.chipset} (Hexagon {target.arch}) and run"
    )
    return _compile(retained, target, progress)


def _compile(retained: RetainedSource, target: HtpTarget, progress: Progress) -> QnnModel:
    return compile_qnn(
        retained.model,
        target,
        QnnRequest(),
        graph_name=retained.graph_name,
        quantized=find_quantization(retained.model).precision is not None,
        progress=progress,
    )


def output_specs(session: QnnSession) -> tuple[IoSpec, ...]:
    """Return the outputs with their encodings."""
    return binary_specs(session.graph.outputs)
