"""What the server's memory grows by when several clients upload at once.

    python -m benchmarks.service.uploads [--clients 8] [--mib 256]

First as models, in parts of 64 MiB, then as datasets, in one form each; every upload is confirmed.
The bytes are random and no model or dataset: what reads those is a child of limited memory.  Beside
it stand the time from the last byte to the answer, of which the official client allows 4 s, and the
time of confirming, of which it allows 28 s.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from benchmarks.common import goal
from benchmarks.service.processes import load, memory_mib, watched
from benchmarks.service.server import (
    Server,
    WireClient,
    form_frame,
    new_folder,
    path_of,
    running_server,
)
from qdq.api.wire import workbench_pb2 as pb

MIB = 1 << 20
# The random bytes that every upload is made of, each from another place on.
POOL = os.urandom(8 * MIB)


@dataclass(slots=True)
class Times:
    """Seconds that clients waited for answers; several threads append."""

    answers: list[float] = field(default_factory=list)
    confirms: list[float] = field(default_factory=list)


def main() -> None:
    """Upload both ways and print what the server's memory grew by."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--mib", type=int, default=256)
    args = parser.parse_args()
    print(f"machine load {load()}")
    growth, answers = [], []
    for name, upload in (("models", _model), ("datasets", _dataset)):
        with new_folder() as folder, running_server(folder) as server:
            times, grown, seconds = _measure(server, upload, args)
        growth.append(grown)
        answers.append(max(times.answers))
        print(
            f"{args.clients} {name} of {args.mib} MiB: {seconds:.1f} s, memory grew by "
            f"{grown:.0f} MiB, answered {max(times.answers):.2f} s after the last byte, "
            f"confirmed in {max(times.confirms):.1f} s"
        )
    print(f"machine load {load()}")
    goal("memory of uploads [MiB]", max(growth))
    goal("last byte to answer [s]", max(answers))


def _measure(
    server: Server, upload: Callable[[WireClient, int, Times], None], args: argparse.Namespace
) -> tuple[Times, float, float]:
    times, size = Times(), args.mib * MIB
    ready = threading.Barrier(args.clients)

    def work(number: int) -> None:
        ready.wait()
        # Sizes differ a little, so that no two uploads are one blob.
        upload(server.client, size + number, times)

    server.client.call("GET", "models/")
    before, begun = memory_mib(server.pid, children=False), time.perf_counter()
    with watched(server.pid) as peak, ThreadPoolExecutor(args.clients) as pool:
        list(pool.map(work, range(args.clients)))
    return times, peak.server - before, time.perf_counter() - begun


def _model(client: WireClient, size: int, times: Times) -> None:
    # A type that the server takes as it is.
    model_id = client.post("models/", pb.Model(name="bench", model_type=pb.MODEL_TYPE_QNN_DLC))
    plan = client.get(
        f"models/{model_id}/multipart_upload/?file_size={size}&supports_s3_credentials=true",
        pb.FileUploadResponse,
    ).multipart_url
    etags = []
    for index, url in enumerate(plan.urls):
        length = min(plan.max_part_size, size - index * plan.max_part_size)
        body = _Timed(_random(length, size))
        headers = {"Content-Length": str(length)}
        answer = client.send("PUT", path_of(url), body, headers)
        times.answers.append(time.perf_counter() - body.ended)
        etags.append(answer.headers["etag"])
    done = pb.FileMultipartUploadComplete(upload_id=plan.upload_id, etags=etags)
    begun = time.perf_counter()
    client.post(f"models/{model_id}/multipart_upload/", done)
    times.confirms.append(time.perf_counter() - begun)


def _dataset(client: WireClient, size: int, times: Times) -> None:
    dataset_id = client.post("datasets/", pb.Dataset(name="bench"))
    form = client.get(
        f"datasets/{dataset_id}/upload_url/?file_size={size}&supports_s3_credentials=true",
        pb.FileUploadResponse,
    ).url
    head, tail, headers = form_frame(form.file_field_name, size)
    body = _Timed(_around(head, _random(size, size), tail))
    answer = client.send("POST", path_of(form.url), body, headers)
    times.answers.append(time.perf_counter() - body.ended)
    if answer.status // 100 != 2:
        raise SystemExit(f"A dataset was answered with {answer.status}: {answer.body[:500]!r}")
    begun = time.perf_counter()
    # Refused, as it is no dataset; but joined, hashed and read before that.
    confirm = pb.Dataset(file_upload_complete=True).SerializeToString()
    client.call("PATCH", f"datasets/{dataset_id}/", confirm)
    times.confirms.append(time.perf_counter() - begun)


class _Timed:
    """An iterator that remembers when its last piece was taken and sent."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.ended = 0.0
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        self.ended = time.perf_counter()


def _random(length: int, seed: int) -> Iterator[bytes]:
    begin = seed % MIB
    while length > 0:
        piece = POOL[begin : begin + min(length, MIB)]
        begin = (begin + MIB) % (len(POOL) - MIB)
        length -= len(piece)
        yield piece


def _around(head: bytes, pieces: Iterator[bytes], tail: bytes) -> Iterator[bytes]:
    yield head
    yield from pieces
    yield tail


if __name__ == "__main__":
    main()
