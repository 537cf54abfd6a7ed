"""The generated module is that of workbench.proto, loads, and says what the text says."""

from __future__ import annotations

import hashlib
import re
from importlib import resources

import pytest
from google.protobuf.descriptor import Descriptor

from qdq.api.wire import workbench_pb2 as pb

WIRE = resources.files("qdq.api.wire")
PROTO = WIRE.joinpath("workbench.proto").read_text()


def _listed() -> list[tuple[str, str]]:
    lines = WIRE.joinpath("workbench.sha256").read_text().splitlines()
    return [(name, digest) for digest, name in (line.split() for line in lines)]


def test_all_generated_files_are_listed() -> None:
    assert [name for name, _ in _listed()] == [
        "workbench.proto",
        "workbench_pb2.py",
        "workbench_pb2.pyi",
    ]


@pytest.mark.parametrize(("name", "digest"), _listed())
def test_nothing_was_edited_without_regenerating(name: str, digest: str) -> None:
    found = hashlib.sha256(WIRE.joinpath(name).read_bytes()).hexdigest()
    assert found == digest, f"{name} changed: run scripts/make_wire.sh"


def _declared(kind: str) -> set[str]:
    return set(re.findall(rf"^{kind} (\w+) {{", PROTO, re.MULTILINE))


def test_every_declared_type_is_in_the_module() -> None:
    assert set(pb.DESCRIPTOR.message_types_by_name) == _declared("message")
    assert set(pb.DESCRIPTOR.enum_types_by_name) == _declared("enum")


@pytest.mark.parametrize("name", sorted(_declared("message")))
def test_field_numbers_are_those_of_the_text(name: str) -> None:
    body = re.search(rf"^message {name} {{\n(.*?)^}}", PROTO, re.MULTILINE | re.DOTALL)
    assert body
    fields = re.findall(r"^ +(?!reserved)\w[\w.<>, ]* (\w+) = (\d+);", body[1], re.MULTILINE)
    assert _fields(pb.DESCRIPTOR.message_types_by_name[name]) == {
        (field, int(number)) for field, number in fields
    }


def _fields(message: Descriptor) -> set[tuple[str, int]]:
    """Name and number of each field, those of messages within included, of maps not."""
    own = {(field.name, field.number) for field in message.fields}
    inner = [kind for kind in message.nested_types if not kind.GetOptions().map_entry]
    return own.union(*(_fields(kind) for kind in inner))


def test_the_package_cannot_clash_with_the_clients() -> None:
    # Two files that declare one package cannot be loaded into one process.
    assert pb.DESCRIPTOR.package == "qdq.v1"


def test_a_job_survives_the_wire() -> None:
    job = pb.Job(failure_type=pb.JOB_FAILURE_TYPE_MODEL_INVALID)
    job.compile_job.target_model.model_id = "m1"
    job.compile_job.creation_time.seconds = 1_800_000_000
    job.notices.add(context=pb.Notice.MODEL, severity=pb.Notice.WARNING, message="w")
    read = pb.Job.FromString(job.SerializeToString())
    assert read == job
    assert read.WhichOneof("job") == "compile_job"
    # Presence matters to clients: they tell "unset" from "empty".
    assert not read.compile_job.HasField("failure_reason")


def test_known_bytes() -> None:
    # Field 1 of Job's oneof, then its field 5, as the client would send them.
    job = pb.Job(profile_job=pb.ProfileJob(job_state=pb.JOB_STATE_FAILED))
    assert job.SerializeToString() == b"\x0a\x02\x28\x1e"
