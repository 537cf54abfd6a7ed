"""One way to run a model: an ONNX Runtime session on the CPU with named tensors in and out.

``optimize=False`` is the *reference arithmetic*: every node is computed as it is written, so a
QDQ model is simulated in float.  ``optimize=True`` is what deployment runs, with fused kernels.

Results are reproducible for one ONNX Runtime version, one CPU instruction set and one number of
threads; another number of threads may sum in another order and change the last bits.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import onnx
import onnx_ir as ir

from qdq.base.errors import InternalError, ModelCorruptError, OutputError, SpecError
from qdq.runtime.ort import (
    Array,
    TensorInfo,
    check_sample,
    dtype_name,
    load_session,
    session_options,
    tensor_info,
)
from qdq.runtime.ort_errors import run_error

__all__ = ["Array", "OrtSession", "TensorInfo", "open_session", "value_dtypes"]

# Above this, weights go through a temporary file that ONNX Runtime maps.  The way through memory
# (proto, bytes, ONNX Runtime's copies) takes five times the weights, and protobuf ends at 2 GiB.
_LARGEST_IN_MEMORY = 128 << 20

_EXTERNAL_FOLDER_KEY = "session.model_external_initializers_file_folder_path"


class OrtSession:
    """Implements port.Session with ONNX Runtime; made by ``open_session``."""

    def __init__(
        self, session: Any, folder: tempfile.TemporaryDirectory[str] | None = None
    ) -> None:
        self._session = session
        self._folder = folder
        self.inputs: tuple[TensorInfo, ...] = tuple(map(tensor_info, session.get_inputs()))
        self.outputs: tuple[TensorInfo, ...] = tuple(map(tensor_info, session.get_outputs()))
        self._input_names = tuple(info.name for info in self.inputs)
        self._output_names = [info.name for info in self.outputs]

    def run(self, sample: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output by name."""
        return dict(zip(self._output_names, self.run_values(sample), strict=True))

    def run_values(self, sample: Mapping[str, Array]) -> list[Array]:
        """Return the outputs in the order of ``outputs``."""
        if self._session is None:
            raise InternalError("The session is closed")
        self.check_sample(sample)
        feed = {name: sample[name] for name in self._input_names}
        try:
            return list(self._session.run(self._output_names, feed))
        except Exception as error:
            raise run_error(error) from error

    def check_sample(self, sample: Mapping[str, Array]) -> None:
        """Raise DatasetError unless names, dtypes and shapes of the sample are the inputs'."""
        check_sample(self.inputs, sample)

    def close(self) -> None:
        """Free the model and its temporary files; more calls do nothing."""
        self._session = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_session(
    model: ir.Model | str | os.PathLike[str],
    *,
    optimize: bool = True,
    threads: int = 0,
    outputs: Sequence[str] | None = None,
    spin: bool = True,
    integer_kernels: bool = True,
    settings: Mapping[str, str] | None = None,
) -> OrtSession:
    """Load ``model`` (in memory or a path) and return a session that is to be closed.

    ``outputs`` names any values of the main graph: the session then returns exactly these, in
    this order, in place of the model's outputs.  The given model is not changed.  ``threads`` 0
    takes ONNX Runtime's default; ``spin=False`` lets idle threads sleep, kind to other work.
    ``integer_kernels=False`` keeps Q/DQ pairs as they are, computed in float, whatever is fused.
    ``settings`` are the keys of ``--onnx_options``, and have the last word.
    Raises ModelCorruptError, ModelInvalidError, UnsupportedError, or SpecError for an output that
    the graph does not have.
    """
    options = session_options(
        optimize=optimize,
        threads=threads,
        spin=spin,
        integer_kernels=integer_kernels,
        settings=settings,
    )
    return OrtSession(*_open(model, options, outputs))


def value_dtypes(model: ir.Model, names: Sequence[str]) -> dict[str, str]:
    """Return the numpy dtype name of values of the main graph, by loading the model only.

    Where a value is no tensor or numpy has no such dtype, it is ONNX Runtime's own name of it.
    """
    options = session_options(optimize=False, threads=1, spin=False)
    session, folder = _open(model, options, names)
    try:
        return {info.name: dtype_name(str(info.type)) for info in session.get_outputs()}
    finally:
        del session
        if folder is not None:
            folder.cleanup()


def _open(
    model: ir.Model | str | os.PathLike[str], options: Any, outputs: Sequence[str] | None
) -> tuple[Any, tempfile.TemporaryDirectory[str] | None]:
    wanted = None if outputs is None else tuple(dict.fromkeys(outputs))
    if not isinstance(model, ir.Model):
        return load_session(_source_of_path(Path(model), wanted, options), options), None
    if _weight_bytes(model) <= _LARGEST_IN_MEMORY:
        return load_session(_model_bytes(model, wanted), options), None
    folder = tempfile.TemporaryDirectory(prefix="qdq-session-")
    try:
        path = Path(folder.name) / "model.onnx"
        _save(_with_outputs(model.clone(), wanted), path)
        return load_session(str(path), options), folder
    except BaseException:
        folder.cleanup()
        raise


def _save(model: ir.Model, path: Path) -> None:
    try:
        ir.save(model, path, external_data="weights.bin")
    except OSError as error:
        raise OutputError(
            f"Cannot write the model to the temporary folder: {error.strerror or error}",
            remedy="Free some space there, or set TMPDIR to a folder with more",
        ) from error


def _source_of_path(path: Path, wanted: tuple[str, ...] | None, options: Any) -> str | bytes:
    if not path.is_file():
        raise ModelCorruptError(f"'{path}' is not a file", remedy="Give the path of an ONNX file")
    if wanted is None:
        return str(path)
    try:
        proto = onnx.load(path, load_external_data=False)
    except Exception as error:
        raise ModelCorruptError(
            f"'{path}' cannot be read as ONNX: {error}", remedy="Give a complete ONNX file"
        ) from error
    _request_outputs(proto.graph, wanted)
    options.add_session_config_entry(_EXTERNAL_FOLDER_KEY, str(path.resolve().parent))
    return bytes(proto.SerializeToString())


def _model_bytes(model: ir.Model, wanted: tuple[str, ...] | None) -> bytes:
    if _has_external_data(model):
        model = ir.external_data.load_to_model(model.clone())
    proto = ir.to_proto(model)
    if wanted is not None:
        _request_outputs(proto.graph, wanted)
    return bytes(proto.SerializeToString())


def _request_outputs(graph: onnx.GraphProto, wanted: tuple[str, ...]) -> None:
    known = {info.name: info for info in (*graph.value_info, *graph.input, *graph.output)}
    made = {name for node in graph.node for name in node.output if name}
    made.update(initializer.name for initializer in graph.initializer)
    made.update(info.name for info in graph.input)
    # ONNX Runtime infers the type where the graph does not tell it.
    infos = [known.get(name) or onnx.ValueInfoProto(name=name) for name in wanted]
    for name in wanted:
        _check_output(name, made)
    del graph.output[:]
    graph.output.extend(infos)


def _with_outputs(clone: ir.Model, wanted: tuple[str, ...] | None) -> ir.Model:
    if wanted is None:
        return clone
    graph = clone.graph
    values = {value.name: value for node in graph for value in node.outputs}
    values |= {value.name: value for value in (*graph.inputs, *graph.initializers.values())}
    for name in wanted:
        _check_output(name, values.keys())
    graph.outputs[:] = [values[name] for name in wanted]
    return clone


def _check_output(name: str, known: Any) -> None:
    if name not in known:
        raise SpecError(
            "The model's main graph has no such value",
            remedy="Request inputs, initializers or node outputs of the main graph",
            tensor=name,
        )


def _weight_bytes(model: ir.Model) -> int:
    tensors = (
        value.const_value for graph in model.graphs() for value in graph.initializers.values()
    )
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def _has_external_data(model: ir.Model) -> bool:
    return any(
        isinstance(value.const_value, ir.ExternalTensor)
        for graph in model.graphs()
        for value in graph.initializers.values()
    )
