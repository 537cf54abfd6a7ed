"""What each site does to the outputs: against whole runs, and with the work counted apart."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from qdq.dataset import open_samples
from qdq.quantizer.emit import emit_plan
from qdq.quantizer.rounding import network
from qdq.quantizer.sensitivity import Probe, measure_sensitivity, site_parts
from qdq.runtime import open_session, session

NEAREST = "--rounding nearest"
NET = """g (float[1,4,8,8] x) => (float[1,6] y, float[1,8,8,8] r) {
    a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w1)
    r = Relu (a)
    b = Conv <kernel_shape = [1, 1]> (r, w2)
    s = Add (b, r)
    p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (s)
    q = Mul (p, k)
    c = Concat <axis = 1> (q, p)
    f = Flatten (c)
    h = MatMul (f, w3)
    y = Softmax (h) }"""


@pytest.fixture(scope="module")
def constants():
    rng = np.random.default_rng(3)
    shapes = {"w1": (8, 4, 3, 3), "w2": (8, 8, 1, 1), "k": (1, 8, 1, 1), "w3": (256, 6)}
    return {n: rng.normal(0, 0.3, shape).astype(np.float32) for n, shape in shapes.items()}


@pytest.fixture
def net(parse, constants):
    return parse(NET, opset=21, **constants)


def images(count, *, channels=4, seed=0):
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(size=(1, channels, 8, 8)).astype(np.float32)} for _ in range(count)]


@pytest.fixture
def planned(net, quantize):
    return quantize(net, images(40), weights="int4", options="--rounding second_order").plan


def sqnr_of(model, plan, data):
    """The least SQNR over the outputs of the whole emitted model: the oracle."""
    quantized = model.clone()
    emit_plan(quantized, plan)
    power, error = {}, {}
    with (
        open_session(model, optimize=False) as expected,
        open_session(quantized, optimize=False) as actual,
    ):
        for sample in data:
            left, right = expected.run(sample), actual.run(sample)
            for name in left:
                values = left[name].astype(np.float64)
                power[name] = power.get(name, 0.0) + float(np.sum(values**2))
                error[name] = error.get(name, 0.0) + float(np.sum((values - right[name]) ** 2))
    return min(
        10 * math.log10(power[name] / error[name]) if error[name] else 200.0 for name in power
    )


@pytest.mark.parametrize("widths", ["one width", "two widths"])
def test_both_ways_are_those_of_whole_runs(widths, net, planned, quantize):
    data = images(6, seed=4)
    if widths == "two widths":
        planned = quantize(net, images(40), options=f"--override 'make_(b|q)=int16' {NEAREST}").plan
        assert planned.converts
    parts = site_parts(net, planned)
    with open_samples({"x": [it["x"] for it in data]}) as samples:
        probe = Probe(net, samples, range(6))
        alone = probe.alone(planned, parts)
        without = probe.left_out(planned, parts)
        whole = probe.whole(planned)
    for i, part in enumerate(parts):
        found = min(it.sqnr_db for it in ({**alone[i]}).values()) if alone[i] else 200.0
        wanted = sqnr_of(net, part.alone(planned), data)
        assert found == pytest.approx(wanted, abs=0.02) or min(found, wanted) > 100, part
        found = min(it.sqnr_db for it in (whole | without[i]).values())
        assert found == pytest.approx(sqnr_of(net, part.left_out(planned), data), abs=0.02), part


def test_every_encoding_is_a_site_once(net, planned):
    parts = site_parts(net, planned)
    places = {"activations": [], "weights": [], "constants": []}
    for part in parts:
        for kind in places:
            places[kind] += getattr(part, kind)
    for kind, found in places.items():
        assert sorted(found) == list(range(len(getattr(planned, kind))))
    owners = [part.name for part in parts if part.kind == "activation"]
    assert len(owners) == len(set(owners))


def test_parts_make_the_whole_plan(net, planned):
    """Leaving a part out and quantizing it alone share nothing and lose nothing."""
    for part in site_parts(net, planned):
        alone, rest = part.alone(planned), part.left_out(planned)
        for kind in ("activations", "weights", "constants", "biases", "converts"):
            both = [*getattr(alone, kind), *getattr(rest, kind)]
            assert sorted(both, key=str) == sorted(getattr(planned, kind), key=str)


def test_shares_and_estimates(net, planned):
    with open_samples({"x": [it["x"] for it in images(6, seed=4)]}) as samples:
        parts = site_parts(net, planned)
        found = measure_sensitivity(Probe(net, samples, range(6)), planned, parts, held_out=True)
    assert [it.site for it in found.sites] == [part.name for part in parts]
    assert sum(it.share for it in found.sites) == pytest.approx(1)
    estimated = [it for it in found.sites if not it.measured]
    for site in estimated:
        assert site.without.cosine is None
        assert site.without.sqnr_db >= found.everything.sqnr_db - 1e-9


def chain(parse, layers):
    rng = np.random.default_rng(5)
    lines, constants, source = [], {}, "x"
    for i in range(layers):
        constants[f"w{i}"] = rng.normal(0, 0.4, (6, 6, 3, 3)).astype(np.float32)
        lines.append(f"a{i} = Conv <pads = [1, 1, 1, 1]> ({source}, w{i})")
        lines.append(f"r{i} = LeakyRelu <alpha = 0.1> (a{i})")
        source = f"r{i}"
    lines.append(f"y = GlobalAveragePool ({source})")
    text = "g (float[1,6,8,8] x) => (float y) {" + " ".join(lines) + "}"
    return parse(text, **constants)


def test_work_of_sixty_sites_is_at_most_sixty_passes(parse, quantize, monkeypatch):
    """Counted at the sessions: nodes of each model that is loaded, times how often it runs."""
    net = chain(parse, 19)
    plan = quantize(net, images(8, channels=6)).plan
    counts = {"node_runs": 0}

    def counting(load):
        def loaded(source, options):
            import onnx

            nodes = len(onnx.load_from_string(source).graph.node)
            real = load(source, options)

            class Counted:
                get_inputs, get_outputs = real.get_inputs, real.get_outputs

                def run(self, *arguments):
                    counts["node_runs"] += nodes
                    return real.run(*arguments)

            return Counted()

        return loaded

    monkeypatch.setattr(session, "load_session", counting(session.load_session))
    monkeypatch.setattr(network, "load_session", counting(network.load_session))
    parts = site_parts(net, plan)
    assert len(parts) == 59
    with open_samples({"x": [it["x"] for it in images(4, channels=6)]}) as samples:
        found = measure_sensitivity(Probe(net, samples, range(4)), plan, parts, held_out=True)
    passes = counts["node_runs"] / 4 / len(net.graph)
    assert passes <= 60
    assert found.passes == pytest.approx(passes, abs=1)
    measured = [it for it in found.sites if it.measured]
    least = min(it.share for it in measured)
    assert len(measured) >= 5
    assert all(it.share <= least for it in found.sites if not it.measured)


def test_nothing_quantized_has_no_sites(net, planned):
    empty = replace(planned, activations=(), weights=(), constants=(), biases=())
    with open_samples({"x": [it["x"] for it in images(2)]}) as samples:
        found = measure_sensitivity(Probe(net, samples, range(2)), empty, (), held_out=False)
    assert found.sites == ()
    assert found.everything.sqnr_db > 100


def test_report_has_it_where_asked_for(net, quantize):
    asked = quantize(net, images(40), options="--sensitivity")
    told = asked.report.to_dict()["sensitivity"]
    assert told["samples"] == asked.report.gate_samples
    assert told["samples_held_out"]
    assert len(told["sites"]) == len(site_parts(net, asked.plan))
    assert quantize(net, images(40)).report.to_dict()["sensitivity"] is None
