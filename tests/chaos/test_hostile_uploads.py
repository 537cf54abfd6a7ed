"""Hostile files through a real server: it refuses or keeps them, and is as well as before."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chaos.assets import samples, tiny_model
from chaos.protocol import Caller, RefusedError
from chaos.servers import MortalServer, descendants
from chaos.storm import job_message
from qdq.bootstrap import open_tables
from qdq.dataset import write_h5
from qdq.domain.states import JobState

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "worker"))

import hostile_datasets  # noqa: F401 - they add to FILES
import hostile_files
import hostile_more  # noqa: F401

TOKEN = "canary-9e107d9d372bb682"
# What a client waits for an answer at most.
ANSWER_SECONDS = 28.0
MOST_GROWTH_MIB = 100


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MortalServer]:
    mortal = MortalServer(tmp_path / "server")
    mortal.data.parent.mkdir()
    mortal.start()
    yield mortal
    mortal.stop()


@pytest.mark.medium
@pytest.mark.timeout(600)
def test_every_fifth_hostile_file(server: MortalServer, tmp_path: Path) -> None:
    check_files(server, tmp_path, names=sorted(hostile_files.FILES)[::5])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_hostile_files(server: MortalServer, tmp_path: Path) -> None:
    check_files(server, tmp_path, names=sorted(hostile_files.FILES))


def check_files(server: MortalServer, folder: Path, *, names: list[str]) -> None:
    canary = folder / "private" / "canary"
    canary.parent.mkdir()
    canary.write_text(TOKEN * 100)
    before = memory_mib(server.pid)
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(names, pool.map(lambda it: send(server, it, canary), names), strict=True))
    growth = memory_mib(server.pid) - before
    seconds = [it[1] for it in found.values()]
    told = {
        "files": len(found),
        "answers": dict(Counter(it[0] for it in found.values())),
        "slowest answer s": round(max(seconds), 1),
        "memory growth MiB": round(growth),
    }
    print(json.dumps(told, indent=1))
    (folder / "figures.json").write_text(json.dumps(told, indent=1))
    assert {it[0] for it in found.values()} <= {"taken", "refused with 400"}
    assert max(seconds) < ANSWER_SECONDS
    assert growth < MOST_GROWTH_MIB
    assert TOKEN not in "".join(it[2] for it in found.values())
    assert not descendants(server.pid)
    assert sorted(it.name for it in folder.iterdir()) == ["figures.json", "private", "server"]
    assert [it.name for it in canary.parent.iterdir()] == ["canary"]
    check_health(server, folder)


def send(server: MortalServer, name: str, canary: Path) -> tuple[str, float, str]:
    """Upload a file; return what became of it, the seconds to the answer, and the answer."""
    kind, make, _ = hostile_files.FILES[name]
    data = make(canary, server.port)
    caller = Caller(server.port, server.token, tries=1)
    begun = time.monotonic()
    try:
        (caller.upload_dataset if kind == "dataset" else caller.upload_model)(data)
    except RefusedError as error:
        return f"refused with {error.status}", time.monotonic() - begun, str(error)
    finally:
        caller.close()
    return "taken", time.monotonic() - begun, ""


def check_health(server: MortalServer, folder: Path) -> None:
    """A job goes through, on the same process, and no word of the canary is in the data folder."""
    write_h5(folder / "samples.h5", {"image": samples()})
    caller = Caller(server.port, server.token, tries=1)
    try:
        dataset = caller.upload_dataset((folder / "samples.h5").read_bytes())
        model = caller.upload_model(tiny_model())
        job_id = caller.submit(**job_message("quantize", model, dataset, caller.host()))
    finally:
        caller.close()
    tables = open_tables(server.data)
    end = time.monotonic() + 60
    try:
        while not (job := tables.repository.get_job(job_id)).state.is_final:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert job.state is JobState.DONE
        for name in tables.blobs.all():
            assert TOKEN.encode() * 2 not in tables.blobs.path(name).read_bytes()
    finally:
        tables.close()


def memory_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no memory told of {pid}")
