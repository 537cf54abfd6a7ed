"""Workflows through a proxy that cuts, delays and refuses: all succeed, with the same bytes."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from acceptance.harness import ClientEnvironment, running_server
from chaos.proxy import CUTS, REPEATED_CUTS, Fate, FaultProxy, Faults, fault_proxy
from chaos.workflows import Found, run_workflows, through

SEED = int(os.environ.get("QDQ_CHAOS_SEED", "20"))


@pytest.mark.medium
@pytest.mark.timeout(900)
def test_six_workflows(official: ClientEnvironment, assets: Path, tmp_path: Path) -> None:
    check_workflows(official, assets, tmp_path, shares=[2, 2, 2])


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("cuts", [REPEATED_CUTS, CUTS], ids=["the-client-repeats", "anywhere"])
def test_fifty_workflows(
    official: ClientEnvironment, assets: Path, tmp_path: Path, cuts: tuple[Fate, ...]
) -> None:
    check_workflows(official, assets, tmp_path, shares=[5] * 10, cuts=cuts)


def check_workflows(
    official: ClientEnvironment,
    assets: Path,
    folder: Path,
    *,
    shares: list[int],
    cuts: tuple[Fate, ...] = CUTS,
) -> None:
    """Compare with the bytes that another server gave without any fault."""
    with running_server(folder / "plain") as server:
        plain = run_workflows(official, server.client_ini, assets, folder / "a", shares=[1])
    assert not plain.errors, plain.errors[0]
    assert not plain.repeated
    faults = Faults(SEED, cuts=cuts)
    with (
        running_server(folder / "faulty") as server,
        fault_proxy(server.port, faults) as proxy,
    ):
        ini = through(server.client_ini, proxy.port, server_port=server.port, folder=folder)
        found = run_workflows(official, ini, assets, folder / "b", shares=shares)
    show(folder, proxy, found)
    assert not proxy.problems
    assert len(found.workflows) == sum(shares)
    assert not found.errors, f"{len(found.errors)} failed, the first:\n{found.errors[0]}"
    assert found.digests == plain.digests
    check_rate(proxy, CUTS, faults.cut)
    check_rate(proxy, (Fate.BUSY,), faults.busy)
    check_repeated(found, also=("GET ",) if Fate.CUT_ANSWER in cuts else ())


def check_rate(proxy: FaultProxy, fates: tuple[Fate, ...], wanted: float) -> None:
    """The proxy did what it says, within five standard deviations."""
    share = sum(proxy.fates[fate] for fate in fates) / proxy.connections
    assert abs(share - wanted) < 5 * math.sqrt(wanted * (1 - wanted) / proxy.connections)


def check_repeated(found: Found, *, also: tuple[str, ...]) -> None:
    """The harness helped only where the client never does: quantize jobs, and answers cut short."""
    for name in found.repeated:
        assert name.startswith(("POST create_quantize_job", *also)), name


def show(folder: Path, proxy: FaultProxy, found: Found) -> None:
    """Print the figures; pytest shows them with -s or on failure."""
    seconds = sorted(row["seconds"] for row in found.workflows)
    told = {
        "seed": proxy.faults.seed,
        "workflows": len(found.workflows),
        "failed": len(found.errors),
        "connections": proxy.connections,
        "fates": {fate.value: count for fate, count in proxy.fates.most_common()},
        "mean delay s": round(proxy.delayed_s / proxy.connections, 2),
        "repeated by the harness": dict(found.repeated.most_common()),
        "seconds of a workflow": [seconds[0], seconds[len(seconds) // 2], seconds[-1]],
    }
    print(json.dumps(told, indent=1))
    (folder / "figures.json").write_text(json.dumps(told, indent=1))
