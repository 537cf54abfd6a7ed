"""Orders and splits of samples that depend on their content alone, never on their position."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np

from qdq.base.errors import InternalError
from qdq.dataset.samples import Array, Samples

__all__ = ["content_digests", "content_order", "sample_digest", "set_digest", "split_indices"]


def sample_digest(sample: Mapping[str, Array]) -> bytes:
    """Return the SHA-256 over names, dtypes, shapes and bytes, whatever the order of inputs."""
    digest = hashlib.sha256()
    for name in sorted(sample):
        array = np.ascontiguousarray(sample[name])
        shape = ",".join(map(str, sample[name].shape))
        # Every part carries its length or a separator no name can hold: no two samples collide.
        digest.update(f"{len(name)}:{name}\0{array.dtype.name}\0{shape}\0".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
    return digest.digest()


def content_digests(samples: Samples) -> list[bytes]:
    """Return the digest of every sample, in one pass that reads each once."""
    return [sample_digest(sample) for sample in samples]


def set_digest(digests: Sequence[bytes]) -> str:
    """Return the SHA-256 of samples together, in hexadecimal, whatever their order."""
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def content_order(samples: Samples, *, digests: Sequence[bytes] | None = None) -> list[int]:
    """Return the indices in order of digest; pass ``digests`` to spare the pass over the data.

    Permuting the samples permutes the indices, and reading in this order yields the same sequence
    of samples: only equal samples share a digest.
    """
    known = content_digests(samples) if digests is None else digests
    return sorted(range(len(known)), key=known.__getitem__)


def split_indices(digests: Sequence[bytes], fractions: Sequence[float]) -> list[list[int]]:
    """Cut the content order into parts in proportion to ``fractions``, which are positive.

    All samples are dealt out; part sizes are the proportions rounded by largest remainder, earlier
    parts first.  Which samples a part has depends on their content alone.  With fewer samples
    than parts the later parts may be empty.
    """
    if not fractions or any(not fraction > 0 for fraction in fractions):
        raise InternalError(f"Fractions {list(fractions)} are not all positive")
    order = sorted(range(len(digests)), key=digests.__getitem__)
    parts, start = [], 0
    for count in _apportion(len(order), fractions):
        parts.append(order[start : start + count])
        start += count
    return parts


def _apportion(total: int, fractions: Sequence[float]) -> list[int]:
    whole = math.fsum(fractions)
    exact = [total * fraction / whole for fraction in fractions]
    counts = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda part: counts[part] - exact[part])
    for part in by_remainder[: total - sum(counts)]:
        counts[part] += 1
    return counts
