"""Real models: quantized, checked, and at least as good as they were."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from qdq.base.options import JobKind, parse_options
from qdq.dataset import open_samples
from qdq.graph import load_model
from qdq.quantizer import quantize_model
from qdq.quantizer.report import measure_outputs

pytestmark = pytest.mark.medium

# Least SQNR in dB over all float outputs, w8a8 and w8a16, of the encodings alone; a few dB below
# what was measured, so that a fall is a fault.  Transformers and signal front ends need more than
# eight bits per tensor; the random network is at the mercy of its weights.  Networks that are
# trained here come out a little different on each kind of processor.
LEAST = {
    "effnet_lite0": (17.5, 19.5),
    "mbv2_rand": (5, 12),
    "fmnist_mbv2": (30, 34),
    "fmnist_resnet": (32, 36),
    "fmnist_vit": (20, 25),
    "minilm": (1, 18),
    "ppocr_cls": (10, 35),
    "ppocr_det": (8, 19),
    "ppocr_rec": (6, 15),
    "silero": (3, 22),
    "basic_pitch": (5, 5),
}


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_quantized(activations, model_id, corpus_model, corpus_inputs):
    samples = corpus_inputs(20)
    source = {name: [sample[name] for sample in samples] for name in samples[0]}
    with open_samples(source) as opened:
        result = quantize_model(
            load_model(corpus_model),
            opened,
            activations=activations,
            options=parse_options(JobKind.QUANTIZE, ""),
        )
    onnx.checker.check_model(ir.to_proto(result.model), full_check=True)
    assert result.plan.activations
    assert result.plan.weights
    figures = [metrics.sqnr_db for metrics in result.report.outputs.values()]
    assert (
        min(figure for figure in figures if figure is not None)
        > LEAST[model_id][activations == "int16"]
    )


# Rounding takes minutes for the larger networks: they are among the slow tests.
SMALL = ("fmnist_mbv2", "fmnist_resnet", "fmnist_vit", "ppocr_cls")


@pytest.mark.parametrize(
    "model_id",
    [pytest.param(it, marks=() if it in SMALL else pytest.mark.slow) for it in LEAST],
)
@pytest.mark.parametrize(
    ("weights", "activations"), [("int8", "int8"), ("int8", "int16"), ("int4", "int8")]
)
def test_gated_steps_are_never_worse_than_plain_min_max(
    weights, activations, corpus_model, corpus_inputs
):
    """Told on samples that neither ranges nor gates have seen.

    They are more than the report split, whose eight samples tell two models apart by some dB only.
    """
    source, unseen = stacked(corpus_inputs(64)), stacked(corpus_inputs(48, seed=5))
    found = []
    for options in ("", "--range_scheme min_max --rounding nearest"):
        with open_samples(source) as opened:
            result = quantize_model(
                load_model(corpus_model),
                opened,
                weights=weights,
                activations=activations,
                options=parse_options(JobKind.QUANTIZE, options),
            )
        with open_samples(unseen) as opened:
            outputs = measure_outputs(load_model(corpus_model), result.model, opened, range(48))
        figures = [metrics.sqnr_db for metrics in outputs.values()]
        found.append(min(figure for figure in figures if figure is not None))
    assert found[0] >= found[1] - 0.1


def stacked(samples):
    return {name: [sample[name] for sample in samples] for name in samples[0]}
