"""How uploads are named and cut into parts, so that every retry means the same bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from qdq.base.errors import RequestError, TooLargeError

__all__ = ["UploadPlan", "plan_upload", "read_plan"]

_UPLOAD_ID = re.compile(
    r"(?P<asset>[md][a-z0-9]{1,63})-(?P<size>[0-9]{1,15})-(?P<part>[0-9]{1,15})"
)


@dataclass(frozen=True, slots=True)
class UploadPlan:
    """The parts of one upload: all of ``part_bytes`` but the last, which holds the rest."""

    asset_id: str
    size: int
    part_bytes: int

    @property
    def upload_id(self) -> str:
        """The name, which holds the plan: asking again for the same file gives the same one."""
        return f"{self.asset_id}-{self.size}-{self.part_bytes}"

    @property
    def parts(self) -> int:
        """How many parts there are, at least one."""
        return max(1, -(-self.size // self.part_bytes))

    def part_size(self, index: int) -> int:
        """Return the bytes of the part ``index``, from 0."""
        return min(self.part_bytes, self.size - index * self.part_bytes)


def plan_upload(asset_id: str, size: int, *, limit: int, part_bytes: int, most: int) -> UploadPlan:
    """Return the plan for ``size`` bytes in at most ``most`` parts; raise TooLargeError."""
    if size > limit:
        raise TooLargeError(
            f"The file has {size:,} bytes; this workbench takes {limit:,} at most",
            remedy="Upload a smaller file",
        )
    return UploadPlan(asset_id, size, max(part_bytes, -(-size // most)))


def read_plan(upload_id: str) -> UploadPlan:
    """Return the plan that an upload's name holds.  Raises RequestError."""
    found = _UPLOAD_ID.fullmatch(upload_id)
    if found is None or int(found["part"]) < 1:
        raise RequestError("The upload was not begun here", remedy="Begin the upload again")
    return UploadPlan(found["asset"], int(found["size"]), int(found["part"]))
