"""Option strings: one grammar for compile, quantize, profile, inference and link jobs."""

from qdq.base.options._parse import parse_options
from qdq.base.options._result import Options, OptionValue
from qdq.base.options._table import (
    FloatRange,
    JobKind,
    KeyValues,
    OptionSpec,
    OptionTable,
    load_table,
    option_table,
)
from qdq.base.options._words import split_options

__all__ = [
    "FloatRange",
    "JobKind",
    "KeyValues",
    "OptionSpec",
    "OptionTable",
    "OptionValue",
    "Options",
    "load_table",
    "option_table",
    "parse_options",
    "split_options",
]
