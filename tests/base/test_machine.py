"""The host as a device."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdq.base import machine
from qdq.base.errors import SpecError
from qdq.base.machine import check_device, describe_machine

CPU_INFO = """\
processor	: 0
model name	: Some CPU @ 2.60GHz
flags		: fpu sse4_2 avx512_vnni

processor	: 1
model name	: Some CPU @ 2.60GHz
flags		: fpu sse4_2
"""


@pytest.fixture
def described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu").write_text(CPU_INFO)
    (tmp_path / "memory").write_text("MemTotal:       2048 kB\nMemFree:  12 kB\n")
    monkeypatch.setattr(machine, "_CPU_INFO", tmp_path / "cpu")
    monkeypatch.setattr(machine, "_MEMORY_INFO", tmp_path / "memory")


@pytest.mark.usefixtures("described")
def test_facts_come_from_the_system() -> None:
    found = describe_machine()
    assert found.cpu == "Some CPU @ 2.60GHz"
    assert found.memory_bytes == 2048 * 1024
    assert found.avx512_vnni
    assert found.cores >= 1


def test_a_system_without_these_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CPU_INFO", tmp_path / "none")
    monkeypatch.setattr(machine, "_MEMORY_INFO", tmp_path / "none")
    found = describe_machine()
    assert found.cpu
    assert found.memory_bytes is None
    assert not found.avx512_vnni


@pytest.mark.usefixtures("described")
@pytest.mark.parametrize("name", [None, "host", " HOST ", "some cpu @ 2.60ghz"])
def test_the_host_is_a_device(name: str | None) -> None:
    assert check_device(name) == "Some CPU @ 2.60GHz"


@pytest.mark.usefixtures("described")
def test_other_devices_are_refused() -> None:
    with pytest.raises(SpecError) as caught:
        check_device("Samsung Galaxy S24")
    assert "no device 'Samsung Galaxy S24'" in str(caught.value)
    assert "'host' (Some CPU @ 2.60GHz)" in str(caught.value)
