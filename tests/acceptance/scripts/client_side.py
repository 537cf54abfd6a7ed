"""What the acceptance scripts share.  They run where the official client is, without qdq.

A script hands its checks to ``main``: functions without arguments, run in order, each on its own.
A check raises to fail, and returns facts (JSON) for the test process to compare with an oracle.
"""

from __future__ import annotations

import functools
import json
import platform
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import qai_hub as hub
import qai_hub.client as client_module

REQUEST: dict[str, str] = json.loads(Path(sys.argv[1]).read_text())
ASSETS, WORK = Path(REQUEST["assets"]), Path(REQUEST["work"])
URL = REQUEST["url"]
# Since 0.56 a profile job is an inference job.
UNIFIED = hub.JobType.PROFILE is hub.JobType.INFERENCE
PHONE = hub.Device("Samsung Galaxy S23")

Check = Callable[[], Any]


def main(*checks: Check) -> None:
    """Run the checks, and write what they found and which functions of the client they called."""
    called: set[str] = set()
    found = {}
    for check in checks:
        start = time.perf_counter()
        sys.setprofile(functools.partial(_note, called))
        try:
            error, facts = None, check()
        except BaseException:
            # The client leaves by SystemExit in places; the next check must run nevertheless.
            error, facts = traceback.format_exc(), None
        finally:
            sys.setprofile(None)
        seconds = round(time.perf_counter() - start, 3)
        found[check.__name__] = {"error": error, "facts": facts, "seconds": seconds}
        print(f"--- {check.__name__}: {error or 'passed'} ({seconds} s)", flush=True)
    result = {"checks": found, "public": public_functions(), "called": sorted(called)}
    Path(sys.argv[2]).write_text(json.dumps(result))


def _note(called: set[str], frame: types.FrameType, event: str, argument: object) -> None:
    if event == "call" and frame.f_code.co_filename == client_module.__file__:
        called.add(frame.f_code.co_qualname)


def public_functions() -> list[str]:
    """Every public function, method and property that the client's exported classes define."""
    names = set()
    for exported in client_module.__all__:
        kind = getattr(client_module, exported)
        if isinstance(kind, type):
            for name, member in vars(kind).items():
                code = _code(member)
                abstract = getattr(member, "__isabstractmethod__", False)
                if code is not None and not abstract and not name.startswith("_"):
                    names.add(code.co_qualname)
    return sorted(names)


def _code(member: object) -> types.CodeType | None:
    function = getattr(member, "fget", None) or getattr(member, "__func__", member)
    ours = getattr(function, "__module__", None) == client_module.__name__
    return getattr(function, "__code__", None) if ours else None


@contextmanager
def refused(kind: type[BaseException], *fragments: str) -> Iterator[None]:
    """The block raises exactly this kind of error, and its text has the fragments."""
    try:
        yield
    except kind as error:
        assert type(error) is kind, f"{type(error).__name__}: {error}"
        # The client frames some texts in a box, which breaks their lines.
        text = " ".join(str(error).replace("|", " ").split())
        # A refusal for no stated reason must not be that of a token that ceased to work.
        assert fragments or "Failed to authenticate" not in text, text
        for fragment in fragments:
            assert fragment.lower() in text.lower(), f"no {fragment!r} in: {text}"
    else:
        raise AssertionError(f"no {kind.__name__} was raised")


def succeeded(job: hub.Job) -> Any:
    """Wait for the job, which must succeed, and return it."""
    status = job.wait(timeout=240)
    assert status.success, f"{job.job_id} {status.code}: {status.message}"
    assert status.finished
    assert not (status.failure or status.running or status.pending)
    return job


@functools.cache
def host() -> hub.Device:
    """The device that is the server's own machine."""
    system = {"Darwin": "macos"}.get(platform.system(), platform.system().lower())
    wanted = ["framework:onnx", f"os:{system}"]
    devices = hub.get_devices(attributes=wanted)
    assert len(devices) == 1, f"devices with {wanted}: {devices}"
    return devices[0]


@functools.cache
def net() -> hub.Model:
    """The small classifier, uploaded."""
    return hub.upload_model(str(ASSETS / "net.onnx"), name="net")


def images(count: int = 16) -> list[np.ndarray]:
    """Calibration samples for the classifier, each (1, 3, 16, 16) float32."""
    stored = np.load(ASSETS / "calibration.npz")["image"]
    return [stored[i : i + 1] for i in range(count)]


def save_arrays(name: str, entries: dict[str, list[np.ndarray]]) -> None:
    """Keep a dataset for the test process, as WORK/NAME.npz."""
    np.savez(WORK / f"{name}.npz", **{key: np.concatenate(value) for key, value in entries.items()})


def spec(model: hub.Model, side: str = "input_spec") -> dict[str, list[Any]]:
    """Inputs or outputs of a model of one graph: name to dtype, shape, scale, zero point."""
    graphs = getattr(model, side)
    assert list(graphs) == [None], graphs
    return {
        tensor.name: [tensor.dtype, list(tensor.shape or ()), tensor.scale, tensor.zero_point]
        for tensor in graphs[None]
    }
