"""Sharing where there is one user: nobody to share with, and nothing to take back."""

from __future__ import annotations

from collections.abc import Sequence

from qdq.base.errors import RequestError

__all__ = ["Sharing"]


class Sharing:
    """Answers for one user whose objects are seen by that user alone."""

    def __init__(self, owner_email: str) -> None:
        self._owner = owner_email

    def emails(self) -> tuple[str, ...]:
        """Return whom an object is shared with."""
        return ()

    def change(self, *, add: Sequence[str], remove: Sequence[str]) -> None:
        """Accept what changes nothing.  Raises RequestError for an address nobody has here."""
        del remove
        unknown = [email for email in add if email.lower() != self._owner.lower()]
        if unknown:
            raise RequestError(
                f"This workbench has one user, {self._owner}; nobody here is {unknown[0]}",
                remedy="Give the downloaded files instead",
            )
