"""The file by which the official client finds this workbench."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from qdq.base.errors import OptionError, OutputError

__all__ = ["client_ini", "write_client_ini"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def client_ini(host: str, port: int, *, data_dir: Path | None) -> str:
    """Return the configuration for the workbench in ``data_dir``; a token is made if need be."""
    from qdq.bootstrap import default_data_dir, read_token

    token = read_token(data_dir or default_data_dir())
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    return f"[api]\napi_token = {token}\napi_url = {address}\nweb_url = {address}\nverbose = True\n"


def write_client_ini(text: str, *, profile: str | None) -> None:
    """Write ``~/.qai_hub/client.ini``, or ``PROFILE.ini``, unless there is another one already.

    Raises OutputError instead of overwriting, OptionError for a name that is no file name.
    """
    name = "client" if profile is None else profile
    if not _NAME.fullmatch(name):
        raise OptionError(f"'{name}' cannot be the name of a profile", remedy="Use letters, digits")
    path = Path.home() / ".qai_hub" / f"{name}.ini"
    use = f" (qai-hub --profile {name})" if profile else ""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _create(path, text):
            _check_same(path, text)
            print(f"{path} is up to date{use}", file=sys.stderr)
            return
    except OSError as error:
        raise OutputError(
            f"Cannot write '{path}': {error.strerror or error}", remedy="Check its permissions"
        ) from error
    print(f"wrote {path}{use}", file=sys.stderr)


def _create(path: Path, text: str) -> bool:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return True


def _check_same(path: Path, text: str) -> None:
    if path.read_text(encoding="utf-8", errors="replace") != text:
        raise OutputError(
            f"'{path}' exists and is another configuration; it is left as it is",
            remedy="Move it away, or write another one with --profile NAME",
        )
