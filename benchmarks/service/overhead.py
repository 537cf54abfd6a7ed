"""What a job costs more on the server than the same work by the `qdq` command.

    python -m benchmarks.service.overhead [--runs 5] [--samples 16]

compile and quantize of a small and of a middle model (EfficientNet-Lite0).  The command is timed as
a process, the job from sending its submission to reading that it has ended, with one request after
the other as the official client sends them; the upload is before that.  Both take turns, and every
turn has a model that differs in a text from all before, so that no finished stage answers for it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.common import float_model, goal, print_table
from benchmarks.efficientnet import ROOT
from benchmarks.imagesets import calibration_set
from benchmarks.service.processes import load
from benchmarks.service.server import WireClient, new_folder, running_server, state_of
from qdq.api.wire import workbench_pb2 as pb

__all__ = ["marked", "small_model", "succeeded", "target_device"]

TO_ONNX = "--target_runtime onnx"
_COUNT = count(1)


def main() -> None:
    """Time both ways of each kind of work, and print the largest difference of medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--samples", type=int, default=16)
    args = parser.parse_args()
    print(f"machine load {load()}")
    rows, extra = [], []
    with new_folder() as folder, running_server(folder) as server:
        for name, model, data in _models(folder, args.samples):
            works = {
                "compile": lambda content: _compile(server.client, content),
                "quantize": _quantize(server.client, data),
            }
            for kind, on_server in works.items():
                pairs = [
                    (
                        _command(kind, marked(model), data, folder),
                        on_server(marked(model)),
                    )
                    for _ in range(args.runs)
                ]
                command, job = (median(times) for times in zip(*pairs, strict=True))
                extra.append(job - command)
                spread = f"{min(j - c for c, j in pairs):.2f} to {max(j - c for c, j in pairs):.2f}"
                rows.append(
                    (f"{kind}, {name}", f"{command:.2f}", f"{job:.2f}", f"{extra[-1]:.2f}", spread)
                )
    print_table(("", "qdq [s]", "job [s]", "more [s]", "from, to"), rows)
    print()
    goal("submit -> SUCCESS more than qdq [s]", max(extra))


def _models(folder: Path, samples: int) -> Iterator[tuple[str, bytes, Path]]:
    content, shape = small_model()
    values = np.random.default_rng(5).normal(size=(samples, *shape[1:])).astype(np.float32)
    yield "small", content, _data(folder / "small.h5", values)
    images = calibration_set(samples).images
    yield "EfficientNet-Lite0", float_model().read_bytes(), _data(folder / "middle.h5", images)


def _data(path: Path, values: np.ndarray) -> Path:
    from qdq.dataset import write_h5

    write_h5(path, {"input": [values[i : i + 1] for i in range(len(values))]})
    return path


def _command(kind: str, content: bytes, data: Path, folder: Path) -> float:
    model, output = folder / "model.onnx", folder / "output.onnx"
    model.write_bytes(content)
    options = ["--options", TO_ONNX] if kind == "compile" else ["--calibration", str(data)]
    command = [sys.executable, "-m", "qdq", kind, str(model), "-o", str(output), *options]
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"qdq {kind} failed:\n{done.stderr}")
    return seconds


def _compile(client: WireClient, content: bytes) -> float:
    job = pb.CompileJob(
        model=pb.Model(model_id=client.upload_model(content)),
        devices=pb.DeviceList(devices=[target_device(client)]),
        options=TO_ONNX,
        name="bench",
    )
    return _job_seconds(client, pb.Job(compile_job=job))


def _quantize(client: WireClient, data: Path) -> Callable[[bytes], float]:
    dataset_id = client.upload_dataset(data.read_bytes())

    def run(content: bytes) -> float:
        job = pb.QuantizeJob(
            model=pb.Model(model_id=client.upload_model(content)),
            calibration_dataset=pb.Dataset(dataset_id=dataset_id),
            weights_dtype=pb.QUANTIZE_DTYPE_INT8,
            activations_dtype=pb.QUANTIZE_DTYPE_INT8,
            name="bench",
        )
        return _job_seconds(client, pb.Job(quantize_job=job))

    return run


def _job_seconds(client: WireClient, job: pb.Job) -> float:
    begun = time.perf_counter()
    job_id = client.post("jobs/?seed_target_model=true", job)
    succeeded(client.wait(job_id))
    return time.perf_counter() - begun


def succeeded(job: pb.Job) -> pb.Job:
    """Return the job, or end the benchmark when it failed."""
    if state_of(job) != pb.JOB_STATE_DONE:
        raise SystemExit(f"A job failed:\n{job}")
    return job


def target_device(client: WireClient) -> pb.Device:
    """Return the server's own machine."""
    devices = client.get("devices/?name=&os=&select=False", pb.DeviceList).devices
    return next(it for it in devices if "format:host" in it.attributes)


def small_model() -> tuple[bytes, tuple[int, ...]]:
    """Return an ONNX model of four convolutions, and the shape of its input ``input``."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(3)
    shape, channels, nodes, weights, last = (1, 3, 32, 32), 3, [], [], "input"
    for index in range(4):
        weight = rng.normal(scale=0.1, size=(16, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{index}"))
        nodes += [
            helper.make_node("Conv", [last, f"w{index}"], [f"c{index}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{index}"], [f"r{index}"]),
        ]
        last, channels = f"r{index}", 16
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        for name, dims in (("input", shape), (last, (1, channels, *shape[2:])))
    ]
    graph = helper.make_graph(nodes, "small", [ends[0]], [ends[1]], weights)
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString(), shape


def marked(content: bytes) -> bytes:
    """Return the model with another text in it: other bytes that mean the same."""
    # Of a field that occurs twice the last counts; 6 is ModelProto.doc_string, as bytes.
    text = f"turn {next(_COUNT)} at {time.time_ns()}".encode()
    return content + bytes([6 << 3 | 2, len(text)]) + text


if __name__ == "__main__":
    main()
