"""Hostile files through the stages: refused by the right type, and nothing is reached or left."""

import importlib.util
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from qdq.base import errors
from qdq.base.errors import QdqError
from qdq.worker import Limits, SandboxLevel, run_stage, sandbox_level

sys.path.insert(0, str(Path(__file__).parent))

import hostile_datasets  # noqa: F401 - they add to FILES
import hostile_files
import hostile_more
from hostile_files import FIRST

MORE = tuple(name for name in hostile_files.FILES if name not in FIRST)

_TOKEN = "canary-5d41402abc4b2a76"
_LIMITS = Limits(wall_s=60, memory_bytes=1 << 30, output_bytes=256 << 20)
_LEAVES = {kind.__name__: kind for kind in QdqError.__subclasses__()}


@pytest.fixture
def canary(tmp_path):
    folder = tmp_path / "private"
    folder.mkdir()
    path = folder / "canary"
    path.write_text(_TOKEN * 100)
    _forget(path)
    return path


def _forget(path):
    # Access is noted when the last one was before the last change.
    os.utime(path, (1_000_000_000, 1_500_000_000))


def _was_read(path):
    return path.stat().st_atime != 1_000_000_000


def _check_untouched(tmp_path, canary, listener, before):
    assert not _was_read(canary)
    assert listener.connections == 0
    assert {p for p in tmp_path.rglob("*") if "scratch" not in p.parts} == before
    for path in (tmp_path / "scratch").rglob("*"):
        if path.is_file() and not path.is_symlink():
            # What the file itself says is no secret; what it points at is.
            assert (_TOKEN * 2).encode() not in path.read_bytes()


def test_reading_the_canary_would_be_noticed(canary):
    canary.read_text()
    assert _was_read(canary)


@pytest.fixture(params=["in force", pytest.param("process", marks=pytest.mark.medium)])
def hostile_level(request):
    """The level in force; and the lowest one, where nothing but the code itself protects."""
    return sandbox_level() if request.param == "in force" else SandboxLevel.PROCESS


@pytest.mark.parametrize("name", FIRST)
def test_hostile_file(name, hostile_level, tmp_path, canary, listener):
    check_file(name, hostile_level, tmp_path, canary, listener)


@pytest.mark.medium
@pytest.mark.parametrize("name", MORE)
def test_more_hostile_files(name, hostile_level, tmp_path, canary, listener):
    check_file(name, hostile_level, tmp_path, canary, listener)


def check_file(name, level, tmp_path, canary, listener):
    kind, make, expected = hostile_files.FILES[name]
    path = tmp_path / "blob"
    path.write_bytes(make(canary, listener.port))
    _forget(canary)
    before = set(tmp_path.rglob("*"))
    endless = hostile_files.TIMEOUT in expected
    limits = replace(_LIMITS, wall_s=5) if endless else _LIMITS
    stages = ("inspect_dataset",) if kind == "dataset" else ("inspect_model", "compile")
    for stage in stages:
        begun = time.monotonic()
        scratch = tmp_path / "scratch" / stage
        found, told = hostile_more.ACCEPTED, ""
        try:
            run_stage(stage, {}, scratch=scratch, inputs=[(path, kind)], limits=limits, level=level)
        except QdqError as error:
            found, told = type(error).__name__, str(error)
        # Inspection reads no more than what it tells; what it did not read, the work refuses.
        shallow = name in MORE and stage == "inspect_model" and found == hostile_more.ACCEPTED
        assert shallow or found in expected, told
        assert _TOKEN not in told
        assert time.monotonic() - begun < 30
    _check_untouched(tmp_path, canary, listener, before)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_torchscript_that_calls_out(bubblewrap, tmp_path, canary, listener):
    """Its code runs, or not; what matters is that it cannot reach anything."""
    path = tmp_path / "blob"
    path.write_bytes(hostile_files.torchscript(canary, listener.port))
    _forget(canary)
    before = set(tmp_path.rglob("*"))
    spec = {"input_specs": {"x": [[1, 4], "float32"]}}
    scratch = tmp_path / "scratch"
    with pytest.raises(QdqError) as caught:
        run_stage("compile", spec, scratch=scratch, inputs=[(path, "model")], level=bubblewrap)
    assert isinstance(caught.value, errors.ModelCorruptError | errors.ModelInvalidError)
    _check_untouched(tmp_path, canary, listener, before)


@pytest.mark.parametrize("reader", ["pickle.load(open('inputs/model', 'rb'))", "exec(code)"])
def test_unpickling_that_calls_out_is_contained(
    confined, bubblewrap, tmp_path, canary, listener, reader
):
    """A stage that did unpickle: the code runs, and finds no file, no network, no way to write."""
    import pickle

    path = tmp_path / "blob"
    call = hostile_files.calling_out(canary, listener.port)
    path.write_bytes(pickle.dumps(call))
    before = {p for p in tmp_path.rglob("*") if "scratch" not in p.parts}
    code = f"""
def work(spec, progress):
    import pickle
    code = spec["code"]
    told = []
    for step in code.splitlines():
        try:
            exec(step, globals())
            told.append("ran")
        except OSError as error:
            told.append(type(error).__name__)
        except NameError:
            told.append("NameError")
    try:
        {reader}
    except OSError as error:
        told.append(type(error).__name__)
    return {{"told": told}}
"""
    spec = {"code": call.code}
    found = confined(code, level=bubblewrap, spec=spec, inputs=[(path, "model")])
    assert found["told"] == [
        "ran",
        "FileNotFoundError",
        "FileNotFoundError",
        "ConnectionRefusedError",
        "FileNotFoundError",
    ]
    _check_untouched(tmp_path, canary, listener, before)


def test_there_are_enough_of_them():
    assert len(hostile_files.FILES) >= 100
    known = {*_LEAVES, hostile_more.ACCEPTED}
    assert {name for _, _, names in hostile_files.FILES.values() for name in names} <= known
