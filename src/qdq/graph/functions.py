"""Local functions of a model: counted first, then inlined.

A few kilobytes of functions that call each other can stand for more nodes than there is memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, RemoveUnusedOpsetsPass

from qdq.base.errors import ModelInvalidError, UnsupportedError

__all__ = ["DEEPEST_CALLS", "MOST_INLINED_NODES", "inline_functions"]

# Exporters write functions of some tens of nodes, a few calls deep; large models have ten thousand
# nodes in all.
MOST_INLINED_NODES = 200_000
DEEPEST_CALLS = 64

_Id = ir.OperatorIdentifier


def inline_functions(model: ir.Model) -> None:
    """Replace calls of local functions by their nodes, in place; then no function is left.

    Raises ModelInvalidError for functions that call each other in a circle, call more than
    DEEPEST_CALLS deep, or stand for more than MOST_INLINED_NODES nodes; UnsupportedError for what
    cannot be inlined.
    """
    if not model.functions:
        return
    _check_size(model)
    try:
        InlinePass()(model)
    except Exception as error:
        raise UnsupportedError(
            f"The functions of the model cannot be inlined: {_root(error)}",
            remedy="Export the model without local functions",
        ) from error
    model.functions.clear()
    RemoveUnusedOpsetsPass()(model)


def _check_size(model: ir.Model) -> None:
    """Count what inlining would make; functions that nothing calls are removed on the way."""
    bodies = {name: _calls(function, model.functions) for name, function in model.functions.items()}
    called = _calls(model.graph, model.functions)
    sizes: dict[_Id, int] = {}
    for name in _callees_first(called, bodies):
        own = sum(1 for _ in model.functions[name].all_nodes()) - bodies[name].total()
        sizes[name] = own + sum(sizes[it] * count for it, count in bodies[name].items())
    total = sum(sizes[name] * count for name, count in called.items())
    if total > MOST_INLINED_NODES:
        largest = max(called, key=lambda name: sizes[name] * called[name])
        raise ModelInvalidError(
            f"The local function '{_told(largest)}' and what it calls stand for "
            f"{sizes[largest] * called[largest]:,} nodes; all functions together may stand for "
            f"{MOST_INLINED_NODES:,}",
            remedy="Export the model without local functions",
        )
    for name in [it for it in model.functions if it not in sizes]:
        del model.functions[name]


def _calls(body: ir.Graph | ir.Function, functions: Mapping[_Id, ir.Function]) -> Counter[_Id]:
    """Return how often each function is called from ``body``, its subgraphs included."""
    names = (node.op_identifier() for node in body.all_nodes())
    return Counter(name for name in names if name in functions)


def _callees_first(called: Counter[_Id], bodies: Mapping[_Id, Counter[_Id]]) -> list[_Id]:
    """Return every function that is reached, each behind those that it calls."""
    depths: dict[_Id, int] = {}
    for start in called:
        # Those on the way from ``start`` down to where the walk is.
        entered: set[_Id] = set()
        waiting = [start]
        while waiting:
            name = waiting.pop()
            if name in depths:
                continue
            if name in entered:
                depths[name] = 1 + max((depths[it] for it in bodies[name]), default=0)
                _check_depth(name, depths[name])
                continue
            entered.add(name)
            waiting.append(name)
            for callee in bodies[name]:
                if callee in entered and callee not in depths:
                    raise _circle(callee)
                waiting.append(callee)
    return list(depths)


def _check_depth(name: _Id, depth: int) -> None:
    if depth > DEEPEST_CALLS:
        raise ModelInvalidError(
            f"The local function '{_told(name)}' calls others more than {DEEPEST_CALLS} deep",
            remedy="Export the model without local functions",
        )


def _circle(name: _Id) -> ModelInvalidError:
    return ModelInvalidError(
        f"The local function '{_told(name)}' calls itself, directly or through others",
        remedy="Export the model again",
    )


def _told(name: _Id) -> str:
    domain, function, overload = name
    return ":".join(part for part in (domain, function, overload) if part)[:200]


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300]
