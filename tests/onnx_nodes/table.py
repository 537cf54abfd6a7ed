"""What is expected of each node test, as checked in: ``table.json``, and its digest in the docs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from onnx_nodes.execute import PASSED, REFUSED, Outcome

__all__ = ["DOCUMENT", "Row", "document", "fault", "read_table", "write_table"]

_TABLE = Path(__file__).resolve().with_name("table.json")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "tflite-ops.md"

_HEAD = """\
# ONNX ops on the TFLite target

<!-- Written by `cd tests && python -m onnx_nodes` from onnx_nodes/table.json; do not edit. -->

ONNX's own node tests, as the package onnx {version} has them, through the target and LiteRT: with
XNNPACK, with TFLite's own kernels and with its reference kernels (which lack Elu). A test counts
when its graph is made of the ops below alone; nothing else has a say. Inputs that are constants in
every network (shapes, axes, bounds, weights of convolutions) are bound to the test's values before
compiling; results are compared with the test's own expected outputs, integers exactly, floats
within the test's tolerance (1e-3 relative, 1e-7 absolute).

{passed} of {total} tests pass and {refused} are refused, each with the reason below; none is wrong.
Of the {known} tests whose dtypes LiteRT converts (float32, float16, bfloat16, float64, bool and
integers of 8 to 64 bits except uint64), {share} pass ({percent:.1f} %).

| op | tests | pass |
|---|---|---|
{ops}
## What is refused, and why

| tests | ops | reason |
|---|---|---|
{reasons}"""


@dataclass(frozen=True)
class Row:
    """One test: its ops, whether LiteRT has all its dtypes, and why it is refused, if it is."""

    module: str
    ops: str
    has_dtypes: bool
    refused: str = ""


def read_table() -> tuple[str, dict[str, Row]]:
    """Return the version of onnx that the table is of, and its rows by name of the test."""
    table = json.loads(_TABLE.read_text(encoding="utf-8"))
    return table["onnx"], {name: Row(*row) for name, row in table["tests"].items()}


def write_table(rows: Mapping[str, Row]) -> None:
    """Write the table and the document."""
    lines = [
        f"    {json.dumps(name)}: "
        + json.dumps([row.module, row.ops, row.has_dtypes, *([row.refused] if row.refused else [])])
        for name, row in sorted(rows.items())
    ]
    text = ",\n".join(lines)
    _TABLE.write_text(
        f'{{\n  "onnx": "{onnx.__version__}",\n  "tests": {{\n{text}\n  }}\n}}\n', encoding="utf-8"
    )
    DOCUMENT.write_text(document(onnx.__version__, rows), encoding="utf-8")


def fault(row: Row, outcome: Outcome) -> str:
    """Return how an outcome is not what the table says, "" where it is."""
    wanted = REFUSED if row.refused else PASSED
    if outcome.status != wanted:
        return f"it is {outcome.status}, not {wanted}: {outcome.reason or row.refused}"
    if row.refused not in outcome.reason:
        return f"it is refused for another reason than '{row.refused}': {outcome.reason}"
    return ""


def document(version: str, rows: Mapping[str, Row]) -> str:
    """Return the text of the page in docs/."""
    passed = [row for row in rows.values() if not row.refused]
    refused = [row for row in rows.values() if row.refused]
    known = [row for row in rows.values() if row.has_dtypes]
    share = [row for row in known if not row.refused]
    return _HEAD.format(
        version=version,
        passed=len(passed),
        total=len(rows),
        refused=len(refused),
        known=len(known),
        share=len(share),
        percent=100 * len(share) / len(known),
        ops=_op_lines(rows.values()),
        reasons=_reason_lines(refused),
    )


def _op_lines(rows: Iterable[Row]) -> str:
    total = Counter(row.ops for row in rows)
    good = Counter(row.ops for row in rows if not row.refused)
    return "".join(f"| {ops} | {total[ops]} | {good[ops]} |\n" for ops in sorted(total))


def _reason_lines(refused: Iterable[Row]) -> str:
    counts = Counter(row.refused for row in refused)
    ops = {why: sorted({row.ops for row in refused if row.refused == why}) for why in counts}
    ordered = sorted(counts, key=lambda why: (-counts[why], why))
    return "".join(f"| {counts[why]} | {', '.join(ops[why])} | {why} |\n" for why in ordered)
