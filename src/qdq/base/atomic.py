"""Write a file so that a failure leaves what was there before."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qdq.base.errors import OutputError

__all__ = ["atomic_output"]


@contextmanager
def atomic_output(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` and rename it to ``path`` when the block succeeds.

    The block creates a file or a folder there.  On any error the temporary path is removed and
    ``path`` is untouched.  A folder never replaces something that exists.  Raises OutputError when
    the parent folder is missing or not writable, or the disk is full.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise OutputError(
            f"The folder of the output '{target}' does not exist",
            remedy=f"Create '{target.parent}' first",
        )
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        _publish(temporary, target)
    except OSError as error:
        raise OutputError(
            f"Cannot write '{target}': {error.strerror or error}",
            remedy="Check permissions and free space, or choose another output path",
        ) from error
    finally:
        _remove(temporary)


def _publish(temporary: Path, target: Path) -> None:
    if temporary.is_dir() and target.exists():
        raise OutputError(
            f"'{target}' exists already and a folder is to be written there",
            remedy="Remove it or choose another output path",
        )
    if target.is_dir():
        raise OutputError(f"'{target}' is a folder", remedy="Choose the path of a file")
    if target.exists() and not target.is_file():
        # Renaming over /dev/null, as root, would replace the device for everybody.
        raise OutputError(f"'{target}' is no regular file", remedy="Choose the path of a file")
    temporary.replace(target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
