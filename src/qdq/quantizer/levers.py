"""The user's levers: what the options ask of single nodes and tensors, and what they match."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import onnx_ir as ir

from qdq.base.errors import OptionError
from qdq.base.options import Options
from qdq.base.precision import check_widths
from qdq.quantizer.origins import SourceGraph, SourceNode, trace_origins
from qdq.quantizer.overrides import Overrides

__all__ = ["LeverMatch", "Levers", "Origins", "ResolvedLevers"]

_BITS = {"int8": 8, "int16": 16}
# Names that are compared with a wrong one, and shown.
_MOST_COMPARED, _MOST_SHOWN = 5000, 3

Origins = Mapping[str, tuple[SourceNode, ...]]


@dataclass(frozen=True, slots=True)
class LeverMatch:
    """An expression of an option, the nodes of the given model that it matches, and the prepared
    nodes that compute them; ``value`` is ``int16``, ``int8`` or ``float``."""

    option: str
    expression: str
    value: str
    sources: tuple[str, ...]
    nodes: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "option": self.option,
            "expression": self.expression,
            "value": self.value,
            "source_nodes": list(self.sources),
            "nodes": list(self.nodes),
        }


@dataclass(frozen=True, slots=True)
class ResolvedLevers:
    """What levers come to in one graph."""

    overrides: Overrides
    matches: tuple[LeverMatch, ...]


@dataclass(frozen=True, slots=True)
class Levers:
    """The options ``--override``, ``--exclude_nodes``, ``--exclude_op_types`` and ``--range``.

    ``widths`` are (expression, value) in order, the last that matches a node counts; what is
    excluded stays float whatever the widths.  ``ranges`` maps tensors to (low, high).
    """

    widths: tuple[tuple[str, str], ...] = ()
    exclude_nodes: tuple[str, ...] = ()
    exclude_op_types: tuple[str, ...] = ()
    ranges: tuple[tuple[str, tuple[float, float]], ...] = ()

    @classmethod
    def of(cls, options: Options) -> Levers:
        """Read the options of a quantize job."""
        return cls(
            widths=options.get_assignments("override"),
            exclude_nodes=options.get_patterns("exclude_nodes"),
            exclude_op_types=options.get_patterns("exclude_op_types"),
            ranges=tuple((name, _ends(text)) for name, text in options.get_assignments("range")),
        )

    @property
    def bits(self) -> tuple[int, ...]:
        """The widths that are asked for."""
        return tuple(sorted({_BITS[value] for _, value in self.widths if value in _BITS}))

    def check(self, *, weights: str, target: str) -> None:
        """Raise PrecisionError for a width that ``target`` lacks with such weights."""
        check_widths(weights, (value for _, value in self.widths), target)

    def resolve(self, source: SourceGraph, graph: ir.Graph, *, weight_bits: int) -> ResolvedLevers:
        """Return what is asked of the nodes of the prepared ``graph``.

        ``weight_bits`` is the setting's: weights of 16 bits go with activations of 16 only, so that
        a node of 8 has 8-bit ones.  Raises OptionError for what matches nothing.
        """
        finder = _Finder(source, trace_origins(source, graph), graph)
        matches = [
            finder.find("override", expression, "float" if value == "fp16" else value)
            for expression, value in self.widths
        ]
        matches += [finder.find("exclude_nodes", it, "float") for it in self.exclude_nodes]
        matches += [finder.find_type(it) for it in self.exclude_op_types]
        bits: dict[str, int] = {}
        floats: dict[str, str] = {}
        for match in matches:
            for name in match.nodes:
                bits.pop(name, None)
                floats.pop(name, None)
                if match.value in _BITS:
                    bits[name] = _BITS[match.value]
                else:
                    floats[name] = f"asked for by --{match.option} {match.expression}"
        narrow = {it: 8 for it, width in bits.items() if weight_bits > width}
        return ResolvedLevers(Overrides(bits, narrow, floats), tuple(matches))


def _ends(text: str) -> tuple[float, float]:
    low, high = (float(part) for part in text.split(","))
    return low, high


class _Finder:
    """Matches names and op types of the given model, and tells the prepared nodes behind them."""

    def __init__(self, source: SourceGraph, origins: Origins, graph: ir.Graph) -> None:
        self._source, self._origins = source, origins
        self._own = {node.name or "": node.op_type for node in graph}
        self._heirs: dict[SourceNode, list[str]] = {}
        for name, covered in origins.items():
            for node in covered:
                self._heirs.setdefault(node, []).append(name)

    def find(self, option: str, expression: str, value: str) -> LeverMatch:
        """Return what a regular expression matches as a whole."""
        matches = re.compile(expression).fullmatch
        found = [node for node in self._source.nodes if matches(node.name)]
        # What preparation made anew has a name of its own, which reports tell.
        given = {node.name for node in self._source.nodes}
        own = [name for name in self._own if name not in given and matches(name)]
        if not found and not own:
            names = [*(node.name for node in self._source.nodes), *self._own]
            raise OptionError(
                f"Option --{option}: no node's whole name matches '{expression}'",
                remedy=_nearest(expression, names),
            )
        return self._match(option, expression, value, found, own)

    def find_type(self, op_type: str) -> LeverMatch:
        """Return the nodes of an op type: the prepared ones, else those behind given ones."""
        own = [name for name, its_type in self._own.items() if its_type == op_type]
        found = [] if own else [it for it in self._source.nodes if it.op_type == op_type]
        if not own and not found:
            types = sorted({*self._own.values(), *(it.op_type for it in self._source.nodes)})
            raise OptionError(
                f"Option --exclude_op_types: the model has no op of type '{op_type}'",
                remedy=_nearest(op_type, types),
            )
        return self._match("exclude_op_types", op_type, "float", found, own)

    def _match(
        self,
        option: str,
        expression: str,
        value: str,
        found: Sequence[SourceNode],
        own: Sequence[str],
    ) -> LeverMatch:
        heirs = {name for node in found for name in self._heirs.get(node, ())}
        nodes = tuple(name for name in self._own if name in heirs or name in own)
        if not nodes:
            raise OptionError(
                f"Option --{option}: '{expression}' matches only nodes that are computed once and "
                f"for all or dropped before quantizing, such as '{found[0].name}'",
                remedy="Leave it out, or name the nodes that read them",
            )
        sources = [it.name for it in found] or [
            it.name for name in own for it in self._origins[name]
        ]
        return LeverMatch(option, expression, value, tuple(dict.fromkeys(sources)), nodes)


def _nearest(wanted: str, names: Iterable[str]) -> str:
    several = list(dict.fromkeys(names))[:_MOST_COMPARED]
    near = get_close_matches(wanted, several, n=_MOST_SHOWN, cutoff=0.3)
    # An expression that is right but for its ends is near to what it holds.
    held = [name for name in several if wanted.strip("^$") in name or name in wanted]
    shown = list(dict.fromkeys((*near, *held)))[:_MOST_SHOWN] or several[:_MOST_SHOWN]
    return f"The nearest names are {', '.join(repr(name) for name in shown)}"
