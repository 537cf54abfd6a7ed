"""A blob store in a fresh folder, with a clock that tests set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from qdq.blobs import LocalBlobs, open_blobs


@dataclass
class Room:
    folder: Path
    time: list[float] = field(default_factory=lambda: [1_000_000.5])
    blobs: LocalBlobs = field(init=False)

    def __post_init__(self) -> None:
        self.blobs = self.reopen()

    def reopen(self, secret: bytes = b"s" * 32) -> LocalBlobs:
        return open_blobs(self.folder, secret=secret, clock=lambda: self.time[0])

    def files(self) -> list[str]:
        return sorted(
            str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()
        )


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "blobs")


@pytest.fixture
def blobs(room: Room) -> LocalBlobs:
    return room.blobs


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
