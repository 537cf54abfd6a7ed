"""Write docs/options.md from the option table, or with --check say whether it is up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from qdq.base.options import FloatRange, JobKind, KeyValues, OptionSpec, option_table

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "options.md"

HEAD = """\
# Options of jobs

<!-- Written by scripts/options_docs.py from src/qdq/base/data/options.json; do not edit. -->

Compile, quantize, profile (and inference) and link jobs take one option string, such as
`--range_scheme min_max --quantize_target portable`. The library and the command take the same
string (`options=`, `--options`).

## Grammar

- An option is `--name value` or `--name=value`; a flag is `--name`, or `--name true|false`.
- Blanks separate. A value that holds blanks stands in `'` or `"`. A backslash is an ordinary
  character. A value may hold `=` and may be a negative number; it cannot begin with `--`.
- *patterns* and *assignments* may be given several times (32), in an order that counts: a regular
  expression of Python's `re` without flags (at most 256 characters), and `NAME=value`.
- A *list* is `a,b,c`; *pairs* are `key=value;key=value`.
- Nothing is ignored. An unknown option, one given twice, two that contradict each other, a wrong
  value, and an option that this version does not support are errors that name it. Options marked
  *mergeable* may be given several times, as long as no key gets two values.
- Where a default may surprise, the job says so in a notice.

*planned*: publicly known, and refused by name in this version.
"""

TITLES = {
    JobKind.COMPILE: "Compile",
    JobKind.QUANTIZE: "Quantize",
    JobKind.PROFILE: "Profile and inference",
    JobKind.LINK: "Link",
}


def render() -> str:
    """Return the whole document."""
    return HEAD + "".join(_section(kind) for kind in JobKind)


def _section(kind: JobKind) -> str:
    rows = "".join(_row(spec) for spec in option_table().of(kind).values())
    return (
        f"\n## {TITLES[kind]}\n\n"
        "| option | value | default | status | meaning |\n|---|---|---|---|---|\n" + rows
    )


def _row(spec: OptionSpec) -> str:
    status = f"since {spec.since}" if spec.supported else "planned"
    default = f"`{spec.default}`" if spec.default is not None else ""
    return f"| `{spec.flag}` | {_value(spec)} | {default} | {status} | {_meaning(spec)} |\n"


def _value(spec: OptionSpec) -> str:
    kind = f"{spec.kind}, mergeable" if spec.mergeable else str(spec.kind)
    choices = ", ".join(f"`{choice}`" for choice in spec.choices)
    limits = ", ".join(
        f"{name} {limit:.15g}"
        for name, limit in (("from", spec.minimum), ("to", spec.maximum))
        if limit is not None
    )
    return ": ".join(part for part in (kind, choices or limits) if part)


def _meaning(spec: OptionSpec) -> str:
    refused = [f"`{name}`: {reason}" for name, reason in spec.refused_choices]
    refused += [f"`{name}...`: {reason}" for name, reason in spec.refused_keys]
    keys = "; ".join(f"`{name}` ({_legal(values)})" for name, values in spec.keys)
    parts = (spec.help, keys and f"Keys: {keys}.", refused and f"Refused: {'; '.join(refused)}.")
    return " ".join(filter(None, parts))


def _legal(values: KeyValues) -> str:
    if isinstance(values, FloatRange):
        return f"{values.lowest:g} to {values.highest:g}"
    if isinstance(values, range):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(f"`{value}`" for value in values)


def main() -> int:
    """Write the document, or compare it when called with --check."""
    if "--check" in sys.argv[1:]:
        fresh = DOCUMENT.is_file() and DOCUMENT.read_text(encoding="utf-8") == render()
        print("docs/options.md is up to date" if fresh else "docs/options.md is out of date")
        return 0 if fresh else 1
    DOCUMENT.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
