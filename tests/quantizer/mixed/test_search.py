"""The search against every set there is: on three small networks, each set measured."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from qdq.base.accuracy_bound import AccuracyBound
from qdq.base.options import JobKind, parse_options
from qdq.dataset import open_samples
from qdq.quantizer.calibrate import collect_statistics
from qdq.quantizer.mixed.bound import group_energies, noise_model
from qdq.quantizer.mixed.bounds import check_bounds, shortfall_db
from qdq.quantizer.mixed.noise import NoiseModel, TensorGroup, TensorWidth, tensor_groups
from qdq.quantizer.mixed.request import mixed_request
from qdq.quantizer.mixed.search import MOST_TRIALS, WidthSearch, adding_row, dropping_row
from qdq.quantizer.mixed.space import WidthSpace
from qdq.quantizer.mixed.units import find_units
from qdq.quantizer.placing import place_model
from qdq.quantizer.planner import make_plan, statistics_request
from qdq.quantizer.sensitivity import Probe
from qdq.quantizer.splits import Splits
from qdq.quantizer.task import Task

CHAIN = """g (float[1,4,8,8] x) => (float[1,6] y) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w1)  ar = Relu (a)
    b = Conv <pads = [1, 1, 1, 1]> (ar, w2) br = LeakyRelu <alpha = 0.1> (b)
    c = Conv <pads = [1, 1, 1, 1]> (br, w3) cr = Relu (c)
    d = Conv <pads = [1, 1, 1, 1]> (cr, w4) dt = Tanh (d)
    p = GlobalAveragePool (dt)  f = Flatten (p)  y = Gemm (f, w5) }"""
RESIDUAL = """g (float[1,4,8,8] x) => (float[1,8,8,8] y, float[1,6] z) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w1)  ar = Relu (a)
    b = Conv <pads = [1, 1, 1, 1]> (ar, w2) s = Add (b, ar)
    c = Conv <pads = [1, 1, 1, 1]> (s, w3)  t = Sigmoid (c)
    m = Mul (t, s)                          y = Add (m, ar)
    p = GlobalAveragePool (m) f = Flatten (p)  z = Gemm (f, w5) }"""
ATTENTION = """g (float[1,6,8] x) => (float[1,6,8] y) {
    q = MatMul (x, wq)  k = MatMul (x, wk)  v = MatMul (x, wv)
    kt = Transpose <perm = [0, 2, 1]> (k)
    s = MatMul (q, kt)  n = Mul (s, half)  a = Softmax (n)
    o = MatMul (a, v)   e = MatMul (o, wo)  y = Add (e, x) }"""
NETS = {"chain": CHAIN, "residual": RESIDUAL, "attention": ATTENTION}
SHAPES = {
    "w1": (8, 4, 3, 3), "w2": (8, 8, 3, 3), "w3": (8, 8, 3, 3), "w4": (8, 8, 3, 3), "w5": (8, 6),
    "wq": (8, 8), "wk": (8, 8), "wv": (8, 8), "wo": (8, 8), "half": (1,),
}  # fmt: skip
ALL_OF_THEM = 1 << 10


def constants(text):
    rng = np.random.default_rng(17)
    made = {n: rng.normal(0, 0.35, shape).astype(np.float32) for n, shape in SHAPES.items()}
    return {name: array for name, array in made.items() if f", {name})" in text}


def space_of(model, samples):
    """The space as the pipeline makes it, without rounding."""
    options = parse_options(JobKind.QUANTIZE, "--accuracy_bound sqnr>=1")
    request = mixed_request(options)
    placed = place_model(
        model, weights="int8", activations="int8", options=options, extra_bits=request.bits
    )
    wanted = statistics_request(model, request.observed(placed.placement), placed.settings)
    order = tuple(range(len(samples)))
    statistics = collect_statistics(model, samples, order[8:], wanted)
    splits = Splits(order[8:], order[:8], order[:8])
    task = Task(model, placed.placement, samples, splits, placed.settings, placed.overrides)
    probe = Probe(model, samples, splits.gate)
    space = WidthSpace(task, statistics, find_units(task), probe, placed.place)
    return space, make_plan(model, placed.placement, statistics, placed.settings)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.85])
@pytest.mark.parametrize("name", NETS)
def test_bits_are_near_those_of_the_best_set(name, share, parse):
    """Bounds from what 8 bits reach (0) to what 16 bits reach (1), in dB."""
    model = parse(NETS[name], opset=21, **constants(NETS[name]))
    rng = np.random.default_rng(5)
    shape = tuple(model.graph.inputs[0].shape)
    data = [rng.normal(size=shape).astype(np.float32) for _ in range(24)]
    with open_samples({"x": data}) as samples:
        space, plan = space_of(model, samples)
        assert 6 <= len(space.units) <= 10
        low, high = (
            min(it.sqnr_db for it in space.outputs(lifted).values())
            for lifted in (frozenset(), space.every)
        )
        bounds = (AccuracyBound("sqnr", low + share * (high - low)),)
        groups = tensor_groups(space.task, plan, space.units)
        noise = noise_model(space, bounds, groups, group_energies(space, plan))

        def meets(lifted):
            return not shortfall_db(check_bounds(bounds, space.outputs(lifted)))

        search = WidthSearch(noise, meets)
        found = search.cheapest()
        assert len(search.measured) <= MOST_TRIALS
        assert meets(found)
        spent = space.cost(found).activation_bits
        sets = [
            frozenset(np.flatnonzero(row).tolist())
            for row in product((False, True), repeat=len(space.units))
        ]
        assert len(sets) <= ALL_OF_THEM
        # Others need not be measured.
        better = [it for it in sets if 1.15 * noise.cost(row_of(it, space)) < spent]
        best = [(space.cost(it).activation_bits, sorted(it)) for it in better if meets(it)]
    assert not best, (spent, min(best), sorted(found))


def row_of(lifted, space):
    row = np.zeros(len(space.units), np.bool_)
    row[list(lifted)] = True
    return row


@pytest.mark.parametrize("name", NETS)
def test_predicted_cost_is_that_of_the_plan(name, parse):
    model = parse(NETS[name], opset=21, **constants(NETS[name]))
    rng = np.random.default_rng(6)
    shape = tuple(model.graph.inputs[0].shape)
    data = [rng.normal(size=shape).astype(np.float32) for _ in range(24)]
    with open_samples({"x": data}) as samples:
        space, plan = space_of(model, samples)
        groups = tensor_groups(space.task, plan, space.units)
        noise = noise_model(space, (), groups, group_energies(space, plan))
        for _ in range(40):
            row = rng.random(len(space.units)) < rng.random()
            lifted = frozenset(np.flatnonzero(row).tolist())
            told = space.cost(lifted).activation_bits
            assert noise.cost(row) == pytest.approx(told, rel=0.01)


def made_up(units, seed):
    """A chain of groups with random noise and sizes; what is met is what the model predicts."""
    rng = np.random.default_rng(seed)
    groups = [
        TensorGroup(
            f"t{i}",
            frozenset({i - 1} - {-1}),
            frozenset({i} - {units}),
            (
                TensorWidth(
                    int(rng.integers(1, 1000)),
                    frozenset({i - 1} - {-1}),
                    frozenset({i} - {units}),
                ),
            ),
        )
        for i in range(units + 1)
    ]
    energies = 10 ** rng.uniform(-3, 1, size=(len(groups), 1))
    allowed = np.array([energies.sum() * 0.2])
    return NoiseModel(groups, units, energies=energies, floor=np.zeros(1), allowed=allowed)


@pytest.mark.parametrize("units", [40, 120])
@pytest.mark.parametrize("seed", range(3))
def test_large_nets_stay_within_the_trials(units, seed):
    model = made_up(units, seed)

    def meets(lifted):
        row = np.zeros(units, np.bool_)
        row[list(lifted)] = True
        return model.error(row) <= 1

    search = WidthSearch(model, meets)
    found = search.cheapest()
    row = np.zeros(units, np.bool_)
    row[list(found)] = True
    assert meets(found)
    assert len(search.measured) <= MOST_TRIALS
    assert model.cost(row) < 0.9 * model.cost(np.ones(units, np.bool_))


def test_rows_are_nested_and_end_with_none():
    model = made_up(12, 1)
    for row in (dropping_row(model), adding_row(model)):
        assert row[0].all()
        assert not row[-1].any()
        for larger, smaller in pairwise(row):
            assert (larger | smaller == larger).all()
            assert smaller.sum() < larger.sum()


def test_nothing_is_found_where_everything_is_not_enough():
    assert WidthSearch(made_up(5, 0), lambda _: False).cheapest() is None
