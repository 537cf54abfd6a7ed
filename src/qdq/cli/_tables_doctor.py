"""The examination as tables."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from qdq.cli._doctor import Check, Examination
from qdq.cli._tables import plain_table

__all__ = ["examined"]


def examined(found: Examination) -> Iterator[RenderableType]:
    """Yield the machine and the checks."""
    machine = found.machine
    memory = f"{machine.memory_bytes / 2**30:.1f} GiB" if machine.memory_bytes else "unknown"
    yield (
        f"qdq {found.version}, {found.python}\n"
        f"{machine.cpu}, {machine.cores} cores, {machine.architecture}, {machine.system}\n"
        f"memory {memory}, AVX512-VNNI {'yes' if machine.avx512_vnni else 'no'}"
    )
    table = plain_table("check", "", "found")
    for check in found.checks:
        table.add_row(check.name, _verdict(check), check.found)
    yield table
    remedies = [f"{check.name}: {check.remedy}" for check in found.checks if not check.ok]
    if remedies:
        yield "\n".join(remedies)
    yield "everything required is there" if found.ok else "something required is missing"


def _verdict(check: Check) -> str:
    if check.ok:
        return "ok"
    if check.harmful:
        return "WARNING"
    return "MISSING" if check.required else "optional"
