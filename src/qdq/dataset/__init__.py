"""Samples: read them from any source without holding them, check them, order them, write them.

Reading is flat in memory: one sample is in memory at a time, whatever the size of the source.
h5py is imported only when an HDF5 file is opened or written.
"""

from qdq.dataset.digest import (
    content_digests,
    content_order,
    sample_digest,
    set_digest,
    split_indices,
)
from qdq.dataset.fit import InputLayout, fit_samples
from qdq.dataset.samples import ChosenSamples, Samples, TensorLayout
from qdq.dataset.source import open_samples
from qdq.dataset.write import SampleWriter, h5_writer, npz_writer, write_h5, write_npz

__all__ = [
    "ChosenSamples",
    "InputLayout",
    "SampleWriter",
    "Samples",
    "TensorLayout",
    "content_digests",
    "content_order",
    "fit_samples",
    "h5_writer",
    "npz_writer",
    "open_samples",
    "sample_digest",
    "set_digest",
    "split_indices",
    "write_h5",
    "write_npz",
]
