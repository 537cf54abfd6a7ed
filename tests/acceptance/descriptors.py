"""Describe a protobuf module as plain data, so that two processes' modules can be compared.

python descriptors.py qai_hub.public_api_pb2 > described.json
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["describe", "mentioned"]


def describe(module: ModuleType) -> dict[str, Any]:
    """Enums as ``{name: {value: number}}``, messages as ``{name: {number: field}}``.

    Names are without the package; messages within messages have a dot.
    """
    file = module.DESCRIPTOR
    enums: dict[str, dict[str, int]] = {}
    messages: dict[str, dict[str, list[Any]]] = {}
    prefix = len(file.package) + 1

    def add_enum(enum: Any) -> None:
        enums[enum.full_name[prefix:]] = {value.name: value.number for value in enum.values}

    def add_message(message: Any) -> None:
        fields = {str(field.number): _field(field, prefix) for field in message.fields}
        messages[message.full_name[prefix:]] = fields
        for enum in message.enum_types:
            add_enum(enum)
        for inner in message.nested_types:
            add_message(inner)

    for enum in file.enum_types_by_name.values():
        add_enum(enum)
    for message in file.message_types_by_name.values():
        add_message(message)
    return {"enums": enums, "messages": messages}


def _field(field: Any, prefix: int) -> list[Any]:
    """Name, type, label, presence, oneof, type's name: all that the wire and Python code see."""
    kind = field.message_type or field.enum_type
    own = kind is not None and kind.file is field.file
    type_name = kind and (kind.full_name[prefix:] if own else kind.full_name)
    oneof = field.containing_oneof and field.containing_oneof.name
    return [field.name, field.type, _repeated(field), field.has_presence, oneof, type_name]


def _repeated(field: Any) -> bool:
    # Newer releases of protobuf have a property; older ones only the label.
    return bool(field.is_repeated) if hasattr(field, "is_repeated") else field.label == 3


def mentioned(module: ModuleType) -> list[str]:
    """The types of the module that the modules of its package name in their text."""
    known = {*module.DESCRIPTOR.message_types_by_name, *module.DESCRIPTOR.enum_types_by_name}
    folder = Path(module.__file__ or "").parent
    found: set[str] = set()
    for source in folder.glob("*.py"):
        if source.name != Path(module.__file__ or "").name:
            found.update(re.findall(r"\bapi_pb\.(\w+)", source.read_text(encoding="utf-8")))
    return sorted(found & known)


if __name__ == "__main__":
    read = importlib.import_module(sys.argv[1])
    json.dump({**describe(read), "mentioned": mentioned(read)}, sys.stdout)
