"""Devices, their attributes, and frameworks."""

from __future__ import annotations

import qai_hub as hub
from client_side import PHONE, host, main, refused


def check_host() -> dict[str, object]:
    device = host()
    assert device.name
    assert device.os
    assert all(attribute.count(":") == 1 for attribute in device.attributes), device
    return {"name": device.name, "os": device.os, "attributes": list(device.attributes)}


def check_catalogue() -> list[str]:
    devices = hub.get_devices()
    assert len({(device.name, device.os) for device in devices}) == len(devices)
    assert host() in devices
    for device in devices:
        # The table that the command line prints splits each attribute at its colon.
        assert all(attribute.count(":") == 1 for attribute in device.attributes), device
        assert any(attribute.startswith("framework:") for attribute in device.attributes), device
        assert any(attribute.startswith("chipset:") for attribute in device.attributes), device
        assert any(attribute.startswith("os:") for attribute in device.attributes), device
    return sorted({device.name for device in devices})


def check_filters() -> None:
    (first, *_) = phones = hub.get_devices(name=PHONE.name)
    assert {device.name for device in phones} == {PHONE.name}
    assert hub.get_devices(name=PHONE.name.lower()) == []
    assert first in hub.get_devices(name=PHONE.name, os=first.os)
    assert first in hub.get_devices(attributes=first.attributes)
    android = hub.get_devices(attributes="os:android")
    assert first in android
    assert host() not in android
    assert hub.get_devices(attributes=["os:android", "os:windows"]) == []
    assert hub.get_devices(name="no such device") == []


def check_intervals() -> None:
    (first, *_) = hub.get_devices(name=PHONE.name)
    major = int(first.os.split(".")[0])
    for interval, inside in {
        f"[{major},{major + 1})": True,
        f"[{major},)": True,
        f"[,{major + 1})": True,
        f"[,{major})": False,
        f"[{major + 1},)": False,
        f"[{major + 1},{major + 2})": False,
    }.items():
        found = hub.get_devices(name=PHONE.name, os=interval)
        assert (first in found) is inside, (interval, found)
    with refused(hub.UserError, "Incorrectly formed OS interval"):
        hub.get_devices(name=PHONE.name, os="[12,13]")
    with refused(ValueError, "only an OS version"):
        hub.get_devices(os="12")


def check_attributes() -> None:
    attributes = hub.get_device_attributes()
    assert attributes == sorted(set(attributes))
    assert {"framework:onnx", "os:android", "vendor:samsung", "format:phone"} <= set(attributes)
    assert set(host().attributes) <= set(attributes)


def check_frameworks() -> list[list[object]]:
    frameworks = hub.get_frameworks()
    assert frameworks
    for framework in frameworks:
        assert framework.name
        assert framework.api_version
        assert framework.full_version.startswith(framework.api_version), framework
    assert {"ONNX Runtime", "LiteRT"} <= {framework.name for framework in frameworks}
    assert {"framework:onnx", "framework:tflite"} <= set(host().attributes)
    return [[framework.name, framework.full_version] for framework in frameworks]


if __name__ == "__main__":
    main(
        check_host,
        check_catalogue,
        check_filters,
        check_intervals,
        check_attributes,
        check_frameworks,
    )
