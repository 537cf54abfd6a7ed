"""Compare two models on the same samples."""

from __future__ import annotations

from qdq.base.progress import NO_PROGRESS, Progress
from qdq.dataset import open_samples
from qdq.library._load import is_tflite_source, read_model, runnable
from qdq.library._report import write_report
from qdq.library._sources import ModelSource, PathLike, SampleSource, check_output
from qdq.runtime import Comparison, compare_models, compare_outputs
from qdq.runtime.qnn.files import is_qnn

__all__ = ["compare"]


def compare(
    a: ModelSource,
    b: ModelSource,
    inputs: SampleSource,
    *,
    report: PathLike | None = None,
    tensors: bool = True,
    optimize: bool = False,
    progress: Progress = NO_PROGRESS,
) -> Comparison:
    """Run the reference ``a`` and the model ``b`` on ``inputs``, and tell how far ``b`` is off.

    ``report`` is a file to write the comparison to, as JSON.  ``tensors=False`` leaves the inner
    tensors out; ``optimize`` runs the models with ONNX Runtime's optimisations, as deployment does.
    Of TFLite models and compiled QNN models, which run on Qualcomm's HTP simulator, the outputs are
    compared, as deployment gives them; where one model exchanges
    integers and the other floats, by the real numbers that the integers stand for.
    Raises SpecError where inputs or outputs cannot be matched, DatasetError, OutputError, and the
    errors of models that cannot be read or run.
    """
    report_file = None if report is None else check_output(report, (a, b, inputs))
    with open_samples(inputs) as samples:
        if _is_compiled(a) or _is_compiled(b):
            if tensors:
                progress.notice("Inner tensors are not compared: a compiled model has its own")
            comparison = compare_outputs(
                runnable(a), runnable(b), samples, optimize=optimize, progress=progress
            )
        else:
            comparison = compare_models(
                read_model(a),
                read_model(b),
                samples,
                tensors=tensors,
                optimize=optimize,
                progress=progress,
            )
    if report_file is not None:
        write_report(report_file, comparison.to_dict())
    return comparison


def _is_compiled(source: ModelSource) -> bool:
    return is_tflite_source(source) or is_qnn(source)
