"""AIMET's encodings files, read without trusting them.

Formats: AIMET documentation, "Encoding Format Specification", versions 0.6.1, 1.0.0 and 2.0.0.
An encoding of 0.6.1 and 1.0.0 is ``real = scale * (q + offset)`` with q unsigned; one of 2.0.0 has
the fields of QuantizeLinear.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qdq.base.errors import ModelInvalidError, UnsupportedError
from qdq.frontend.aimet_values import (
    AimetEncoding,
    Entry,
    read_legacy,
    read_onnx_like,
    read_versioned,
)
from qdq.frontend.formats import open_regular

__all__ = ["MAX_BYTES", "AimetEncodings", "parse_encodings", "read_encodings"]

# A model of 10 million channels has about this much; parsing takes some ten times the memory.
MAX_BYTES = 128 * 2**20
_LONGEST_NAME = 4096
_GROUPS = ("activation_encodings", "param_encodings")
_EXPORT = "Export the encodings again with AIMET, as version 0.6.1, 1.0.0 or 2.0.0"


@dataclass(frozen=True, slots=True)
class AimetEncodings:
    """The integer encodings by tensor name, and the names of tensors that stay float."""

    version: str
    tensors: tuple[AimetEncoding, ...]
    floats: tuple[str, ...]

    def renamed(self, names: Mapping[str, str]) -> AimetEncodings:
        """Return the encodings of a graph in which tensors have new names."""
        return replace(
            self,
            tensors=tuple(replace(it, name=names.get(it.name, it.name)) for it in self.tensors),
            floats=tuple(names.get(name, name) for name in self.floats),
        )


def read_encodings(path: Path) -> AimetEncodings:
    """Return the contents of an encodings file; raise ModelInvalidError or UnsupportedError."""
    with open_regular(path) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ModelInvalidError(
            f"The encodings file '{path.name}' is larger than {MAX_BYTES >> 20} MiB",
            remedy="Export encodings for each tensor or channel, not for each block",
        )
    return parse_encodings(data)


def parse_encodings(data: bytes) -> AimetEncodings:
    """Return the encodings in JSON text; raise ModelInvalidError or UnsupportedError."""
    document = _parse_json(data)
    if not isinstance(document, dict):
        raise _invalid("The encodings file holds no JSON object")
    version = document.get("version", "0.6.1")
    if not isinstance(version, str) or len(version) > 32:
        raise _invalid("The version of the encodings file is no text")
    major = version.split(".", 1)[0]
    if major not in _READERS:
        raise UnsupportedError(
            f"Encodings of version '{version}' are not supported", remedy=_EXPORT
        )
    entries = [_READERS[major](entry) for entry in _entries(document)]
    ((name, count),) = Counter(it.name for it in entries).most_common(1) or ((None, 0),)
    if count > 1:
        raise _invalid(f"It has {count} encodings", tensor=name)
    return AimetEncodings(
        version=version,
        tensors=tuple(entry for entry in entries if entry.bits),
        floats=tuple(entry.name for entry in entries if not entry.bits),
    )


_READERS = {"0": read_legacy, "1": read_versioned, "2": read_onnx_like}


def _parse_json(data: bytes) -> Any:
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number
        )
    except RecursionError:
        raise _invalid("The encodings file nests too deeply") from None
    except UnicodeDecodeError as error:
        raise _invalid("The encodings file is not UTF-8 text") from error
    # json's own error is a ValueError, as is that of an integer with too many digits.
    except ValueError as error:
        raise _invalid(f"The encodings file is no valid JSON: {str(error)[:200]}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("an object has the same key twice")
    return result


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _entries(document: dict[str, Any]) -> list[Entry]:
    """Return (name, fields) of every encoding, from whatever shape the version gives them."""
    if "encodings" in document:
        return _named(document["encodings"], "encodings")
    if not any(group in document for group in _GROUPS):
        raise _invalid("The encodings file has no encodings")
    return [
        entry for group in _GROUPS if group in document for entry in _named(document[group], group)
    ]


def _named(group: object, where: str) -> list[Entry]:
    if not isinstance(group, dict | list):
        raise _invalid(f"'{where}' is neither a list nor an object")
    entries = list(group.items()) if isinstance(group, dict) else [(_name(it), it) for it in group]
    for name, _ in entries:
        if not isinstance(name, str) or len(name) > _LONGEST_NAME:
            raise _invalid(f"An entry of '{where}' has no name, or an endless one")
    return entries


def _name(item: object) -> Any:
    return item.get("name") if isinstance(item, dict) else None


def _invalid(cause: str, *, tensor: str | None = None) -> ModelInvalidError:
    return ModelInvalidError(cause, tensor=tensor, remedy=_EXPORT)
