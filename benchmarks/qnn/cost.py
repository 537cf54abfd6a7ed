"""What compiling costs beside the library alone: ``python -m benchmarks.qnn.cost [MODEL...]``.

Ours and the bare call take turns, each a process of its own; of every time the least counts, as
others use the machine.  CPU seconds are of a process with all its children.  ``inside`` leaves the
start of the calling process out: imports are done, and what counts is ``qdq.compile`` with the
processes that it starts, against the library's own call.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qdq
from benchmarks.common import print_table, work_folder
from qdq.base.devices import find_device, htp_target

ROOT = Path(__file__).resolve().parents[2]
ACTIVATIONS = {"w8a8": "int8", "w8a16": "int16"}
MODELS = ("fmnist_mbv2", "ppocr_cls", "effnet_lite0", "mbv2_rand", "ppocr_rec", "ppocr_det")
DEVICE = "Samsung Galaxy S24"
TURNS = 5
# Our CPU seconds over those of the bare call.
BOUND = 1.3
OPTIONS = "--target_runtime qnn_context_binary"
# Samples that the models are quantized with.
CALIBRATION = 16


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a fresh process with its children: wall seconds, CPU seconds, peak memory in MiB.

    The peak is that of the largest process; ``told`` is the JSON that the process printed.
    """

    wall: float
    cpu: float
    peak: float
    told: dict[str, float]


def child(*words: str) -> Cost:
    """Run a module in a fresh process, whose children it waits for."""
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=ROOT, stdout=output, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(errors.read().decode("utf-8", "replace").strip()[-600:])
        output.seek(0)
        lines = output.read().decode("utf-8", "replace").splitlines()
    told = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, told)


def least(costs: list[Cost]) -> Cost:
    """Return the least of each figure, and the largest peak."""
    names = costs[0].told
    return Cost(
        min(it.wall for it in costs),
        min(it.cpu for it in costs),
        max(it.peak for it in costs),
        {name: min(it.told[name] for it in costs) for name in names},
    )


def quantized(model_id: str, precision: str) -> tuple[Path, Path]:
    """Return the float model and its QDQ form, made on first use."""
    from corpus import models

    source = models.build(model_id)
    target = work_folder() / f"{source.stem}-{precision}.onnx"
    if not target.exists():
        samples = models.inputs(model_id, CALIBRATION)
        columns = {name: [it[name] for it in samples] for name in samples[0]}
        qdq.quantize(source, columns, target, activations=ACTIVATIONS[precision])
    return source, target


def compare_cost(model: Path, device: str = DEVICE, *, turns: int = TURNS) -> dict[str, Any]:
    """Compile ``model`` with the command, by ``qdq.compile`` and with the library alone, in turn.

    The library alone gets the graph that our compiler got, so that only our own work differs.
    """
    soc = str(htp_target(find_device(device)).soc_model)
    with tempfile.TemporaryDirectory() as folder:
        binary, dlc, prepared = (Path(folder, it) for it in ("m.bin", "x.dlc", "x.source.onnx"))
        qdq.compile(model, dlc, device=device, options="--target_runtime qnn_dlc")
        words = ["compile", str(model), "-o", str(binary), "--device", device]
        commands, insides, bares = [], [], []
        for turn in range(turns):
            place = Path(folder, str(turn))
            place.mkdir()
            commands.append(child("qdq", *words, "--options", OPTIONS))
            insides.append(child("benchmarks.qnn.inside", str(model), str(binary), device))
            bares.append(child("benchmarks.qnn.bare", str(prepared), soc, str(place)))
    command, inside, bare = least(commands), least(insides), least(bares)
    ours = inside.told["own_cpu_s"] + inside.told["children_cpu_s"]
    return {
        "command_s": round(command.wall, 2),
        "bare_s": round(bare.wall, 2),
        "command_cpu_s": round(command.cpu, 2),
        "bare_cpu_s": round(bare.cpu, 2),
        "cpu_ratio": round(command.cpu / bare.cpu, 2),
        "inside": {
            **{name: round(value, 2) for name, value in inside.told.items()},
            "bare_import_cpu_s": round(bare.told["import_cpu_s"], 2),
            "bare_call_cpu_s": round(bare.told["call_cpu_s"], 2),
            "cpu_ratio": round(ours / bare.told["call_cpu_s"], 2),
        },
        "peak_mib": round(command.peak),
        "bare_peak_mib": round(bare.peak),
    }


def main() -> None:
    rows = []
    for model_id in sys.argv[1:] or MODELS:
        for precision in ACTIVATIONS:
            _, model = quantized(model_id, precision)
            row = compare_cost(model)
            inside = row["inside"]
            print(json.dumps({"model": model_id, "precision": precision, **row}), flush=True)
            rows.append(
                (
                    f"{model_id} {precision}",
                    f"{row['command_cpu_s']} / {row['bare_cpu_s']}",
                    f"{row['cpu_ratio']}" + ("" if row["cpu_ratio"] <= BOUND else " MISSED"),
                    f"{inside['import_cpu_s']} + {inside['own_cpu_s']}"
                    f" + {inside['children_cpu_s']}",
                    f"{inside['bare_import_cpu_s']} + {inside['bare_call_cpu_s']}",
                    f"{inside['cpu_ratio']}",
                )
            )
    heads = ("network", "CPU s, command / bare", f"ratio (<= {BOUND})")
    pieces = ("ours: imports + own + children", "bare: imports + call", "inside, ratio")
    print_table((*heads, *pieces), rows)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    main()
