"""Our messages against those inside the official clients: same numbers, types and presence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acceptance.descriptors import describe
from acceptance.harness import ClientEnvironment
from qdq.api.wire import workbench_pb2

pytestmark = pytest.mark.medium
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def theirs(official: ClientEnvironment) -> dict[str, Any]:
    done = official.python(HERE / "descriptors.py", "qai_hub.public_api_pb2")
    described: dict[str, Any] = json.loads(done.stdout)
    return described


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    # Through JSON, as the other side's went.
    described: dict[str, Any] = json.loads(json.dumps(describe(workbench_pb2)))
    return described


def _reached(theirs: dict[str, Any]) -> set[str]:
    """The types that the client's code names, and all those that their fields reach."""
    waiting, reached = list(theirs["mentioned"]), set()
    while waiting:
        name = waiting.pop()
        if name in reached or name.startswith("google."):
            continue
        reached.add(name)
        waiting += [kind for *_, kind in theirs["messages"].get(name, {}).values() if kind]
    return reached


def test_every_type_the_client_uses_is_ours(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    reached = _reached(theirs)
    assert {"Job", "ProfileDetail", "S3Credentials", "Notice.Context"} <= reached
    assert reached - {*ours["enums"], *ours["messages"]} == set()


def test_every_field_is_the_same(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    different = {
        (message, number): (field, ours["messages"][message].get(number))
        for message, fields in theirs["messages"].items()
        if message in ours["messages"]
        for number, field in fields.items()
        if ours["messages"][message].get(number) != field
    }
    assert different == {}


def test_every_value_is_the_same(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    shared = theirs["enums"].keys() & ours["enums"].keys()
    assert len(shared) > 10
    for enum in shared:
        assert theirs["enums"][enum].items() <= ours["enums"][enum].items()
