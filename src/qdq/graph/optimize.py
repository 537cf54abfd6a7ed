"""The optimisation pipeline: simplify a graph, keep its interface and every encoding."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable

import onnx_ir as ir

from qdq.base.errors import InternalError, ModelInvalidError, OptionError
from qdq.graph.diff import Encoding, live_encodings
from qdq.graph.passes import PIPELINE, GraphPass, InferShapes, Note, PassOutcome

__all__ = ["OptimizeResult", "optimize"]

# Each round lets one pass profit from another; real models settle in two or three.
MAX_ROUNDS = 10


@dataclasses.dataclass(frozen=True, slots=True)
class OptimizeResult:
    """The model (the same object), whether it changed, and what was done or left, and why."""

    model: ir.Model
    modified: bool
    notes: tuple[Note, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Promise:
    """What no pass may change: names and dtypes of the interface, encodings that matter."""

    names: tuple[str | None, ...]
    dtypes: tuple[ir.DataType | None, ...]
    encodings: Counter[Encoding]

    def is_kept_by(self, after: _Promise) -> bool:
        """Compare with the state after; what was not yet known before may be anything."""
        same_dtypes = all(a in (None, b) for a, b in zip(self.dtypes, after.dtypes, strict=False))
        known = Counter({e: n for e, n in self.encodings.items() if e.is_constant})
        same_count = self.encodings.total() == after.encodings.total()
        return self.names == after.names and same_dtypes and same_count and known <= after.encodings


def optimize(
    model: ir.Model, *, skip: Iterable[str] = (), passes: tuple[GraphPass, ...] = PIPELINE
) -> OptimizeResult:
    """Run ``passes`` on ``model`` in place until nothing changes, without those named in ``skip``.

    Inputs and outputs keep names, order and dtypes, and every Q/DQ that an output depends on
    keeps its encoding bit for bit.  Running it again changes nothing.  Raises OptionError for an
    unknown name in ``skip``, ModelInvalidError for an output that is not of its declared dtype,
    and InternalError when a promise is broken.
    """
    chosen = _without(passes, tuple(skip))
    runner = _Runner(model)
    modified = _check_declared_dtypes(model, runner)
    promise = _promise(model)
    changes: list[Note] = []
    for _ in range(MAX_ROUNDS):
        notes, round_modified = runner.run_all(chosen)
        changes.extend(note for note in notes if note.applied)
        if not round_modified:
            break
        modified = True
    if not promise.is_kept_by(_promise(model)):
        raise InternalError("Optimisation changed the model's interface or its encodings")
    # Reasons for leaving a node hold for the last round only.
    kept = [note for note in notes if not note.applied]
    return OptimizeResult(model, modified, tuple(dict.fromkeys([*changes, *kept])))


class _Runner:
    """Runs passes on a model, but none again that would find what it left."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._changes = 0
        # By pass: how many changes there were when it was last known to have nothing to do, and
        # its notes on what it leaves.
        self._settled: dict[str, tuple[int, tuple[Note, ...]]] = {}

    def run_all(self, passes: Iterable[GraphPass]) -> tuple[list[Note], bool]:
        """Run the passes in order; return all notes, and whether anything changed."""
        notes: list[Note] = []
        modified = False
        for graph_pass in passes:
            found, changed = self.run(graph_pass)
            notes.extend(found)
            modified |= changed
        return notes, modified

    def run(self, graph_pass: GraphPass) -> tuple[tuple[Note, ...], bool]:
        """Run one pass; return its notes, and whether it changed anything."""
        changes, left = self._settled.get(graph_pass.name, (-1, ()))
        if changes == self._changes:
            return left, False
        try:
            outcome = graph_pass(self._model)
        except (ir.passes.InvariantError, ir.passes.PassError) as error:
            raise InternalError(f"Pass {graph_pass.name} failed: {error}") from error
        assert isinstance(outcome, PassOutcome)
        self._changes += outcome.modified
        if graph_pass.settles or not outcome.modified:
            left = tuple(note for note in outcome.notes if not note.applied)
            self._settled[graph_pass.name] = self._changes, left
        return outcome.notes, outcome.modified


def _check_declared_dtypes(model: ir.Model, runner: _Runner) -> bool:
    """Infer types first, so that a wrong declaration is not taken for a broken promise."""
    declared = [value.dtype for value in model.graph.outputs]
    _, modified = runner.run(InferShapes())
    for value, dtype in zip(model.graph.outputs, declared, strict=True):
        if dtype is not None and value.dtype is not None and value.dtype != dtype:
            raise ModelInvalidError(
                f"It is declared as {dtype.name}, but the graph makes {value.dtype.name}",
                tensor=value.name,
                remedy="Export the model again",
            )
    return modified


def _without(passes: tuple[GraphPass, ...], skip: tuple[str, ...]) -> tuple[GraphPass, ...]:
    names = {graph_pass.name for graph_pass in passes}
    for name in skip:
        if name not in names:
            raise OptionError(
                f"There is no pass '{name}'", remedy=f"The passes are {', '.join(sorted(names))}"
            )
    return tuple(graph_pass for graph_pass in passes if graph_pass.name not in skip)


def _promise(model: ir.Model) -> _Promise:
    graph = model.graph
    interface = [value for value in graph.inputs if not value.is_initializer()]
    interface.extend(graph.outputs)
    return _Promise(
        tuple(value.name for value in interface),
        tuple(value.dtype for value in interface),
        live_encodings(model),
    )
