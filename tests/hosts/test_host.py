"""This machine as a device."""

from __future__ import annotations

import pytest

from qdq.base.machine import Machine, describe_machine
from qdq.hosts import host_device
from qdq.hosts.host import make_device


def machine(cpu: str, system: str = "Linux 6.1.0-13-amd64", arch: str = "x86_64") -> Machine:
    return Machine(cpu, arch, system, cores=8, memory_bytes=None, avx512_vnni=False)


@pytest.mark.parametrize(
    ("cpu", "name", "chipset", "vendor"),
    [
        ("AMD EPYC", "AMD EPYC", "amd-epyc", "vendor:amd"),
        ("AMD EPYC 7B13 64-Core Processor", "AMD EPYC 7B13", "amd-epyc-7b13", "vendor:amd"),
        (
            "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
            "Intel Xeon Platinum 8481C",
            "intel-xeon-platinum-8481c",
            "vendor:intel",
        ),
        ("", "x86_64", "x86_64", None),
    ],
)
def test_names(cpu: str, name: str, chipset: str, vendor: str | None) -> None:
    device = make_device(machine(cpu), release="6.1.0-13-amd64")
    assert device.name == f"This machine ({name})"
    assert device.os == "6.1.0"
    assert f"chipset:{chipset}" in device.attributes
    assert [it for it in device.attributes if it.startswith("vendor:")] == (
        [vendor] if vendor else []
    )


def test_attributes_are_in_the_clients_form() -> None:
    device = make_device(machine("Some: odd / CPU"), release="unknown")
    assert device.os == ""
    assert all(attribute.count(":") == 1 for attribute in device.attributes)
    assert {"framework:onnx", "os:linux", "format:host"} <= set(device.attributes)
    assert "framework:qnn" not in device.attributes


def test_frameworks_are_those_that_are_installed() -> None:
    assert {"framework:onnx", "framework:tflite"} <= set(host_device().attributes)
    device = make_device(machine("CPU"), release="1", frameworks=("onnx", "tflite"))
    assert "framework:tflite" in device.attributes


def test_it_is_this_machine() -> None:
    device = host_device()
    first = describe_machine().cpu.split("(")[0].split()[0]
    assert first in device.name
    assert "Samsung" not in device.name
