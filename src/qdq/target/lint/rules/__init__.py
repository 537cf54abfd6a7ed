"""The rules, one a file: each tells where it does not hold, why that hurts, and a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from qdq.target.lint.facts import HtpFacts
from qdq.target.lint.finding import Finding
from qdq.target.lint.rules.biases import BiasOverflow
from qdq.target.lint.rules.dtypes import UnsupportedDtype
from qdq.target.lint.rules.encodings import UnusableEncoding
from qdq.target.lint.rules.islands import FloatIsland
from qdq.target.lint.rules.matmuls import DynamicMatMul
from qdq.target.lint.rules.ops import UnsupportedOp
from qdq.target.lint.rules.shapes import DynamicShape
from qdq.target.lint.rules.supergroups import BrokenSupergroup
from qdq.target.lint.view import GraphView

__all__ = ["RULES", "Rule"]


class Rule(Protocol):
    """``name`` is what findings call it, ``about`` one line; ``check`` changes nothing."""

    @property
    def name(self) -> str: ...  # noqa: D102 - described above

    @property
    def about(self) -> str: ...  # noqa: D102 - described above

    def check(self, view: GraphView, facts: HtpFacts) -> Iterator[Finding]: ...  # noqa: D102


RULES: tuple[Rule, ...] = (
    # Without shapes nothing is compiled at all.
    DynamicShape(),
    # What the compiler has no kernel for stops it, whatever the encodings.
    UnsupportedOp(),
    UnsupportedDtype(),
    # Encodings that are there and cannot be used.
    UnusableEncoding(),
    BiasOverflow(),
    DynamicMatMul(),
    # Where Q/DQ stand, or do not.
    BrokenSupergroup(),
    FloatIsland(),
)
