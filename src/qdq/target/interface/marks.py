"""What a compiled model says about its inputs and outputs in ``metadata_props``.

Keys are ``qdq.io.<name>.scale``, ``.zero_point`` and ``.layout``.  They travel in the file, where
anybody may have edited them: what cannot be read counts as absent.
"""

from __future__ import annotations

import math

import onnx_ir as ir

__all__ = ["has_channels_last", "io_encoding", "mark_channels_last", "mark_encoding", "move_marks"]

_KEYS = ("scale", "zero_point", "layout")
_CHANNELS_LAST = "channels_last"
# int8, uint8, int16, uint16.
_RANGE = (-(2**15), 2**16 - 1)
_LONGEST = 32


def mark_encoding(model: ir.Model, name: str, scale: float, zero_point: int) -> None:
    """Note how integers at input or output ``name`` stand for reals."""
    model.metadata_props[_key(name, "scale")] = repr(float(scale))
    model.metadata_props[_key(name, "zero_point")] = str(int(zero_point))


def io_encoding(model: ir.Model, name: str) -> tuple[float, int] | None:
    """Return (scale, zero point) of an input or output, or None where nothing sound is noted."""
    scale_text = model.metadata_props.get(_key(name, "scale"), "")
    zero_text = model.metadata_props.get(_key(name, "zero_point"), "")
    if max(len(scale_text), len(zero_text)) > _LONGEST:
        return None
    try:
        scale, zero_point = float(scale_text), int(zero_text)
    except ValueError:
        return None
    sound = math.isfinite(scale) and scale > 0 and _RANGE[0] <= zero_point <= _RANGE[1]
    return (scale, zero_point) if sound else None


def mark_channels_last(model: ir.Model, name: str) -> None:
    """Note that input or output ``name`` has its channels last."""
    model.metadata_props[_key(name, "layout")] = _CHANNELS_LAST


def has_channels_last(model: ir.Model, name: str) -> bool:
    """Tell whether ``name`` was given channels last by an earlier compilation."""
    return model.metadata_props.get(_key(name, "layout")) == _CHANNELS_LAST


def move_marks(model: ir.Model, renames: dict[str, str]) -> None:
    """Let the notes follow tensors that get new names."""
    taken = {
        (new, key): model.metadata_props.pop(_key(old, key))
        for old, new in renames.items()
        for key in _KEYS
        if _key(old, key) in model.metadata_props
    }
    for (new, key), text in taken.items():
        model.metadata_props[_key(new, key)] = text


def _key(name: str, what: str) -> str:
    return f"qdq.io.{name}.{what}"
