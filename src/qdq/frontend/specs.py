"""Input specs: the name, shape and dtype a user wants an input to have."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from qdq.base.dtypes import dtype_from_name
from qdq.base.errors import SpecError

__all__ = ["InputSpec", "InputSpecs", "check_specs", "format_shape", "parse_input_spec"]

_FORM = "NAME:1x3x224x224 or NAME:1x3x224x224:float32"
# The name may hold colons, so the shape is the last part that looks like one.
_SPEC = re.compile(r"(?P<name>.*):(?P<shape>[0-9]+(?:x[0-9]+)*)(?::(?P<dtype>[A-Za-z]\w*))?")
_MAX_NAME_CHARS = 1024
_MAX_RANK = 32
_MAX_ELEMENTS = 1 << 30


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input: a printable name, a static shape with dims >= 1, a name of qdq.base.dtypes.

    Raises SpecError when made of anything else.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not 0 < len(self.name) <= _MAX_NAME_CHARS:
            raise _bad(self.name, f"its name must have 1 to {_MAX_NAME_CHARS} characters")
        if not self.name.isprintable():
            raise _bad(self.name, "its name has characters that cannot be printed")
        if not isinstance(self.shape, tuple) or not 0 < len(self.shape) <= _MAX_RANK:
            raise _bad(self.name, f"its shape must have 1 to {_MAX_RANK} dims")
        for dim in self.shape:
            if not isinstance(dim, int) or isinstance(dim, bool) or dim < 1:
                raise _bad(self.name, f"the dim {dim!r} is not an integer of at least 1")
        if math.prod(self.shape) > _MAX_ELEMENTS:
            raise _bad(self.name, f"it has more than {_MAX_ELEMENTS:,} elements")
        dtype_from_name(self.dtype)

    def __str__(self) -> str:
        return f"{self.name}:{format_shape(self.shape)}:{self.dtype}"


# What the library takes: specs, their text form, or the client's {name: shape or (shape, dtype)}.
InputSpecs: TypeAlias = Sequence[InputSpec | str] | Mapping[str, Any]


def parse_input_spec(text: str) -> InputSpec:
    """Parse ``NAME:1x3x224x224[:float32]``; the name may contain colons.  Raises SpecError."""
    match = _SPEC.fullmatch(text)
    if match is None:
        raise SpecError(f"'{text[:200]}' is no input spec", remedy=f"Write {_FORM}")
    dims = match["shape"].split("x")
    # A dim of more digits is beyond every limit; int() refuses thousands of them.
    if any(len(dim) > 20 for dim in dims):
        raise _bad(match["name"], f"it has more than {_MAX_ELEMENTS:,} elements")
    shape = tuple(int(dim) for dim in dims)
    return InputSpec(match["name"], shape, match["dtype"] or "float32")


def check_specs(specs: InputSpecs) -> tuple[InputSpec, ...]:
    """Return the specs in order; raise SpecError for a malformed or repeated one."""
    if isinstance(specs, Mapping):
        checked = [_from_item(name, value) for name, value in specs.items()]
    else:
        checked = [parse_input_spec(s) if isinstance(s, str) else s for s in specs]
    for name, count in Counter(spec.name for spec in checked).items():
        if count > 1:
            raise SpecError(
                f"The input '{name}' has {count} specs", remedy="Give one spec for each input"
            )
    return tuple(checked)


def format_shape(shape: Sequence[object]) -> str:
    """Return the shape as users write it: 1x3x224x224."""
    return "x".join(str(dim) for dim in shape)


def _from_item(name: str, value: Any) -> InputSpec:
    match value:
        case [[*shape], str(dtype)]:
            return InputSpec(name, tuple(shape), dtype)
        case [*shape]:
            return InputSpec(name, tuple(shape))
    raise _bad(name, "it is neither a shape nor a pair of shape and dtype")


def _bad(name: object, what: str) -> SpecError:
    return SpecError(f"The input spec {str(name)[:80]!r} is wrong: {what}", remedy=f"Write {_FORM}")
