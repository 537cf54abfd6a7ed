"""Quantize one model with one quantizer; runs as a file, in that quantizer's own environment.

    python drive.py DRIVER PRECISION MODEL DATA.npz OUT.onnx SETTINGS.json RESULT.json

Only numpy is sure to be there.  The data hold one array per input, sample i at index i with its
batch dimension.  The result tells seconds of imports and of the work, and peak resident memory.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Sample = dict[str, np.ndarray]
# What a driver returns: seconds of its work that are not quantization, such as a report.
Work = Callable[[], float]


@dataclass(frozen=True)
class Job:
    """What to quantize and how."""

    precision: str
    model: str
    samples: list[Sample]
    output: str
    settings: dict[str, Any]

    @property
    def weight_bits(self) -> int:
        return int(self.precision[1:].split("a")[0])

    @property
    def activation_bits(self) -> int:
        return int(self.precision.split("a")[1])


class Feed:
    """Samples one after the other, the way ONNX Runtime's calibrators ask for them."""

    def __init__(self, samples: list[Sample]) -> None:
        self._samples, self._next = samples, 0

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)

    def get_next(self) -> Sample | None:
        if self._next >= len(self._samples):
            return None
        self._next += 1
        return self._samples[self._next - 1]

    def rewind(self) -> None:
        self._next = 0

    def set_range(self, start_index: int, end_index: int) -> None:
        self._samples, self._next = self._samples[:end_index], start_index


def qdq(job: Job) -> Work:
    import qdq as package

    quantize = package.quantize
    options = " ".join(f"--{name} {value}" for name, value in job.settings.items())
    data = {name: [sample[name] for sample in job.samples] for name in job.samples[0]}

    def work() -> float:
        done = quantize(
            job.model,
            data,
            job.output,
            weights=f"int{job.weight_bits}",
            activations=f"int{job.activation_bits}",
            options=options,
        )
        told = ("report", "advise")
        return sum(cost.seconds for cost in done.report.stages if cost.stage in told)

    return work


def onnxruntime(job: Job) -> Work:
    from onnxruntime import quantization
    from onnxruntime.quantization import shape_inference

    class Reader(Feed, quantization.CalibrationDataReader):
        pass

    kinds = quantization.QuantType
    prepared = f"{job.output}.prepared"

    def work() -> float:
        shape_inference.quant_pre_process(job.model, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            job.output,
            Reader(job.samples),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type={8: kinds.QUInt8, 16: kinds.QUInt16}[job.activation_bits],
            weight_type={4: kinds.QInt4, 8: kinds.QInt8}[job.weight_bits],
            calibrate_method=getattr(quantization.CalibrationMethod, job.settings["calibration"]),
        )
        Path(prepared).unlink(missing_ok=True)
        return 0.0

    return work


def aimet(job: Job) -> Work:
    import aimet_onnx
    import onnx
    from aimet_onnx import QuantizationSimModel, batch_norm_fold

    def work() -> float:
        model = onnx.load(job.model)
        batch_norm_fold.fold_all_batch_norms_to_weight(model)
        simulated = QuantizationSimModel(
            model,
            param_type=f"int{job.weight_bits}",
            activation_type=f"int{job.activation_bits}",
            quant_scheme=job.settings["scheme"],
            config_file="htp_v73",
        )
        if job.settings.get("seq_mse"):
            aimet_onnx.apply_seq_mse(simulated, job.samples)
        if job.settings.get("adaround"):
            steps = job.settings["adaround"]
            aimet_onnx.apply_adaround(simulated, job.samples, num_iterations=steps)
        simulated.compute_encodings(iter(job.samples))
        onnx.save(simulated.to_onnx_qdq(export_int32_bias=True), job.output)
        return 0.0

    return work


def nncf(job: Job) -> Work:
    import nncf as package
    import onnx

    def work() -> float:
        quantized = package.quantize(
            onnx.load(job.model),
            package.Dataset(job.samples),
            preset=package.QuantizationPreset.MIXED,
            subset_size=len(job.samples),
            fast_bias_correction=job.settings.get("fast", True),
        )
        onnx.save(quantized, job.output)
        return 0.0

    return work


def quark(job: Job) -> Work:
    from onnxruntime.quantization import CalibrationDataReader
    from quark.onnx import ModelQuantizer
    from quark.onnx.quantization.config import config, spec

    class Reader(Feed, CalibrationDataReader):
        pass

    method = getattr(spec.CalibMethod, job.settings["calibration"])
    kinds = {8: spec.UInt8Spec, 16: spec.UInt16Spec}
    weight = spec.Int8Spec(
        calibration_method=spec.CalibMethod.MinMax,
        quant_granularity=spec.QuantGranularity.Channel,
    )
    activation = kinds[job.activation_bits](calibration_method=method)
    # Those of its own A8W8 and A16W8 presets.
    extra = {
        "ForceQuantizeNoInputCheck": True,
        "AlignSlice": False,
        "FoldRelu": True,
        "AlignConcat": True,
    }
    if job.activation_bits == 16:
        extra["AlignEltwiseQuantType"] = True
    layers = config.QLayerConfig(activation=activation, weight=weight)

    def work() -> float:
        quantizer = ModelQuantizer(config.QConfig(layers, algo_config=[], **extra))
        quantizer.quantize_model(job.model, job.output, Reader(job.samples))
        return 0.0

    return work


def modelopt(job: Job) -> Work:
    from modelopt.onnx.quantization import quantize

    # It wants the samples joined along the batch dimension.
    joined = {
        name: np.concatenate([sample[name] for sample in job.samples]) for name in job.samples[0]
    }

    def work() -> float:
        quantize(
            job.model,
            quantize_mode="int8",
            calibration_data=joined,
            calibration_method=job.settings["calibration"],
            calibration_eps=["cpu"],
            high_precision_dtype="fp32",
            output_path=job.output,
            log_level="WARNING",
        )
        return 0.0

    return work


DRIVERS = {driver.__name__: driver for driver in (qdq, onnxruntime, aimet, nncf, quark, modelopt)}


def _peak_mib() -> float:
    # VmHWM belongs to this program; getrusage would carry over the parent's peak.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _measured(driver: str, job: Job) -> dict[str, Any]:
    start = time.perf_counter()
    work = DRIVERS[driver](job)
    imported = time.perf_counter()
    memory = _peak_mib()
    told = work()
    return {
        "import_seconds": imported - start,
        "seconds": time.perf_counter() - imported - told,
        "imported_mib": memory,
        "peak_mib": _peak_mib(),
    }


def main() -> int:
    """Do the job of the command line, and write what it took or why it failed."""
    driver, precision, model, data, output, settings, result = sys.argv[1:]
    with np.load(data) as archive:
        arrays = {name: archive[name] for name in archive.files}
    count = len(next(iter(arrays.values())))
    samples = [{name: values[i] for name, values in arrays.items()} for i in range(count)]
    job = Job(precision, model, samples, output, json.loads(settings))
    try:
        found = _measured(driver, job)
    except Exception as error:
        traceback.print_exc()
        found = {"error": f"{type(error).__name__}: {error}"[:400]}
    Path(result).write_text(json.dumps(found))
    return 1 if "error" in found else 0


if __name__ == "__main__":
    # The folder of this file holds modules whose names are those of packages.
    sys.path[:] = [entry for entry in sys.path if Path(entry) != Path(__file__).resolve().parent]
    sys.exit(main())
