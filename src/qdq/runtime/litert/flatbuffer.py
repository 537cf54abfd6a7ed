"""Flatbuffers, read with bounds: nothing of a file is believed before ``verify`` has walked it.

LiteRT follows the offsets of a file without looking, so a wrong one is a crash or worse.  The walk
is driven by the layout of the TFLite schema in ``schema.json``: a field is a number of so many
bytes, a ``string``, a table by its name, a ``union`` of tables, or a vector ``[...]`` of these.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, TypeAlias

from qdq.base.errors import ModelCorruptError

__all__ = ["IDENTIFIER", "Data", "Schema", "Table", "read_root", "tflite_schema"]

Data: TypeAlias = Any  # What the buffer protocol gives: bytes, or a mapped file.
_Field: TypeAlias = tuple[str, int | str] | None

IDENTIFIER = b"TFL3"
_ROOT = "Model"
# LiteRT's own verifier stops at a million tables; shared and overlapping vectors count again.
_MOST_PARTS = 2_000_000
_HEAD = 8
_WORD = 4


@dataclass(frozen=True, slots=True)
class Schema:
    """Fields of each table, members of each union, and names of enum values, in order.

    ``slots`` tells where the vtable of a table has a field, by both their names.
    """

    tables: Mapping[str, tuple[_Field, ...]]
    unions: Mapping[str, tuple[str, ...]]
    enums: Mapping[str, tuple[str, ...]]
    slots: Mapping[tuple[str, str], int]


@cache
def tflite_schema() -> Schema:
    """Return the layout of TFLite files, version 3."""
    source = resources.files("qdq.runtime.litert").joinpath("schema.json")
    found = json.loads(source.read_text(encoding="utf-8"))
    tables: dict[str, tuple[_Field, ...]] = {
        name: tuple(None if field is None else (field[0], field[1]) for field in fields)
        for name, fields in found["tables"].items()
    }
    return Schema(
        tables=tables,
        unions={name: tuple(members) for name, members in found["unions"].items()},
        enums={name: tuple(values) for name, values in found["enums"].items()},
        slots={
            (kind, field[0]): 4 + 2 * index
            for kind, fields in tables.items()
            for index, field in enumerate(fields)
            if field is not None
        },
    )


class Table:
    """One table of a verified buffer; fields are read by their names in the schema."""

    __slots__ = ("_data", "_position", "kind")

    def __init__(self, data: Data, position: int, kind: str) -> None:
        self._data = data
        self._position = position
        self.kind = kind

    def number(self, name: str, form: str = "i", default: int = 0) -> int:
        """Return an integer field; ``form`` is its struct format."""
        place = self._place(name)
        if place is None:
            return default
        return int(struct.unpack_from(f"<{form}", self._data, place)[0])

    def text(self, name: str) -> str:
        """Return a string field, empty where there is none."""
        start, count = self.span(name)
        return bytes(self._data[start : start + count]).decode("utf-8", "replace")

    def span(self, name: str) -> tuple[int, int]:
        """Return where a vector's elements begin and how many there are."""
        place = self._place(name)
        if place is None:
            return 0, 0
        target = place + _u32(self._data, place)
        return target + _WORD, _u32(self._data, target)

    def has(self, name: str) -> bool:
        """Tell whether the field is there."""
        return self._place(name) is not None

    def numbers(self, name: str, form: str = "i", *, most: int | None = None) -> tuple[Any, ...]:
        """Return the first ``most`` elements of a vector of numbers."""
        start, count = self.span(name)
        count = count if most is None else min(count, most)
        return struct.unpack_from(f"<{count}{form}", self._data, start)

    def table(self, name: str, kind: str) -> Table | None:
        """Return the table (or the member ``kind`` of a union) of a field."""
        place = self._place(name)
        if place is None:
            return None
        return Table(self._data, place + _u32(self._data, place), kind)

    def tables(self, name: str, kind: str) -> list[Table]:
        """Return the tables of a vector."""
        start, count = self.span(name)
        places = range(start, start + _WORD * count, _WORD)
        return [Table(self._data, place + _u32(self._data, place), kind) for place in places]

    def _place(self, name: str) -> int | None:
        slot = tflite_schema().slots[self.kind, name]
        vtable = self._position - struct.unpack_from("<i", self._data, self._position)[0]
        if slot + 2 > _u16(self._data, vtable):
            return None
        offset = _u16(self._data, vtable + slot)
        return self._position + offset if offset else None


def read_root(data: Data) -> Table:
    """Return the root of a TFLite buffer, once every offset in it is known to lie inside.

    Raises ModelCorruptError.
    """
    if len(data) < _HEAD or bytes(data[4:8]) != IDENTIFIER:
        raise ModelCorruptError(
            "The file does not have the identifier of a TFLite model",
            remedy="Give a .tflite file, version 3",
        )
    root = _u32(data, 0)
    _Walk(data, tflite_schema()).run(root)
    return Table(data, root, _ROOT)


class _Walk:
    """The verification: a stack of what is to be looked at, each part once."""

    def __init__(self, data: Data, schema: Schema) -> None:
        self._data = data
        self._end = len(data)
        self._schema = schema
        self._seen: set[tuple[int, str]] = set()
        self._todo: list[tuple[int, str]] = []
        self._parts = 0

    def run(self, root: int) -> None:
        self._add(root, _ROOT)
        while self._todo:
            self._table(*self._todo.pop())

    def _add(self, position: int, kind: str) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise _corrupt(f"it has more than {_MOST_PARTS:,} parts")
        if (position, kind) not in self._seen:
            self._seen.add((position, kind))
            self._todo.append((position, kind))

    def _table(self, position: int, kind: str) -> None:
        self._inside(position, _WORD, kind)
        vtable = position - struct.unpack_from("<i", self._data, position)[0]
        self._inside(vtable, _WORD, kind)
        slots, size = _u16(self._data, vtable), _u16(self._data, vtable + 2)
        if slots < 4 or slots % 2 or size < _WORD:
            raise _corrupt(f"the vtable of a {kind} has {slots} bytes for a table of {size}")
        self._inside(vtable, slots, kind)
        self._inside(position, size, kind)
        previous = 0
        for index, field in enumerate(self._schema.tables[kind][: (slots - 4) // 2]):
            offset = _u16(self._data, vtable + 4 + 2 * index)
            if not offset or field is None:
                previous = 0
                continue
            width = field[1] if isinstance(field[1], int) else _WORD
            if offset < _WORD or offset + width > size:
                raise _corrupt(f"the field {field[0]} of a {kind} lies outside of its table")
            previous = self._field(position + offset, field, previous, kind)

    def _field(self, place: int, field: Any, previous: int, kind: str) -> int:
        """Check one field; return its value when it is a byte, as unions have their type before."""
        name, form = field
        if isinstance(form, int):
            return int(self._data[place]) if form == 1 else 0
        target = place + _u32(self._data, place)
        if form.startswith("union "):
            self._union(target, form.removeprefix("union "), previous)
        elif form.startswith("["):
            self._vector(target, form[1:-1], f"{kind}.{name}")
        elif form == "string":
            self._string(target, f"{kind}.{name}")
        else:
            self._add(target, form)
        return 0

    def _union(self, target: int, union: str, member: int) -> None:
        members = self._schema.unions[union]
        # A union of the type NONE is read by nobody.
        if member == 0:
            return
        if member >= len(members):
            raise _corrupt(f"{member} is no member of the union {union}")
        self._add(target, members[member])

    def _vector(self, target: int, element: str, name: str) -> None:
        width = int(element) if element.isdigit() else _WORD
        count = self._count(target, width, name)
        if element.isdigit() or (target, f"[{element}]") in self._seen:
            return
        self._seen.add((target, f"[{element}]"))
        for place in range(target + _WORD, target + _WORD + _WORD * count, _WORD):
            inner = place + _u32(self._data, place)
            if element == "string":
                self._parts += 1
                self._string(inner, name)
            else:
                self._add(inner, element)

    def _string(self, target: int, name: str) -> None:
        count = self._count(target, 1, name)
        end = target + _WORD + count
        if end >= self._end or self._data[end] != 0:
            raise _corrupt(f"the string {name} does not end")

    def _count(self, target: int, width: int, name: str) -> int:
        self._inside(target, _WORD, name)
        count = _u32(self._data, target)
        self._inside(target, _WORD + width * count, name)
        return count

    def _inside(self, position: int, size: int, what: str) -> None:
        if position < 0 or position + size > self._end:
            raise _corrupt(f"{what} lies outside of the file")


def _u16(data: Data, position: int) -> int:
    return int(struct.unpack_from("<H", data, position)[0])


def _u32(data: Data, position: int) -> int:
    return int(struct.unpack_from("<I", data, position)[0])


def _corrupt(what: str) -> ModelCorruptError:
    return ModelCorruptError(
        f"The TFLite file is damaged: {what}", remedy="Copy or convert the model again"
    )
