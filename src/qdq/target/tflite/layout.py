"""Permutations between logical (ONNX) dims and stored (TFLite) dims.

A permutation lists, for each stored dim, the logical dim it holds:
``stored_shape[i] == logical_shape[perm[i]]``.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "Perm",
    "between",
    "channels_last",
    "drop_axes",
    "identity",
    "inverse",
    "is_memory_equal",
    "regroup",
    "stored",
    "through_transpose",
    "to_stored_axis",
]

Perm = tuple[int, ...]


def identity(rank: int) -> Perm:
    """Return the layout that ONNX has."""
    return tuple(range(rank))


def channels_last(rank: int) -> Perm:
    """Return N...C, the layout of TFLite's spatial kernels."""
    return identity(rank) if rank < 3 else (0, *range(2, rank), 1)


def inverse(perm: Perm) -> Perm:
    """Return for each logical dim the stored dim that holds it."""
    result = [0] * len(perm)
    for position, axis in enumerate(perm):
        result[axis] = position
    return tuple(result)


def stored(items: Sequence[int], perm: Perm) -> tuple[int, ...]:
    """Reorder one item for each logical dim into stored order."""
    return tuple(items[axis] for axis in perm)


def to_stored_axis(axis: int, perm: Perm) -> int:
    """Return where the logical ``axis``, which may be negative, is stored."""
    return perm.index(axis % len(perm))


def between(have: Perm, want: Perm) -> Perm:
    """Return the transpose that brings a tensor stored as ``have`` to ``want``."""
    return tuple(have.index(axis) for axis in want)


def is_memory_equal(shape: Sequence[int], a: Perm, b: Perm) -> bool:
    """Whether both layouts of a logical ``shape`` put the elements in the same order.

    Dims of 1 do not count: [1, C, 1, 1] is the same memory channels first and last.
    """
    return [x for x in a if shape[x] != 1] == [x for x in b if shape[x] != 1]


def through_transpose(perm: Perm, transpose: Sequence[int]) -> Perm:
    """Return the layout of an ONNX Transpose's output when the stored tensor stays as it is."""
    output_axis = inverse(tuple(transpose))
    return tuple(output_axis[axis] for axis in perm)


def drop_axes(perm: Perm, axes: Sequence[int]) -> Perm:
    """Return the layout after the logical ``axes`` (not negative) are gone."""
    kept = [axis for axis in perm if axis not in axes]
    return tuple(sorted(kept).index(axis) for axis in kept)


def regroup(
    before: Sequence[int], after: Sequence[int], perm: Perm
) -> tuple[tuple[int, ...], Perm] | None:
    """Return stored shape and layout of a logical reshape done on the stored tensor as it is.

    The reshape splits and merges runs of dims; where each run is stored side by side and in
    order, no data moves.  None where some run is not.
    """
    groups = _groups(before, after)
    real = [axis for axis in perm if before[axis] != 1]
    result: list[int] = []
    used: list[int] = []
    position = 0
    while position < len(real):
        group = next((g for g in groups if real[position] in g[0]), None)
        if group is None:
            return None
        sources = [axis for axis in group[0] if before[axis] != 1]
        if real[position : position + len(sources)] != sources:
            return None
        result.extend(group[1])
        used.extend(group[1])
        position += len(sources)
    # Dims of 1 that no run made keep their logical place as well as they can.
    for axis in range(len(after)):
        if axis not in used:
            at = next((i for i, other in enumerate(result) if other > axis), len(result))
            result.insert(at, axis)
    return tuple(after[axis] for axis in result), tuple(result)


def _groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Return runs of dims of equal product, dims of 1 left out on both sides."""
    left = [axis for axis, size in enumerate(before) if size != 1]
    right = [axis for axis, size in enumerate(after) if size != 1]
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(left) and j < len(right):
        sources, targets = [left[i]], [right[j]]
        a, b = before[left[i]], after[right[j]]
        i, j = i + 1, j + 1
        while a != b:
            if a < b:
                a *= before[left[i]]
                sources.append(left[i])
                i += 1
            else:
                b *= after[right[j]]
                targets.append(right[j])
                j += 1
        groups.append((sources, targets))
    return groups
