"""Run in the official client's environment: submit jobs of about 3 s one by one, and wait."""

from __future__ import annotations

import json
import sys
import time

import qai_hub as hub

# The child's start takes the rest of the three seconds.
OPTIONS = "--max_profiler_iterations 1000000 --max_profiler_time 2"


def main() -> None:
    """Print [job id, seconds from submitting to the return of wait()] for each job."""
    model = hub.upload_model(sys.argv[1])
    host = next(it for it in hub.get_devices() if "format:host" in it.attributes)
    found = []
    for _ in range(int(sys.argv[2])):
        begun = time.monotonic()
        job = hub.submit_inference_job(model, host, None, options=OPTIONS)
        job.wait()
        found.append((job.job_id, time.monotonic() - begun))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
