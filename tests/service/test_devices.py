"""The catalogue, selecting from it, and OS intervals."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq.base.devices import device_catalogue
from qdq.base.errors import RequestError
from qdq.domain.records import Device
from qdq.service.devices import DeviceCatalogue
from qdq.service.intervals import parse_os_filter, version_key

REQUIRED = [
    "Samsung Galaxy S22 (Family)",
    "Samsung Galaxy S23 (Family)",
    "Samsung Galaxy S24 (Family)",
    "Samsung Galaxy S25 (Family)",
    "Snapdragon X Elite CRD",
    "QCS6490 (Proxy)",
    "SA8295P ADP",
    "SA8255P ADP",
    "QCS9075 (Proxy)",
    "Dragonwing IQ-9075 EVK",
    "Snapdragon 8 Elite QRD",
]
# soc-model -> hexagon, as read back from binaries of Qualcomm's compiler.
HEXAGON = {
    "36": "v69", "39": "v68", "43": "v73", "52": "v73", "57": "v75", "60": "v73", "69": "v79",
    "66": "v73", "77": "v73", "87": "v81", "93": "v68",
}  # fmt: skip


@pytest.mark.parametrize("name", REQUIRED)
def test_the_catalogue_has(name, room):
    assert room.workbench.devices.select(name=name) is not None


@pytest.mark.parametrize("row", device_catalogue(), ids=lambda row: row.name)
def test_rows_are_in_the_live_vocabulary(row):
    for attribute in row.attributes:
        assert re.fullmatch(r"[a-z0-9-]+:[a-z0-9_.-]+", attribute)
    assert list(row.attributes) == sorted(row.attributes)
    assert row.source
    values: dict[str, set[str]] = {}
    for attribute in row.attributes:
        key, _, value = attribute.partition(":")
        values.setdefault(key, set()).add(value)
    assert values["format"] <= {"phone", "tablet", "compute", "iot", "auto", "xr"}
    assert values["os"] <= {"android", "windows", "qc_linux"}
    (soc,), (hexagon,) = values["soc-model"], values["hexagon"]
    assert HEXAGON[soc] == hexagon
    assert {"onnx", "qnn"} <= values["framework"]
    assert re.fullmatch(r"[0-9.]+", row.os)
    # As the service's own list has it: from Hexagon v73 on weights can be shared between graphs.
    assert ("true" in values.get("htp-supports-weight-sharing", ())) == (int(hexagon[1:]) >= 73)


def test_selecting():
    catalogue = DeviceCatalogue(Device("Host (X)", "6.1", ("framework:onnx",)))
    assert catalogue.select(name="HOST").name == "Host (X)"
    assert catalogue.select(name="Nokia") is None
    assert catalogue.select(attributes=["hexagon:v79"]).os == "15"
    assert {it.name for it in catalogue.find(os="[14,15)", attributes=["format:phone"])} == {
        "Samsung Galaxy S24",
        "Samsung Galaxy S24 (Family)",
    }
    assert catalogue.find()[0] == catalogue.host


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        ("", ["13", ""], []),
        ("13", ["13", "13.0"], ["13.1", "1", ""]),
        ("[12,13)", ["12", "12.9", "12.0.1"], ["13", "13.0", "11.9", ""]),
        ("[12,)", ["12", "100"], ["11.9", ""]),
        ("[,14)", ["13.9", "1"], ["14", ""]),
        ("[ 1.7 , 1.10 )", ["1.7", "1.9"], ["1.10", "1.6"]),
    ],
)
def test_os_filters(text, yes, no):
    wanted = parse_os_filter(text)
    assert all(wanted.matches(version) for version in yes)
    assert not any(wanted.matches(version) for version in no)


@pytest.mark.parametrize("text", ["[12,13]", "(12,13)", "[12)", "[,)", "[a,b)", "[12,13,14)", "["])
def test_malformed_intervals_are_refused(text):
    with pytest.raises(RequestError):
        parse_os_filter(text)


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text):
    try:
        wanted = parse_os_filter(text)
    except RequestError:
        return
    assert isinstance(wanted.matches("13"), bool)


VERSIONS = st.lists(st.integers(0, 99), min_size=1, max_size=4)


@given(VERSIONS, VERSIONS, VERSIONS)
def test_intervals_agree_with_tuples(low, high, version):
    def text(parts):
        return ".".join(map(str, parts))

    def padded(parts):
        return [*parts, *[0] * (4 - len(parts))]

    found = parse_os_filter(f"[{text(low)},{text(high)})").matches(text(version))
    assert found == (padded(low) <= padded(version) < padded(high))
    assert (version_key(text(low)) == version_key(text(high))) == (padded(low) == padded(high))
