"""Write the table anew: run everything, and refuse to write what is wrong."""

from __future__ import annotations

import sys

from onnx_nodes.execute import WRONG, outcomes
from onnx_nodes.select import DTYPES, all_modules, cases_of, dtypes_of, ops_of
from onnx_nodes.table import Row, write_table


def main() -> int:
    """Return 1 where a test is wrong, naming each."""
    cases = list(cases_of(all_modules()))
    found = outcomes(sorted({module for module, _ in cases}))
    wrong = {name: outcome.reason for name, outcome in found.items() if outcome.status == WRONG}
    for name, reason in wrong.items():
        print(f"{name}: {reason}")
    if wrong:
        return 1
    write_table(
        {
            case.name: Row(module, ops_of(case), dtypes_of(case) <= DTYPES, found[case.name].cause)
            for module, case in cases
        }
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
