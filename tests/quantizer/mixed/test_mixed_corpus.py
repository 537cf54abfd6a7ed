"""Real models: a bound between what 8 and 16 bits reach is met on the report split."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from qdq.base.errors import AccuracyError
from qdq.base.options import JobKind, parse_options
from qdq.dataset import content_order, open_samples
from qdq.graph import load_model
from qdq.quantizer import quantize_model
from qdq.quantizer.report import measure_outputs
from qdq.quantizer.splits import split_samples

SMALL = ("fmnist_mbv2", "fmnist_resnet", "fmnist_vit", "ppocr_cls")
MODELS = (*SMALL, "basic_pitch", "effnet_lite0", "mbv2_rand", "minilm", "ppocr_det", "ppocr_rec",
          "silero")  # fmt: skip
FAST = "--rounding nearest"


def quantized(path, samples, options, *, activations="int8"):
    source = {name: [sample[name] for sample in samples] for name in samples[0]}
    with open_samples(source) as opened:
        return quantize_model(
            load_model(path),
            opened,
            activations=activations,
            options=parse_options(JobKind.QUANTIZE, options),
        )


def least(outputs):
    return min(it.sqnr_db for it in outputs.values() if it.sqnr_db is not None)


@pytest.mark.medium
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "model_id",
    [pytest.param(it, marks=() if it in SMALL else pytest.mark.slow) for it in MODELS],
)
def test_reachable_bound_is_met_and_another_fails(model_id, corpus_model, corpus_inputs):
    samples = corpus_inputs(40)
    low = least(quantized(corpus_model, samples, FAST).report.outputs)
    high = least(quantized(corpus_model, samples, FAST, activations="int16").report.outputs)
    bound = round((low + high) / 2, 2)
    result = quantized(corpus_model, samples, f"{FAST} --accuracy_bound sqnr>={bound}")
    onnx.checker.check_model(ir.to_proto(result.model), full_check=True)
    told = result.report.to_dict()["accuracy_bound"]
    assert all(it["met"] for it in told["bounds"])
    narrow, cost, wide = (
        told[name]["activation_bits"] for name in ("cost_all_narrow", "cost", "cost_all_16_bit")
    )
    assert narrow <= cost <= wide
    source = {name: [sample[name] for sample in samples] for name in samples[0]}
    with open_samples(source) as opened:
        order = split_samples(content_order(opened)).report
        again = measure_outputs(load_model(corpus_model), result.model, opened, order)
    assert least(again) >= bound - 0.01
    with pytest.raises(AccuracyError, match="with every layer at 16 bits"):
        quantized(corpus_model, samples, f"{FAST} --accuracy_bound sqnr>={high + 20}")
