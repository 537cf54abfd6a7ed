"""What a compile job does to a graph, step by step, in the order in which it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from qdq.base.errors import OptionError
from qdq.base.options import Options
from qdq.graph import GraphPass, Note, NoteLog, PassOutcome, check_supported, optimize
from qdq.target.interface.channel_last import ChannelLastInputs, ChannelLastOutputs
from qdq.target.interface.output_names import RenameOutputs
from qdq.target.interface.quantize_io import QuantizeIo
from qdq.target.interface.truncate_io import TruncateIo
from qdq.target.interface.truncate_tensors import TruncateTensors
from qdq.target.onnx import compile_onnx

__all__ = [
    "STEPS",
    "CompileOutcome",
    "InterfaceRequest",
    "compile_graph",
    "read_request",
    "rename_and_truncate",
]


@dataclass(frozen=True, slots=True)
class InterfaceRequest:
    """What the options of a compile job ask of the graph and of its inputs and outputs."""

    output_names: tuple[str, ...] = ()
    truncate_io: bool = False
    truncate_tensors: bool = False
    quantize_io: bool = False
    quantize_io_type: str | None = None
    channels_last_inputs: tuple[str, ...] = ()
    channels_last_outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompileOutcome:
    """The model (the same object), what was done, and what was asked for and not done."""

    model: ir.Model
    changes: tuple[str, ...]
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Step:
    """A named step; ``make`` returns the pass for a request, or None where it was not asked for."""

    name: str
    make: Callable[[InterfaceRequest], GraphPass | None]


class _Optimize(GraphPass):
    """Simplify, take the form that the runtime's integer kernels want, refuse what it lacks."""

    name = "optimize"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Run target onnx."""
        done = compile_onnx(model)
        log.notes.extend(note for note in done.notes if note.applied)
        check_supported(model)
        return done.modified


class _Sweep(GraphPass):
    """Remove what the steps above left over."""

    name = "sweep"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Simplify once more."""
        done = optimize(model)
        log.notes.extend(note for note in done.notes if note.applied)
        return done.modified


STEPS: tuple[_Step, ...] = (
    # First, as the options below name outputs by their new names.
    _Step("output_names", lambda it: RenameOutputs(it.output_names) if it.output_names else None),
    # Before optimizing, which may merge the Casts, and refuses float64.
    _Step("truncate_64bit_io", lambda it: TruncateIo() if it.truncate_io else None),
    # Decides the final integer types of the encodings that the next step moves to the edges.
    _Step("optimize", lambda _: _Optimize()),
    # Before the layout, so that integers are transposed and not floats.
    _Step("quantize_io", lambda it: QuantizeIo(it.quantize_io_type) if it.quantize_io else None),
    _Step(
        "force_channel_last_input",
        lambda it: ChannelLastInputs(it.channels_last_inputs) if it.channels_last_inputs else None,
    ),
    _Step(
        "force_channel_last_output",
        lambda it: (
            ChannelLastOutputs(it.channels_last_outputs) if it.channels_last_outputs else None
        ),
    ),
    # Late: most int64 arithmetic is on shapes, and has been folded away by now.
    _Step("truncate_64bit_tensors", lambda it: TruncateTensors() if it.truncate_tensors else None),
    # A change above may make a Cast, a Transpose or a constant superfluous.
    _Step("sweep", lambda it: _Sweep() if it != InterfaceRequest() else None),
)


def read_request(options: Options) -> InterfaceRequest:
    """Return what compile options ask for; raise OptionError for a type without its option."""
    io_type = options.get("quantize_io_type")
    quantize_io = options.get_flag("quantize_io")
    if io_type is not None and not quantize_io:
        raise OptionError(
            "Option --quantize_io_type needs --quantize_io", remedy="Add --quantize_io"
        )
    return InterfaceRequest(
        output_names=_names(options, "output_names"),
        truncate_io=options.get_flag("truncate_64bit_io"),
        truncate_tensors=options.get_flag("truncate_64bit_tensors"),
        quantize_io=quantize_io,
        quantize_io_type=None if io_type is None else str(io_type),
        channels_last_inputs=_names(options, "force_channel_last_input"),
        channels_last_outputs=_names(options, "force_channel_last_output"),
    )


def compile_graph(model: ir.Model, request: InterfaceRequest) -> CompileOutcome:
    """Run the steps on ``model`` in place.

    Inputs and outputs change as ``request`` says and not otherwise; running the same request again
    changes nothing.  Raises SpecError for names that do not fit, UnsupportedError for graphs that
    the target does not take.
    """
    changes: list[Note] = []
    notices: list[Note] = []
    for step in STEPS:
        graph_pass = step.make(request)
        if graph_pass is None:
            continue
        outcome = graph_pass(model)
        assert isinstance(outcome, PassOutcome)
        changes.extend(note for note in outcome.notes if note.applied)
        notices.extend(note for note in outcome.notes if not note.applied)
    return CompileOutcome(
        model,
        tuple(dict.fromkeys(str(note) for note in changes)),
        tuple(dict.fromkeys(f"--{note.pass_name}: {note.text}" for note in notices)),
    )


def rename_and_truncate(model: ir.Model, request: InterfaceRequest) -> ir.Model:
    """Give ``model``, in place, the names and widths of its edges that ``request`` asks for.

    What runs with it then takes and gives what the compiled model does, but for layout and
    quantization.
    """
    for step in STEPS[:2]:
        graph_pass = step.make(request)
        if graph_pass is not None:
            graph_pass(model)
    return model


def _names(options: Options, name: str) -> tuple[str, ...]:
    value = options.get(name)
    return () if value is None else tuple(str(item) for item in value)  # type: ignore[union-attr]
