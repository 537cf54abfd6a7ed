"""Unpack an uploaded model folder from a zip archive that anyone may have made.

Nothing is taken from the archive but names that are plain relative paths, and bytes that are
counted while they are written: no links, no devices, no modes, no sizes that it declares.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from qdq.base.archives import BoundedListing
from qdq.base.errors import ModelCorruptError, ModelInvalidError, OutputError, QdqError

__all__ = ["ArchiveLimits", "extract_archive", "member_names"]

_CHUNK = 1 << 20
# The list of members; zipfile reads it at once, and with it alone more than a chunk.
_LARGEST_DIRECTORY = 4 << 20
_LONGEST_NAME = 255
_DEEPEST = 16
_DRIVE = re.compile(r"[A-Za-z]:")
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_REMEDY = "Zip one folder with the model's files in it, and nothing else"


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What an archive may unpack to; ``ratio`` is of all bytes unpacked to the archive's own.

    DEFLATE reaches 1032:1, so above ``ratio`` members share their compressed bytes.
    """

    entries: int = 4096
    file_bytes: int = 64 << 30
    total_bytes: int = 64 << 30
    ratio: int = 1040


_DEFAULT_LIMITS = ArchiveLimits()


def extract_archive(source: Path, folder: Path, *, limits: ArchiveLimits = _DEFAULT_LIMITS) -> Path:
    """Unpack ``source`` into the new folder ``folder``; return the one folder that it holds.

    Raises ModelCorruptError for bytes that are no sound archive, ModelInvalidError for one that
    breaks a rule, and OutputError when it cannot be written; then ``folder`` is gone again.
    """
    with _fresh(folder), _read_errors(), source.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        with zipfile.ZipFile(_bounded(file)) as archive:
            members = _checked_members(archive.infolist(), limits)
            budget = _Budget(limits, size)
            for member, parts in members:
                path = folder.joinpath(*parts)
                if member.is_dir():
                    _make_folder(path)
                    continue
                _make_folder(path.parent)
                with archive.open(member) as data:
                    count = _write(path, data, budget)
                # With a size too large, zipfile ends early and leaves the checksum out.
                if count != member.file_size:
                    raise zipfile.BadZipFile("a member has another size than it declares")
        return folder / members[0][1][0]


def member_names(source: Path) -> list[str]:
    """Return the names in an archive, unchecked.  Raises as ``extract_archive`` does."""
    with _read_errors(), source.open("rb") as file, zipfile.ZipFile(_bounded(file)) as archive:
        return archive.namelist()


def _bounded(file: BinaryIO) -> BoundedListing:
    return BoundedListing(file, listing_bytes=_LARGEST_DIRECTORY, remedy=_REMEDY)


class _Budget:
    """Counts what is written against the limits, whatever the archive declares."""

    def __init__(self, limits: ArchiveLimits, archive_bytes: int) -> None:
        self._file_limit = limits.file_bytes
        self._total_limit = min(limits.total_bytes, max(_CHUNK, limits.ratio * archive_bytes))
        self._total = 0
        self._file = 0

    def begin_file(self) -> None:
        self._file = 0

    def spend(self, count: int) -> None:
        self._file += count
        self._total += count
        if self._file > self._file_limit:
            raise _invalid(f"holds a file of more than {self._file_limit:,} bytes")
        if self._total > self._total_limit:
            raise _invalid(f"unpacks to more than {self._total_limit:,} bytes")


def _checked_members(
    members: list[zipfile.ZipInfo], limits: ArchiveLimits
) -> list[tuple[zipfile.ZipInfo, tuple[str, ...]]]:
    if not members:
        raise _invalid("is empty")
    if len(members) > limits.entries:
        raise _invalid(f"has {len(members):,} members, the limit is {limits.entries:,}")
    checked = [(member, _checked_parts(member)) for member in members]
    _check_collisions(checked)
    tops = {parts[0] for _, parts in checked}
    if len(tops) > 1:
        raise _invalid(f"has {len(tops)} entries at its top, where one folder must be")
    if any(len(parts) == 1 and not member.is_dir() for member, parts in checked):
        raise _invalid("has a file at its top, where one folder must be")
    return checked


def _checked_parts(member: zipfile.ZipInfo) -> tuple[str, ...]:
    # zipfile cuts the name at a zero byte; what was before that is the archive's own.
    name = member.orig_filename
    reason = _bad_name(name) or _bad_kind(member)
    if reason is not None:
        raise _invalid(f"has a member {name[:80]!r} that {reason}")
    return tuple(name.rstrip("/").split("/"))


def _bad_name(name: str) -> str | None:
    parts = name.removesuffix("/").split("/")
    if name.startswith("/") or _DRIVE.match(name):
        return "is an absolute path"
    if "\\" in name or not name.isprintable():
        return "has a backslash or a control character in its name"
    if any(part in ("", ".", "..") for part in parts):
        return "is no plain relative path"
    if len(parts) > _DEEPEST or any(len(part.encode()) > _LONGEST_NAME for part in parts):
        return "has too long a name"
    return None


def _bad_kind(member: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if member.is_dir() != (kind == stat.S_IFDIR) and kind != 0:
        return "is a folder by its name or by its mode, but not by both"
    if member.is_dir() and member.file_size:
        return "is a folder with content"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if member.compress_type not in _METHODS:
        return "is neither stored nor deflated"
    return None


def _check_collisions(checked: list[tuple[zipfile.ZipInfo, tuple[str, ...]]]) -> None:
    """Refuse members that are one file on some file system, folders on the way included."""
    spelled: dict[tuple[str, ...], tuple[str, ...]] = {}
    members: dict[tuple[str, ...], bool] = {}
    for member, parts in checked:
        key = tuple(_folded(part) for part in parts)
        for length in range(1, len(parts) + 1):
            if spelled.setdefault(key[:length], parts[:length]) != parts[:length]:
                raise _invalid(f"has members that differ from {_told(parts)} by case or accents")
        if key in members:
            raise _invalid(f"has the member {_told(parts)} twice")
        members[key] = member.is_dir()
    for key in members:
        if any(members.get(key[:length]) is False for length in range(1, len(key))):
            raise _invalid(f"has a file with something below it: {_told(spelled[key])}")


def _folded(part: str) -> str:
    plain = unicodedata.normalize("NFC", part).casefold()
    return unicodedata.normalize("NFC", plain)


def _told(parts: tuple[str, ...]) -> str:
    return repr("/".join(parts)[:80])


def _make_folder(path: Path) -> None:
    with _write_errors():
        path.mkdir(parents=True, exist_ok=True)


def _write(path: Path, data: IO[bytes], budget: _Budget) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with _write_errors():
        file = os.fdopen(os.open(path, flags, 0o600), "wb")
    budget.begin_file()
    count = 0
    with file:
        while chunk := data.read(_CHUNK):
            budget.spend(len(chunk))
            count += len(chunk)
            with _write_errors():
                file.write(chunk)
    return count


@contextmanager
def _fresh(folder: Path) -> Iterator[None]:
    with _write_errors():
        folder.mkdir()
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _read_errors() -> Iterator[None]:
    try:
        yield
    except (QdqError, MemoryError):
        raise
    # zipfile lets errors of zlib, struct, codecs and more through; all mean the same here.
    except Exception as error:
        raise ModelCorruptError(
            f"The zip archive is damaged: {str(error)[:200] or type(error).__name__}",
            remedy="Zip or copy the model again",
        ) from error


@contextmanager
def _write_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"The archive cannot be unpacked: {error.strerror or error}",
            remedy="Check permissions and free space of the data folder",
        ) from error


def _invalid(what: str) -> ModelInvalidError:
    return ModelInvalidError(f"The zip archive {what}", remedy=_REMEDY)
