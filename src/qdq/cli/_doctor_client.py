"""What keeps the official client from reaching a workbench on this machine."""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

from qdq.cli._doctor import Check

__all__ = ["client_checks"]

_HOSTS = ("127.0.0.1", "localhost")


def client_checks() -> tuple[Check, ...]:
    """Look for what the client's HTTP library obeys before it obeys the client."""
    return (_netrc(), _proxy())


def _netrc() -> Check:
    """Warn of an entry for this machine: its password would replace the client's token."""
    found, ok = "no entry for this machine", True
    given = os.environ.get("NETRC")
    paths = [given] if given else ["~/.netrc", "~/_netrc"]
    for name in paths:
        try:
            path = Path(name).expanduser()
            if not path.exists():
                continue
            entries = netrc.netrc(path)
        except netrc.NetrcParseError:
            # The client's library skips a file that it cannot read.
            break
        except (OSError, RuntimeError):
            continue
        hosts = [host for host in _HOSTS if entries.authenticators(host)]
        if hosts:
            found = f"{path} has an entry for {' and '.join(hosts)}, sent instead of the token"
            ok = False
        break
    return Check(
        ".netrc",
        ok=ok,
        required=False,
        found=found,
        remedy="Remove the entry (a 'default' one too), or the client gets 401",
        harmful=True,
    )


def _proxy() -> Check:
    """Warn of a proxy that requests to this machine would go through."""
    proxies = getproxies()
    proxy = proxies.get("http") or proxies.get("all")
    through = [host for host in _HOSTS if proxy and not proxy_bypass(host)]
    return Check(
        "http_proxy",
        ok=not through,
        required=False,
        # The address may hold a password.
        found=f"requests to {' and '.join(through)} go through it" if through else "not in the way",
        remedy="Set NO_PROXY=127.0.0.1,localhost, or the client cannot reach the server",
        harmful=True,
    )
