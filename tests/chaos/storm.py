"""Jobs from several clients, while the server and its children are killed at random."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from chaos.assets import tiny_model
from chaos.protocol import Caller
from chaos.servers import MortalServer, descendants, kill_one
from qdq.api.wire import workbench_pb2 as pb

__all__ = ["Killer", "Order", "order_jobs"]

_CLIENTS = 4
_SERVER_SHARE = 0.35
_CHILD_SECONDS = 3.0
KINDS = ("compile", "quantize", "inference")


@dataclass
class Killer:
    """Kills the server or one of its descendants every now and then, until told to stop."""

    server: MortalServer
    seed: int
    pauses: tuple[float, float] = (0.3, 3.0)
    kills: Counter[str] = field(default_factory=Counter)

    def run(self, seconds: float) -> None:
        """Go on for so long; the server runs at the end."""
        drawn = random.Random(self.seed)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(drawn.uniform(*self.pauses))
            if drawn.random() < _SERVER_SHARE:
                self.server.kill()
                self.kills["server"] += 1
                self.server.start()
            else:
                self.kills["child"] += self._kill_child(drawn)

    def _kill_child(self, drawn: random.Random) -> bool:
        """Kill one of the processes below the server, as soon as there is any."""
        end = time.monotonic() + _CHILD_SECONDS
        while time.monotonic() < end:
            if children := descendants(self.server.pid):
                # Not always at its birth.
                time.sleep(drawn.uniform(0, 1))
                return kill_one(drawn.choice(children))
            time.sleep(0.02)
        return False


@dataclass(frozen=True, slots=True)
class Order:
    """A job as its client knows it; ``kind`` is of KINDS, ``model`` the number of its weights."""

    job_id: str
    kind: str
    model: int


def order_jobs(
    server: MortalServer, count: int, *, dataset: str, seconds: float
) -> tuple[list[Order], int]:
    """Upload ``count`` models and submit a job on each, spread over ``seconds``.

    Return the orders, and how many requests had to be repeated.
    """
    begun = time.monotonic()
    numbers = iter(range(count))
    guard = threading.Lock()

    def serve() -> tuple[list[Order], int]:
        made: list[Order] = []
        caller = Caller(server.port, server.token)
        try:
            device = caller.host()
            while True:
                with guard:
                    number = next(numbers, None)
                if number is None:
                    return made, caller.repeats
                time.sleep(max(0.0, begun + seconds * number / count - time.monotonic()))
                model = caller.upload_model(tiny_model(number))
                kind = KINDS[number % len(KINDS)]
                job_id = caller.submit(**job_message(kind, model, dataset, device))
                made.append(Order(job_id, kind, number))
        finally:
            caller.close()

    with ThreadPoolExecutor(_CLIENTS) as pool:
        parts = [it.result() for it in [pool.submit(serve) for _ in range(_CLIENTS)]]
    return [order for part, _ in parts for order in part], sum(count for _, count in parts)


def job_message(kind: str, model: str, dataset: str, device: object) -> dict[str, object]:
    """Return the submission of a job of one of KINDS."""
    given = {"model": pb.Model(model_id=model), "name": kind}
    data = pb.Dataset(dataset_id=dataset)
    if kind == "compile":
        devices = pb.DeviceList(devices=[device])
        options = "--target_runtime onnx"
        return {"compile_job": pb.CompileJob(**given, devices=devices, options=options)}
    if kind == "quantize":
        int8 = pb.QUANTIZE_DTYPE_INT8
        asked = pb.QuantizeJob(
            **given, calibration_dataset=data, weights_dtype=int8, activations_dtype=int8
        )
        return {"quantize_job": asked}
    options = "--max_profiler_iterations 3"
    asked = pb.InferenceJob(
        **given, device=device, dataset=data, is_profiling_on=True, options=options
    )
    return {"inference_job": asked}
