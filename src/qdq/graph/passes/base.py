"""What a pass is: a name, requires / call / ensures, and notes that say what it did and why not."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar

import onnx_ir as ir

from qdq.graph.edit import label, names_kept

__all__ = ["GraphPass", "Note", "NoteLog", "PassOutcome"]


@dataclasses.dataclass(frozen=True, slots=True)
class Note:
    """One sentence of a pass: ``applied`` tells a change, else a reason for leaving a node."""

    pass_name: str
    text: str
    applied: bool
    node: str | None = None

    def __str__(self) -> str:
        return f"{self.pass_name}: {self.text}"


class NoteLog:
    """Collects the notes of one pass, each about one node."""

    def __init__(self, pass_name: str) -> None:
        self.pass_name = pass_name
        self.notes: list[Note] = []

    def applied(self, node: ir.Node, what: str) -> None:
        """Record that the pass changed something at ``node``."""
        self._add(node, what, applied=True)

    def kept(self, node: ir.Node, why: str) -> None:
        """Record why the pass left ``node`` alone."""
        self._add(node, f"kept: {why}", applied=False)

    def remark(self, text: str, *, applied: bool = False) -> None:
        """Record a sentence about the model as a whole."""
        self.notes.append(Note(self.pass_name, text, applied))

    def _add(self, node: ir.Node, text: str, *, applied: bool) -> None:
        name = label(node)
        sentence = f"{node.op_type} '{name}' {text}"
        self.notes.append(Note(self.pass_name, sentence, applied, name))


@dataclasses.dataclass
class PassOutcome(ir.passes.PassResult):
    """The model, whether it was modified, and the notes."""

    notes: tuple[Note, ...] = ()


class GraphPass(ir.passes.InPlacePass):
    """A named pass that changes the main graph in place.

    ``requires`` and ``ensures`` are the conditions before and after ``call``.  ``rewrite`` does
    the work: it returns whether anything changed, exactly, and is a function of the model alone,
    so that a pipeline that ran until nothing changed stays still when run again.  A pass that
    ``settles`` would change nothing if it ran twice in a row.
    """

    name: ClassVar[str]
    settles: ClassVar[bool] = False

    def call(self, model: ir.Model) -> PassOutcome:
        """Run ``rewrite`` and return its outcome with the notes."""
        log = NoteLog(self.name)
        with names_kept():
            modified = self.rewrite(model, log)
        return PassOutcome(model, modified, tuple(log.notes))

    @abc.abstractmethod
    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Change ``model``, write notes to ``log`` and return whether anything changed."""
