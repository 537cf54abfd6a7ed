"""Quantizers side by side.

    python -m benchmarks.quantizers [--models effnet_lite0,fmnist_vit] [--methods qdq,aimet-tfe]
        [--precisions w8a8,w8a16] [--calibration 64] [--evaluation 128] [--timeout 1800]

makes the environments that are missing, runs every method on every model, and prints the table.
What a peer wrote is kept under .cache/quantizers and used again while its inputs, pins and driver
are the same; ours always runs anew.  ``benchmarks.quantizers.environments`` only installs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from benchmarks.quantizers.data import KINDS, prepare
from benchmarks.quantizers.environments import cache_folder
from benchmarks.quantizers.methods import DEFAULT, METHODS, PRECISIONS
from benchmarks.quantizers.run import Judge, Row, run
from benchmarks.quantizers.table import print_comparison, print_rows


def main() -> None:
    """Run what the command line asks for and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--models", default=",".join(KINDS))
    parser.add_argument("--methods", default=",".join(DEFAULT))
    parser.add_argument("--precisions", default="w8a8,w8a16")
    parser.add_argument("--calibration", type=int, default=64, help="samples")
    parser.add_argument("--evaluation", type=int, default=128, help="samples")
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds for each method")
    args = parser.parse_args()
    models = _chosen(parser, args.models, KINDS)
    methods = _chosen(parser, args.methods, METHODS)
    precisions = _chosen(parser, args.precisions, PRECISIONS)
    rows: list[Row] = []
    for model in models:
        case = prepare(model, calibration=args.calibration, evaluation=args.evaluation)
        judge = Judge(case)
        for precision in precisions:
            for method in methods:
                rows.append(run(case, method, precision, judge, timeout=args.timeout))
                print(_told(rows[-1]), flush=True)
        kept = [row.to_dict() for row in rows]
        (cache_folder() / "rows.json").write_text(json.dumps(kept, indent=1))
    print()
    print_rows(rows)
    print_comparison(rows)


def _chosen(parser: argparse.ArgumentParser, given: str, known: Sequence[str] | dict) -> list[str]:
    names = given.split(",")
    wrong = [name for name in names if name not in known]
    if wrong:
        parser.error(f"{', '.join(wrong)} unknown; there are {', '.join(known)}")
    return names


def _told(row: Row) -> str:
    what = f"{row.model} {row.precision} {row.method}"
    if row.score is None:
        return f"{what}: {row.error}"
    return f"{what}: {row.score.sqnr:.2f} dB in {row.seconds:.1f} s"


if __name__ == "__main__":
    main()
