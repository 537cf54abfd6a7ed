"""Streaming multipart/form-data: small fields, then one file, under explicit limits.

The parser is fed bytes as they arrive and gives events; it holds no more than a delimiter's or a
header block's worth of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from qdq.base.errors import RequestError, TooLargeError

__all__ = ["Data", "MultipartLimits", "MultipartParser", "PartBegin", "PartEnd", "boundary_of"]

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_MOST_PADDING = 64
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf';\s*({_TOKEN})\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]+)\s*')


@dataclass(frozen=True, slots=True)
class MultipartLimits:
    """How much of everything but the file's bytes, which the receiver counts."""

    parts: int = 32
    header_bytes: int = 8192
    headers: int = 16
    preamble_bytes: int = 1024


@dataclass(frozen=True, slots=True)
class PartBegin:
    """A part begins; ``filename`` is None for a plain field."""

    name: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class Data:
    """Some bytes of the part that began last."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part that began last is whole."""


class _State(Enum):
    PREAMBLE = auto()
    AFTER_DELIMITER = auto()
    HEADERS = auto()
    BODY = auto()
    EPILOGUE = auto()


class MultipartParser:
    """Turns chunks of any size into events.  Raises RequestError or TooLargeError."""

    def __init__(self, boundary: str, *, limits: MultipartLimits | None = None) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._limits = limits or MultipartLimits()
        # The first delimiter may stand at the very begin, without its line break.
        self._buffer = bytearray(b"\r\n")
        self._state = _State.PREAMBLE
        self._parts = 0

    def feed(self, chunk: bytes) -> Iterator[PartBegin | Data | PartEnd]:
        """Take a chunk and give what it completes."""
        self._buffer += chunk
        while True:
            match self._state:
                case _State.PREAMBLE:
                    if not self._skip_preamble():
                        return
                case _State.AFTER_DELIMITER:
                    if not self._after_delimiter():
                        return
                case _State.HEADERS:
                    begin = self._headers()
                    if begin is None:
                        return
                    yield begin
                case _State.BODY:
                    data, ended = self._body()
                    if data:
                        yield Data(data)
                    if not ended:
                        return
                    yield PartEnd()
                case _State.EPILOGUE:
                    self._buffer.clear()
                    return

    def close(self) -> None:
        """Say that no more bytes come.  Raises RequestError when the form is cut off."""
        if self._state is not _State.EPILOGUE:
            raise RequestError("The form is cut off before its end", remedy="Upload it again")

    def _skip_preamble(self) -> bool:
        at = self._buffer.find(self._delimiter)
        if at < 0:
            if len(self._buffer) > self._limits.preamble_bytes + len(self._delimiter):
                raise RequestError("The form does not begin with its boundary")
            return False
        del self._buffer[: at + len(self._delimiter)]
        self._state = _State.AFTER_DELIMITER
        return True

    def _after_delimiter(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer.startswith(b"--"):
            self._state = _State.EPILOGUE
            return True
        # Blanks may follow a delimiter, then comes its line break.
        end = self._buffer.find(b"\r\n")
        rest = self._buffer[:end] if end >= 0 else self._buffer.removesuffix(b"\r")
        if rest.strip(b" \t") or len(rest) > _MOST_PADDING:
            raise RequestError("Bytes follow a boundary of the form")
        if end < 0:
            return False
        del self._buffer[: end + 2]
        self._parts += 1
        if self._parts > self._limits.parts:
            raise TooLargeError(f"The form has more than {self._limits.parts} parts")
        self._state = _State.HEADERS
        return True

    def _headers(self) -> PartBegin | None:
        end = self._buffer.find(b"\r\n\r\n")
        if (end if end >= 0 else len(self._buffer)) > self._limits.header_bytes:
            raise TooLargeError("The headers of a part of the form are too large")
        if end < 0:
            return None
        block = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        self._state = _State.BODY
        return self._begin(block)

    def _begin(self, block: bytes) -> PartBegin:
        lines = block.split(b"\r\n")
        if len(lines) > self._limits.headers:
            raise TooLargeError("A part of the form has too many headers")
        for line in lines:
            name, _, value = line.decode("utf-8", "replace").partition(":")
            if name.strip().lower() == "content-disposition":
                return _disposition(value)
        raise RequestError("A part of the form has no Content-Disposition")

    def _body(self) -> tuple[bytes, bool]:
        at = self._buffer.find(self._delimiter)
        if at >= 0:
            data = bytes(self._buffer[:at])
            del self._buffer[: at + len(self._delimiter)]
            self._state = _State.AFTER_DELIMITER
            return data, True
        # All but what may be the begin of a delimiter.
        keep = _overlap(self._buffer, self._delimiter)
        data = bytes(self._buffer[: len(self._buffer) - keep])
        del self._buffer[: len(self._buffer) - keep]
        return data, False


def boundary_of(content_type: str) -> str:
    """Return the boundary of a multipart/form-data content type.  Raises RequestError."""
    kind, _, _ = content_type.partition(";")
    if kind.strip().lower() != "multipart/form-data":
        raise RequestError("The upload is no multipart/form-data form")
    boundary = _parameters(content_type[len(kind) :]).get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise RequestError("The form has no usable boundary")
    return boundary


def _disposition(value: str) -> PartBegin:
    kind, _, _ = value.partition(";")
    parameters = _parameters(value[len(kind) :])
    if kind.strip().lower() != "form-data" or "name" not in parameters:
        raise RequestError("A part of the form has no name")
    return PartBegin(parameters["name"], parameters.get("filename"))


def _parameters(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in _PARAMETER.findall(text):
        quoted = value.startswith('"')
        text = re.sub(r"\\(.)", r"\1", value[1:-1]) if quoted else value
        found.setdefault(name.lower(), text)
    return found


def _overlap(buffer: bytearray, delimiter: bytes) -> int:
    """Return how many last bytes of ``buffer`` begin ``delimiter``."""
    for count in range(min(len(delimiter) - 1, len(buffer)), 0, -1):
        if buffer.endswith(delimiter[:count]):
            return count
    return 0
