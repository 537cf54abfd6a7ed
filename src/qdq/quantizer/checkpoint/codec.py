"""The quantizer's own values as one .npz file: a tree in JSON, and its arrays beside it.

Nothing of the file is run: objects are filled with what it says, and only those whose classes are
in this package.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from qdq.base.errors import InternalError

__all__ = ["DamagedError", "read_values", "write_values"]

Array = np.ndarray[Any, Any]

_COLLECTIONS: dict[str, type[Any]] = {it.__name__: it for it in (list, tuple, set, frozenset)}
_PACKAGE = "qdq.quantizer."
_TREE = "tree"


class DamagedError(Exception):
    """The file is not what ``write_values`` wrote; who reads it does the work again."""


def write_values(path: Path, values: object) -> None:
    """Write ``values``: dataclasses and other objects of the quantizer, collections, arrays.

    Raises InternalError for anything else, OSError when it cannot be written.
    """
    arrays: list[Array] = []
    tree = json.dumps(_encode(values, arrays))
    named = {str(index): each for index, each in enumerate(arrays)}
    with path.open("wb") as file:
        np.savez(
            file, allow_pickle=False, **{_TREE: np.frombuffer(tree.encode(), np.uint8)}, **named
        )


def read_values(path: Path) -> Any:
    """Return what ``write_values`` wrote; raise DamagedError for anything else."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            tree = json.loads(file[_TREE].tobytes())
            return _decode(tree, file)
    except Exception as error:
        raise DamagedError(str(path)) from error


def _encode(value: object, arrays: list[Array]) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            # JSON writes every float so that it is read back the same, infinities too.
            return value
        case np.ndarray() | np.generic() | array():
            arrays.append(np.asarray(value))
            return _encode_array(value, len(arrays) - 1)
        case list() | tuple() | set() | frozenset() if type(value) in _COLLECTIONS.values():
            items = sorted(value) if isinstance(value, set | frozenset) else value
            return {type(value).__name__: [_encode(item, arrays) for item in items]}
        case Mapping():
            pairs = [[_encode(key, arrays), _encode(it, arrays)] for key, it in value.items()]
            return {"dict": pairs}
    return _encode_object(value, arrays)


def _encode_array(value: Array | np.generic | array[Any], index: int) -> Any:
    if isinstance(value, array):
        return {"typed": index, "code": value.typecode}
    return {"array" if isinstance(value, np.ndarray) else "scalar": index}


def _encode_object(value: object, arrays: list[Array]) -> Any:
    kind = type(value)
    if not f"{kind.__module__}.".startswith(_PACKAGE):
        raise InternalError(f"A checkpoint cannot hold {kind.__module__}.{kind.__qualname__}")
    state = {name: _encode(getattr(value, name), arrays) for name in _names(value)}
    return {"object": f"{kind.__module__}:{kind.__qualname__}", "state": state}


def _names(value: object) -> Iterator[str]:
    if is_dataclass(value):
        yield from (field.name for field in fields(value))
        return
    yield from getattr(value, "__slots__", ())
    yield from getattr(value, "__dict__", ())


def _decode(tree: Any, file: Mapping[str, Array]) -> Any:
    if not isinstance(tree, dict):
        return tree
    kind, content = next(iter(tree.items()))
    match kind:
        case "array":
            found: Any = file[str(int(content))]
        case "typed":
            found = array(tree["code"], file[str(int(content))].tobytes())
        case "scalar":
            found = file[str(int(content))][()]
        case "dict":
            found = {_decode(key, file): _decode(it, file) for key, it in content}
        case "object":
            found = _decode_object(tree, file)
        case _:
            found = _COLLECTIONS[kind](_decode(item, file) for item in content)
    return found


def _decode_object(tree: Any, file: Mapping[str, Array]) -> Any:
    module, _, name = tree["object"].partition(":")
    if not module.startswith(_PACKAGE):
        raise DamagedError(module)
    kind = getattr(import_module(module), name)
    made = object.__new__(kind)
    for key, value in tree["state"].items():
        # Frozen ones too: the values are those that it was made of.
        object.__setattr__(made, key, _decode(value, file))
    return made
