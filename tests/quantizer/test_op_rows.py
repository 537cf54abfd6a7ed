"""Every operator of the table: placed, calibrated, emitted and run, at 8 and 16 bits."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from qdq.base.options import JobKind, parse_options
from qdq.dataset import open_samples
from qdq.quantizer.calibrate import collect_statistics
from qdq.quantizer.emit import emit_plan
from qdq.quantizer.planner import make_plan, statistics_request
from qdq.quantizer.rules import load_ops, load_target
from qdq.quantizer.settings import resolve_settings
from qdq.runtime.metrics import sqnr_db

RNG = np.random.default_rng(11)
IMAGE = (1, 4, 6, 6)
MATRIX = (5, 8)


def floats(*shape):
    return RNG.uniform(0.1, 1.0, shape).astype(np.float32)


def signed(*shape):
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def ints(*values):
    return np.asarray(values, np.int64)


ELEMENTWISE = ("Add", "Div", "Max", "Mean", "Min", "Mul", "Sub", "Sum")
REDUCTIONS = tuple(op for op in load_ops() if op.startswith("Reduce"))
# Operator -> (call, constants): what follows h in the graph "h = Mul(x, k)  y = ...".
CALLS = {
    **{op: (f"{op} (h, c)", {"c": floats(1, 4, 1, 1)}) for op in ELEMENTWISE},
    **{op: (f"{op} <keepdims = 1> (h)", {}) for op in REDUCTIONS},
    "AveragePool": ("AveragePool <kernel_shape = [2, 2]> (h)", {}),
    "BatchNormalization": (
        "BatchNormalization (h, s, b, m, v)",
        {name: floats(4) for name in "sbmv"},
    ),
    "CenterCropPad": ("CenterCropPad <axes = [2, 3]> (h, size)", {"size": ints(4, 8)}),
    "Clip": ("Clip (h, low, high)", {"low": np.float32(0.2), "high": np.float32(0.7)}),
    "Compress": ("Compress <axis = 1> (h, keep)", {"keep": np.array([True, False, True, True])}),
    "Concat": ("Concat <axis = 1> (h, c)", {"c": floats(1, 2, 6, 6)}),
    "Conv": ("Conv (h, w, b)", {"w": signed(6, 4, 3, 3), "b": signed(6)}),
    "ConvTranspose": ("ConvTranspose (h, w, b)", {"w": signed(4, 6, 3, 3), "b": signed(6)}),
    "CumSum": ("CumSum (h, axis)", {"axis": np.int64(2)}),
    "DepthToSpace": ("DepthToSpace <blocksize = 2> (h)", {}),
    "Einsum": ('Einsum <equation = "nchw,ncwk->nchk"> (h, h)', {}),
    "Expand": ("Expand (h, size)", {"size": ints(3, 4, 6, 6)}),
    "Gather": ("Gather <axis = 1> (h, at)", {"at": ints(2, 0)}),
    "GatherElements": (
        "GatherElements <axis = 1> (h, at)",
        {"at": np.zeros((1, 2, 6, 6), np.int64)},
    ),
    "GatherND": ("GatherND (h, at)", {"at": ints([0, 1], [0, 3])}),
    **{
        op: (
            f"{op} <hidden_size = 6> (h, w, r, b)",
            {"w": signed(1, n * 6, 8), "r": signed(1, n * 6, 6), "b": signed(1, 2 * n * 6)},
        )
        for op, n in {"GRU": 3, "LSTM": 4, "RNN": 1}.items()
    },
    "Gemm": ("Gemm <transB = 1> (h, w, b)", {"w": signed(6, 8), "b": signed(6)}),
    "GlobalLpPool": ("GlobalLpPool <p = 2> (h)", {}),
    "GridSample": ("GridSample (h, grid)", {"grid": signed(1, 3, 3, 2)}),
    "GroupNormalization": (
        "GroupNormalization <num_groups = 2> (h, s, b)",
        {"s": floats(4), "b": floats(4)},
    ),
    "InstanceNormalization": (
        "InstanceNormalization (h, s, b)",
        {"s": floats(4), "b": floats(4)},
    ),
    "LRN": ("LRN <size = 3> (h)", {}),
    "LayerNormalization": ("LayerNormalization (h, s, b)", {"s": floats(6), "b": floats(6)}),
    "LpPool": ("LpPool <kernel_shape = [2, 2]> (h)", {}),
    "MatMul": ("MatMul (h, w)", {"w": signed(8, 6)}),
    "MaxPool": ("MaxPool <kernel_shape = [2, 2]> (h)", {}),
    "MaxRoiPool": (
        "MaxRoiPool <pooled_shape = [2, 2]> (h, rois)",
        {"rois": np.float32([[0, 0, 0, 5, 5]])},
    ),
    "PRelu": ("PRelu (h, slope)", {"slope": floats(4, 1, 1)}),
    "MeanVarianceNormalization": ("MeanVarianceNormalization <axes = [0, 2, 3]> (h)", {}),
    "Pad": ("Pad (h, pads)", {"pads": ints(0, 0, 1, 1, 0, 0, 1, 1)}),
    "Pow": ("Pow (h, c)", {"c": np.float32(2)}),
    "RMSNormalization": ("RMSNormalization (h, s)", {"s": floats(6)}),
    "Reshape": ("Reshape (h, size)", {"size": ints(1, 4, 36)}),
    "Resize": ("Resize (h, , scales)", {"scales": np.float32([1, 1, 2, 2])}),
    "ReverseSequence": ("ReverseSequence (h, lengths)", {"lengths": ints(1, 1, 1, 1)}),
    "RoiAlign": (
        "RoiAlign <output_height = 2, output_width = 2> (h, rois, of)",
        {"rois": np.float32([[0, 0, 5, 5]]), "of": ints(0)},
    ),
    "ScatterElements": (
        "ScatterElements <axis = 1> (h, at, c)",
        {"at": np.zeros((1, 1, 6, 6), np.int64), "c": floats(1, 1, 6, 6)},
    ),
    "ScatterND": ("ScatterND (h, at, c)", {"at": ints([0, 1]), "c": floats(1, 6, 6)}),
    "Slice": ("Slice (h, starts, ends)", {"starts": ints(0, 1), "ends": ints(1, 3)}),
    "SpaceToDepth": ("SpaceToDepth <blocksize = 2> (h)", {}),
    "Split": ("Split <axis = 1> (h, sizes)", {"sizes": ints(1, 3)}),
    "Squeeze": ("Squeeze (h, axes)", {"axes": ints(0)}),
    "Tile": ("Tile (h, repeats)", {"repeats": ints(1, 2, 1, 1)}),
    "TopK": ("TopK (h, k_of)", {"k_of": ints(2)}),
    "Unsqueeze": ("Unsqueeze (h, axes)", {"axes": ints(0)}),
    "Where": (
        "Where (mask, h, c)",
        {"mask": RNG.random(IMAGE) < 0.5, "c": floats(1)},
    ),
}
# Half a step decides over the value: the encodings cannot be judged by the output.
DISCONTINUOUS = {"Ceil", "Floor", "Hardmax", "Round", "Sign"}
WEIGHTED = {op for op, facts in load_ops().items() if facts.weight_input is not None}
SEQUENCE = (5, 1, 8)
SHAPES = {
    "Gemm": MATRIX,
    "MatMul": MATRIX,
    **{op: SEQUENCE for op, facts in load_ops().items() if facts.recurrence is not None},
}


def opset_of(op_type, bits):
    since = onnx.defs.get_schema(op_type, onnx.defs.onnx_opset_version(), "").since_version
    first = 21 if bits == 16 else 13
    if op_type in SHAPES and op_type not in ("Gemm", "MatMul"):
        return max(first, 14)
    if op_type in {"CenterCropPad", "GroupNormalization", "LayerNormalization"}:
        return max(first, 21)
    if op_type in {"GridSample", "HardSwish", "Gelu", "Mish", "Trilu", "Swish", "RMSNormalization"}:
        return max(first, since)
    return first


def model_of(parse, op_type, bits):
    call, constants = CALLS.get(op_type, (f"{op_type} (h)", {}))
    dims = ",".join(map(str, SHAPES.get(op_type, IMAGE)))
    outputs = {"TopK": "y, places", "Split": "y, z"}.get(op_type, "y")
    text = f"g (float[{dims}] x) => (float y) {{ h = Mul (x, k) {outputs} = {call} }}"
    return parse(text, opset=opset_of(op_type, bits), k=np.float32(0.9), **constants)


def quantized(model, placement, samples, bits):
    """Return the plan and the emitted model, without any optimisation before."""
    options = parse_options(JobKind.QUANTIZE, "")
    settings = resolve_settings(weights="int8", activations=f"int{bits}", options=options)
    request = statistics_request(model, placement, settings)
    with open_samples({"x": samples}) as opened:
        statistics = collect_statistics(model, opened, range(len(samples)), request)
    plan = make_plan(model, placement, statistics, settings)
    emitted = model.clone()
    emit_plan(emitted, plan)
    return plan, emitted


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("op_type", load_ops())
def test_row(op_type, bits, parse, place, run):
    model = model_of(parse, op_type, bits)
    samples = [floats(*SHAPES.get(op_type, IMAGE)) for _ in range(3)]
    target = "ort-x86" if op_type in load_target("portable").float_ops else "portable"
    placement = place(model, bits=bits, target=target)
    assert placement.islands == ()
    owners = {site.tensor: site.owner for site in placement.activations}
    op_class = load_ops()[op_type].op_class
    expected = {
        "compute": ("h", "y"),
        "movement": ("h", "h"),
        "forward_tie": ("h", "h"),
        "backward_tie": ("y", "y"),
    }
    assert (owners["h"], owners["y"]) == expected[op_class]
    plan, emitted = quantized(model, placement, samples, bits)
    assert {planned.site.tensor for planned in plan.activations} == set(owners)
    onnx.checker.check_model(ir.to_proto(emitted), full_check=True)
    # Constants and activations of one op at 8 bits; weights are int8 at either width.
    least = 20 if bits == 8 or op_type in WEIGHTED else 60
    for sample in samples:
        before, after = run(model, {"x": sample})["y"], run(emitted, {"x": sample})["y"]
        assert before.shape == after.shape
        if op_type not in DISCONTINUOUS:
            assert sqnr_db(before, after) > least
