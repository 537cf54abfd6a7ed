"""Signed tokens: one verb, one object, a limited time.

A token is ``expiry-name-mac`` in lower-case letters, digits and dashes, which no URL, log or form
changes: seconds since 1970, the name in base32, HMAC-SHA256 in hexadecimal.  The verb is signed
but not told.
"""

from __future__ import annotations

import base64
import hmac
import re
import time
from collections.abc import Callable

__all__ = ["Signer"]

# Tells these signatures from any others that may come to be made with the same secret.
_PURPOSE = b"qdq-blob-link"
_TOKEN = re.compile(
    r"(?P<body>(?P<expiry>[0-9]{1,12})-(?P<name>[a-z2-7]{0,4096}))-(?P<mac>[0-9a-f]{64})"
)


class Signer:
    """Makes and checks tokens with one secret.  ``clock`` gives seconds since 1970."""

    def __init__(self, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock

    def sign(self, verb: str, name: str, *, seconds: int) -> str:
        """Return a token that is good for ``verb`` on ``name`` during ``seconds``."""
        coded = base64.b32encode(name.encode()).decode().rstrip("=").lower()
        body = f"{max(0, int(self._clock())) + max(0, seconds)}-{coded}"
        return f"{body}-{self._mac(verb, body)}"

    def verify(self, token: str, verb: str) -> str | None:
        """Return the name; None for a token that is not ours, for another verb, or too old."""
        found = _TOKEN.fullmatch(token)
        if found is None or not hmac.compare_digest(found["mac"], self._mac(verb, found["body"])):
            return None
        if self._clock() >= int(found["expiry"]):
            return None
        coded = found["name"].upper()
        return base64.b32decode(coded + "=" * (-len(coded) % 8)).decode()

    def _mac(self, verb: str, body: str) -> str:
        # A body has no newline, so no two pairs of verb and body give the same text.
        text = b"\n".join((_PURPOSE, verb.encode(), body.encode()))
        return hmac.digest(self._secret, text, "sha256").hex()
