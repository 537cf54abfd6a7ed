"""The table, and how ours stand to the best peer that covers as much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks.common import print_table
from benchmarks.quantizers.data import KINDS
from benchmarks.quantizers.methods import METHODS
from benchmarks.quantizers.run import Row

__all__ = ["is_partial", "print_comparison", "print_rows"]

# A peer with fewer of our activations than this, or with fewer weights or products, is partial.
# The rest is spelling: who repeats Q/DQ behind ops that only move values, and who does not.
LEAST_COVERAGE = 0.9


def print_rows(rows: Sequence[Row]) -> None:
    """Print one table for all rows, and below it what failed."""
    header = (
        "",
        "SQNR dB",
        "median",
        "agree",
        "acts",
        "weights",
        "products",
        "seconds",
        "+ import",
        "peak MiB",
        "coverage",
    )
    done = [row for row in rows if not row.error]
    print_table(header, [_cells(row, rows) for row in done])
    for row in rows:
        if row.error:
            print(f"{_title(row)}: {row.error}")


def print_comparison(rows: Sequence[Row]) -> None:
    """Print, for each model and precision, ours beside the best peer, and the medians by kind."""
    gains: dict[tuple[str, str], list[float]] = {}
    print()
    for model, precision in dict.fromkeys((row.model, row.precision) for row in rows):
        here = [r for r in rows if (r.model, r.precision) == (model, precision)]
        for ours, best in _pairs(here):
            assert ours.score is not None
            assert best.score is not None
            gain = ours.score.sqnr - best.score.sqnr
            print(
                f"{model} {precision}: {ours.method} {ours.score.sqnr:.2f} dB, best full peer "
                f"{best.method} {best.score.sqnr:.2f} dB: {gain:+.2f} dB"
            )
            gains.setdefault((KINDS[model], precision), []).append(gain)
    for (kind, precision), found in sorted(gains.items()):
        print(
            f"median over {len(found)} comparisons, {kind} {precision}: {median(found):+.2f} dB, "
            f"least {min(found):+.2f} dB"
        )


def is_partial(row: Row, ours: Row | None) -> bool:
    """Tell whether a peer leaves more in float than the method of ours that it is compared with."""
    if ours is None or ours.sites is None or row.sites is None:
        return False
    return (
        row.sites.activations < LEAST_COVERAGE * ours.sites.activations
        or row.sites.weights < ours.sites.weights
        or row.sites.quantized_products < ours.sites.quantized_products
    )


def _pairs(rows: Sequence[Row]) -> Iterable[tuple[Row, Row]]:
    """Yield each method of ours with the best full peer among those compared with it."""
    for ours in rows:
        peers = [
            row
            for row in rows
            if METHODS[row.method].rival == ours.method
            and row.score is not None
            and not is_partial(row, ours)
        ]
        if ours.score is not None and peers:
            yield ours, max(peers, key=lambda row: row.score.sqnr if row.score else 0.0)


def _cells(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    assert row.score is not None
    assert row.sites is not None
    agreement = row.score.agreement
    sites = row.sites
    return (
        _title(row),
        f"{row.score.sqnr:.2f}",
        f"{row.score.median:.2f}",
        "-" if agreement is None else f"{agreement:.3f}",
        f"{sites.activations}",
        f"{sites.weights}",
        f"{sites.quantized_products}/{sites.products}",
        f"{row.seconds:.1f}",
        f"{row.seconds + row.import_seconds:.1f}",
        f"{row.peak_mib:.0f}",
        _coverage(row, rows),
    )


def _coverage(row: Row, rows: Sequence[Row]) -> str:
    rival = METHODS[row.method].rival
    if rival is None:
        return "ours"
    same = [
        r for r in rows if (r.model, r.precision, r.method) == (row.model, row.precision, rival)
    ]
    if not same or same[0].sites is None:
        return "?"
    return "partial" if is_partial(row, same[0]) else "full"


def _title(row: Row) -> str:
    return f"{row.model} {row.precision} {row.method}"
