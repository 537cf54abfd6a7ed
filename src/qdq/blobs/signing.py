"""Signed names: what lets a URL stand for one object, one verb and a limited time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time

__all__ = ["Signer"]

_MAC_BYTES = 16
_LONGEST_TOKEN = 4096


class Signer:
    """Makes and checks tokens: base64url of an expiry, a verb, a name and an HMAC-SHA256 over them.

    RFC 2104, truncated to 128 bits.  Whoever has the token may use the verb on the object until
    it expires; nobody without the secret can make one.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, verb: str, name: str, *, seconds: int) -> str:
        """Return a token of letters, digits, ``-`` and ``_``."""
        body = f"{int(time.time()) + seconds}\n{verb}\n{name}".encode()
        return base64.urlsafe_b64encode(self._mac(body) + body).decode().rstrip("=")

    def verify(self, token: str, verb: str) -> str | None:
        """Return the name when the token is ours, for ``verb``, and not expired."""
        if len(token) > _LONGEST_TOKEN:
            return None
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            return None
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(body)):
            return None
        expiry, signed_verb, name = body.decode().split("\n", 2)
        return name if signed_verb == verb and int(expiry) >= time.time() else None

    def _mac(self, body: bytes) -> bytes:
        return hmac.new(self._secret, body, hashlib.sha256).digest()[:_MAC_BYTES]
