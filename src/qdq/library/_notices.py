"""Keep the notices of an operation while passing its progress on."""

from __future__ import annotations

from qdq.base.progress import Progress

__all__ = ["NoticeKeeper"]


class NoticeKeeper:
    """A Progress that forwards everything and keeps the sentences, each once."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._notices: dict[str, None] = {}

    @property
    def notices(self) -> tuple[str, ...]:
        """The sentences so far, in order."""
        return tuple(self._notices)

    def step(self, name: str, total: int) -> None:
        """Forward."""
        self._progress.step(name, total)

    def advance(self, units: int = 1) -> None:
        """Forward."""
        self._progress.advance(units)

    def notice(self, text: str) -> None:
        """Keep and forward a sentence, unless it was said before."""
        if text not in self._notices:
            self._notices[text] = None
            self._progress.notice(text)
