"""What a source of samples may ask of this machine before it is refused."""

from __future__ import annotations

__all__ = [
    "MAX_CHUNKS",
    "MAX_EXPANSION",
    "MAX_HEADER_BYTES",
    "MAX_INPUTS",
    "MAX_NAME_CHARS",
    "MAX_SAMPLES",
    "MAX_SAMPLE_BYTES",
    "MAX_UNPACKED_BYTES",
    "SMALL_BYTES",
]

# Models have a handful of inputs; a large language model with its caches has some hundreds.
MAX_INPUTS = 1024
MAX_SAMPLES = 1_000_000
MAX_NAME_CHARS = 1024
# One sample of one input.  A float32 image of 16384x16384x3 has 3.2 GB.
MAX_SAMPLE_BYTES = 4 << 30
# All compressed members of one .npz together; they are unpacked to a temporary file.
MAX_UNPACKED_BYTES = 64 << 30
# DEFLATE reaches at most 1032:1, so no honest file declares more than this per stored byte.
MAX_EXPANSION = 1040
# Below this, sizes are not worth a ratio.
SMALL_BYTES = 1 << 20
# Headers of .npy files; numpy itself writes some hundred bytes.
MAX_HEADER_BYTES = 10_000
# HDF5 reads chunk by chunk; a sample cut into more of them is an attack on time.
MAX_CHUNKS = 65_536
