"""Run a ``.tflite`` file: LiteRT's interpreter on the CPU, with XNNPACK where it has kernels.

The file is read and checked before LiteRT gets it.  Results are reproducible for one version of
LiteRT, one CPU instruction set and one number of threads.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qdq.base.errors import InternalError, SpecError, UnsupportedError
from qdq.runtime.litert.errors import load_error, run_error
from qdq.runtime.litert.model_file import TfliteFile, TfliteTensor, read_tflite
from qdq.runtime.litert.package import load_interpreter
from qdq.runtime.tensors import Array, TensorInfo, check_sample

__all__ = ["LitertSession", "cores", "edge_infos", "make_interpreter", "open_litert"]

_DELEGATE = "XNNPackDelegate"
_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_DTYPES = frozenset(("float16", "float32", "float64", "bool", *_INTEGERS))


class LitertSession:
    """Implements port.Session with LiteRT; made by ``open_litert``."""

    def __init__(self, interpreter: Any, model: TfliteFile, extra: Sequence[int] = ()) -> None:
        self._interpreter = interpreter
        self._model = model
        self.inputs, self.outputs = edge_infos(model)
        tensors = model.main.tensors
        self._places = dict(zip(_names(self.inputs), model.main.inputs, strict=True))
        self._shapes = {name: tensors[it].stored_shape for name, it in self._places.items()}
        self._results = tuple(extra) or model.main.outputs
        if extra:
            self.outputs = tuple(_info(tensors[it].name, tensors[it]) for it in extra)

    def run(self, sample: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output by name."""
        return dict(zip(_names(self.outputs), self.run_values(sample), strict=True))

    def run_values(self, sample: Mapping[str, Array]) -> list[Array]:
        """Return the outputs in the order of ``outputs``."""
        if self._interpreter is None:
            raise InternalError("The session is closed")
        self.check_sample(sample)
        try:
            self._resize(sample)
            for name, index in self._places.items():
                self._interpreter.set_tensor(index, sample[name])
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(index) for index in self._results]
        except (RuntimeError, ValueError) as error:
            raise run_error(error, self._model) from error

    def check_sample(self, sample: Mapping[str, Array]) -> None:
        """Raise DatasetError unless names, dtypes and shapes of the sample are the inputs'."""
        check_sample(self.inputs, sample)

    def close(self) -> None:
        """Free the model; more calls do nothing."""
        self._interpreter = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _resize(self, sample: Mapping[str, Array]) -> None:
        shapes = {name: sample[name].shape for name in self._places}
        if shapes == self._shapes:
            return
        # Nothing is known while it changes: a failure in between must not be taken for the end.
        self._shapes = {}
        for name, index in self._places.items():
            self._interpreter.resize_tensor_input(index, shapes[name])
        self._interpreter.allocate_tensors()
        self._shapes = shapes


def open_litert(
    path: str | os.PathLike[str],
    *,
    optimize: bool = True,
    threads: int = 0,
    tensors: Sequence[str] | None = None,
) -> LitertSession:
    """Load the ``.tflite`` file at ``path`` and return a session that is to be closed.

    ``optimize=False`` runs LiteRT's reference kernels, one op after the other as written.
    ``threads`` 0 takes all cores.  ``tensors`` names tensors of the graph: the session then runs
    without XNNPACK, which would merge ops, and returns exactly these in place of the outputs.
    Raises MissingDependencyError, ModelCorruptError, ModelInvalidError, UnsupportedError, or
    SpecError for a tensor that the graph does not have.
    """
    model = read_tflite(path)
    extra = _find(model, tensors) if tensors is not None else ()
    edge_infos(model)
    interpreter = make_interpreter(
        path, model, optimize=optimize, threads=threads, keep=bool(extra)
    )
    return LitertSession(interpreter, model, extra)


def make_interpreter(
    path: str | os.PathLike[str],
    model: TfliteFile,
    *,
    optimize: bool = True,
    threads: int = 0,
    keep: bool = False,
) -> Any:
    """Return LiteRT's interpreter of a checked file, ready to run; see ``open_litert``."""
    litert = load_interpreter()
    _refuse_custom(model)
    kinds = litert.OpResolverType
    slow = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    kind = kinds.BUILTIN_REF if not optimize else slow if keep else kinds.AUTO
    threads = threads or cores()
    try:
        return _interpreter(litert, path, kind, threads=threads, keep=keep)
    except (RuntimeError, ValueError) as error:
        cause: Exception = error
    if _DELEGATE in str(cause):
        # XNNPACK does not say which of its ops failed: LiteRT's own kernels may.
        try:
            _interpreter(litert, path, slow, threads=threads)
        except (RuntimeError, ValueError) as error:
            cause = error
    raise load_error(cause, model) from cause


def _interpreter(
    litert: Any, path: str | os.PathLike[str], kind: Any, *, threads: int, keep: bool = False
) -> Any:
    with warnings.catch_warnings():
        # It warns that keeping tensors takes memory.
        warnings.simplefilter("ignore")
        interpreter = litert.Interpreter(
            model_path=str(Path(path)),
            num_threads=threads,
            experimental_op_resolver_type=kind,
            experimental_preserve_all_tensors=keep,
        )
    interpreter.allocate_tensors()
    return interpreter


def edge_infos(model: TfliteFile) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Return inputs and outputs; UnsupportedError names one that numpy cannot hold."""
    sides = []
    for outputs in (False, True):
        indexes = model.main.outputs if outputs else model.main.inputs
        names = model.edge_names(outputs=outputs)
        sides.append(
            tuple(
                _info(name, model.main.tensors[index])
                for name, index in zip(names, indexes, strict=True)
            )
        )
    return sides[0], sides[1]


def _info(name: str, tensor: TfliteTensor) -> TensorInfo:
    if tensor.dtype not in _DTYPES:
        raise UnsupportedError(
            f"It is {tensor.dtype}, which cannot be given or returned",
            remedy="Convert the model with plain numbers as inputs and outputs",
            tensor=name,
        )
    return TensorInfo(name, tensor.dtype, tensor.shape, tensor.scale, tensor.zero_point)


def _refuse_custom(model: TfliteFile) -> None:
    custom = dict.fromkeys(op.op_type for graph in model.graphs for op in graph.ops if op.custom)
    if custom:
        flex = any(name.startswith("Flex") for name in custom)
        raise UnsupportedError(
            f"The model has custom ops: {', '.join(list(custom)[:5])}",
            op_type=next(iter(custom)),
            remedy="Convert it without Select TF ops"
            if flex
            else "Convert it with builtin ops only",
        )


def _find(model: TfliteFile, names: Sequence[str]) -> tuple[int, ...]:
    places = {tensor.name: index for index, tensor in enumerate(model.main.tensors)}
    for name in names:
        if name not in places:
            raise SpecError(
                "The model's main graph has no such tensor",
                remedy="Request tensors of the main graph",
                tensor=name,
            )
    return tuple(places[name] for name in names)


def _names(infos: Sequence[TensorInfo]) -> list[str]:
    return [info.name for info in infos]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
