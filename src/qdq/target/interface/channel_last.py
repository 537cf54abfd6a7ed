"""``--force_channel_last_input`` and ``_output``: channels move to the end at the named edges."""

from __future__ import annotations

import onnx_ir as ir

from qdq.base.errors import SpecError
from qdq.graph import GraphPass, NoteLog
from qdq.target.interface.edges import (
    add_after_input,
    add_before_output,
    graph_inputs,
    is_passed_through,
)
from qdq.target.interface.marks import has_channels_last, mark_channels_last

__all__ = ["ChannelLastInputs", "ChannelLastOutputs"]

# NCL, NCHW and NCDHW.
_RANKS = (3, 4, 5)


class ChannelLastInputs(GraphPass):
    """The named inputs take N...C; a Transpose inside gives the graph NC...

    Raises SpecError for an unknown name, an unfit rank, and an input that is an output as well.
    """

    name = "force_channel_last_input"

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Turn each named input that was not turned before."""
        known = {str(value.name): value for value in graph_inputs(model.graph)}
        wanted = _wanted(model, self._names, known, "input")
        for value in wanted:
            rank, shape = _rank(value, "input"), value.shape
            assert shape is not None
            perm = (0, rank - 1, *range(1, rank - 1))
            add_after_input(
                model.graph,
                value,
                "Transpose",
                name=f"{value.name}_channels_first",
                attributes=[ir.AttrInt64s("perm", perm)],
            )
            value.shape = ir.Shape([shape[0], *shape[2:], shape[1]])
            mark_channels_last(model, str(value.name))
            log.remark(f"input '{value.name}' takes its channels last", applied=True)
        return bool(wanted)


class ChannelLastOutputs(GraphPass):
    """The named outputs give N...C, by a Transpose at the end.

    Raises SpecError for an unknown name, an unfit rank, and an output that is an input or constant.
    """

    name = "force_channel_last_output"

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Turn each named output that was not turned before."""
        graph = model.graph
        known = {str(value.name): value for value in graph.outputs}
        wanted = _wanted(model, self._names, known, "output")
        for value in wanted:
            rank, shape = _rank(value, "output"), value.shape
            assert shape is not None
            perm = (0, *range(2, rank), 1)
            output = add_before_output(
                graph,
                list(graph.outputs).index(value),
                "Transpose",
                suffix="channels_first",
                attributes=[ir.AttrInt64s("perm", perm)],
            )
            output.shape = ir.Shape([shape[0], *shape[2:], shape[1]])
            mark_channels_last(model, str(output.name))
            log.remark(f"output '{output.name}' gives its channels last", applied=True)
        return bool(wanted)


def _wanted(
    model: ir.Model, names: tuple[str, ...], known: dict[str, ir.Value], what: str
) -> list[ir.Value]:
    """Return the named values that are still channels first, all checked before any changes."""
    told = ", ".join(f"'{name}'" for name in known)
    for name in names:
        if name not in known:
            raise SpecError(
                f"--force_channel_last_{what} names '{name}', which is no {what} of the model",
                remedy=f"The {what}s are {told}",
            )
    wanted = [known[name] for name in names if not has_channels_last(model, name)]
    for value in wanted:
        _rank(value, what)
        if is_passed_through(value):
            raise SpecError(
                f"The {what} '{value.name}' cannot be transposed: it is both ends of the graph "
                "or a constant",
                remedy="Leave it out",
            )
    return wanted


def _rank(value: ir.Value, what: str) -> int:
    rank = None if value.shape is None else len(value.shape)
    if rank not in _RANKS:
        raise SpecError(
            f"The {what} '{value.name}' has "
            f"{'an unknown rank' if rank is None else f'rank {rank}'}, and only tensors of rank "
            f"{', '.join(map(str, _RANKS))} have channels",
            remedy="Leave it out",
        )
    return rank
