"""Whether a model computes the same where its tensors share memory, as they do in deployment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qdq.base.errors import UnsupportedError
from qdq.target.tflite.verify.interpreter import Kernels, run_tflite
from qdq.target.tflite.verify.reader import Array, TfliteModel

__all__ = ["overwritten_outputs"]


def overwritten_outputs(
    data: bytes, model: TfliteModel, feeds: Mapping[int, Array], *, threads: int = 1
) -> tuple[str, ...]:
    """Return the outputs that TFLite's own kernels make otherwise when memory is used again.

    The planner of LiteRT 2.3.0 lets some operators overwrite a tensor that another still reads.
    Both runs are of the same kernels, so equal means equal to the bit.  A model that these kernels
    refuse has none.
    """
    try:
        kept, shared = (
            run_tflite(data, Kernels.BUILTIN, preserve=preserve, threads=threads)
            for preserve in (True, False)
        )
        for run in (kept, shared):
            run.invoke(feeds)
    except UnsupportedError:
        return ()
    return tuple(
        name
        for name, index in zip(model.output_names, model.outputs, strict=True)
        if not np.array_equal(
            kept.tensor(index), shared.tensor(index), equal_nan=_is_float(model, index)
        )
    )


def _is_float(model: TfliteModel, index: int) -> bool:
    return model.tensors[index].dtype.startswith("float")
