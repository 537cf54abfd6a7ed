"""Workflows of the official client; runs where it is installed, without qdq.

    workflow.py ASSETS WORK RESULT COUNT

The client is left as it is.  A call is repeated here only where the client's own source shows that
it does not repeat that HTTP request, and every such repetition is told in the result.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import qai_hub as hub
import requests
from qai_hub import public_rest_api
from qai_hub.api_utils import APIException
from qai_hub.util import session

ASSETS, WORK, RESULT = (Path(it) for it in sys.argv[1:4])
COUNT = int(sys.argv[4])
MOST_REPEATS = 20
repeated: list[str] = []


def main() -> None:
    """Run the workflows one after another, and write what they found."""
    hub.set_verbose(False)
    found = []
    for number in range(COUNT):
        folder = WORK / str(number)
        folder.mkdir(parents=True)
        repeated.clear()
        begun = time.monotonic()
        try:
            told = {"error": None, "digests": workflow(folder)}
        except BaseException:
            told = {"error": traceback.format_exc(), "digests": {}}
        found.append(
            {**told, "repeated": list(repeated), "seconds": round(time.monotonic() - begun, 1)}
        )
        RESULT.write_text(json.dumps(found))


def workflow(folder: Path) -> dict[str, str]:
    """Upload, compile, quantize, run, download; return the hashes of all that came back."""
    model = stubborn(hub.upload_model, str(ASSETS / "tiny.onnx"))
    arrays = {"image": list(np.load(ASSETS / "samples.npy"))}
    data = stubborn(hub.upload_dataset, arrays)
    device = next(it for it in stubborn(hub.get_devices) if it.name.startswith("This machine"))
    compiling = stubborn(
        hub.submit_compile_job, model, device, options="--target_runtime onnx", name="compile"
    )
    finished(compiling)
    compiled = stubborn(compiling.get_target_model)
    quantizing = stubborn(hub.submit_quantize_job, compiled, data, name="quantize")
    finished(quantizing)
    quantized = stubborn(quantizing.get_target_model)
    running = stubborn(
        hub.submit_inference_job,
        quantized,
        device,
        inputs=data,
        options="--max_profiler_iterations 3",
        name="run",
    )
    finished(running)
    files = {
        "compiled": stubborn(compiling.download_target_model, str(folder / "compiled.onnx")),
        "quantized": stubborn(quantizing.download_target_model, str(folder / "quantized.onnx")),
        "outputs": stubborn(running.download_output_data, str(folder / "outputs.h5")),
    }
    profile = stubborn(running.download_profile)
    assert profile["execution_summary"]["estimated_inference_time"] > 0
    return {name: hashlib.sha256(Path(it).read_bytes()).hexdigest() for name, it in files.items()}


def finished(job: Any) -> None:
    """Wait for the job, which must succeed."""
    status = stubborn(job.wait)
    assert status.success, status.message


def stubborn(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call, and again after a failure of a request that the client itself does not repeat."""
    for _ in range(MOST_REPEATS):
        try:
            return call(*arguments, **named)
        except Exception as error:
            request = not_repeated(error)
            if request is None:
                raise
            repeated.append(request)
            time.sleep(0.2)
    raise AssertionError(f"{call} failed {MOST_REPEATS} times")


def not_repeated(error: BaseException) -> str | None:
    """Return the request that failed and why, if the client has no retry for that; else None.

    It has none around the POST of a quantize job; and around a GET it has urllib3's, which ends
    when the head of the answer has arrived.
    """
    for each in chain(error):
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if frame.f_code.co_filename != public_rest_api.__file__:
                continue
            name = frame.f_code.co_name
            source = inspect.getsource(getattr(public_rest_api, name, main))
            if "retry_call_with_backoff" in source or "create_session" not in source:
                continue
            if name == "create_quantize_job" and transient(each):
                return f"POST {name}: {reason(each)}"
            # What was cut before the head is a ConnectionError, and the client's to repeat.
            cut_in_body = isinstance(each, requests.exceptions.ChunkedEncodingError)
            if cut_in_body and ").get(" in source.replace("\n", "").replace(" ", ""):
                return f"GET {name}: {reason(each)}"
    return None


def transient(error: BaseException) -> bool:
    """Tell whether the client would call this worth another try, at other requests."""
    if isinstance(error, APIException):
        return error.status_code in session.RETRIABLE_STATUSES
    return isinstance(error, session.TRANSIENT_HTTP_EXCEPTIONS)


def reason(error: BaseException) -> str:
    """Return the kind of failure in a word or two."""
    code = getattr(error, "status_code", None)
    return f"status {code}" if code else type(error).__name__


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the exception and all that it came of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


if __name__ == "__main__":
    main()
