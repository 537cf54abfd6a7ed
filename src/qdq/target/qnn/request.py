"""What the options of a job ask of the HTP compiler."""

from __future__ import annotations

import re
from dataclasses import dataclass

from qdq.base.errors import OptionError
from qdq.base.options import JobKind, Options
from qdq.base.qnn_package import check_qairt

__all__ = ["RUNTIMES", "QnnRequest", "default_graph_name", "read_qnn_request"]

# Target runtimes, and what their files are called.
RUNTIMES = {
    "qnn_context_binary": (".bin",),
    "precompiled_qnn_onnx": (".onnx", ".zip"),
    "qnn_dlc": (".dlc",),
}
_OPTIONS = (
    "qnn_graph_name",
    "qnn_context_binary_vtcm",
    "qnn_context_binary_optimization_level",
    "qnn_options",
    "qairt_version",
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,127}")
_FOREIGN = re.compile(r"[^A-Za-z0-9_]+")
_DEFAULT_NAME = "model"
_LONGEST_DEFAULT = 64
_GRAPHS, _LEVEL = "context_enable_graphs", "default_graph_htp_optimizations"
_VTCM, _PRECISION = "default_graph_htp_vtcm_size", "default_graph_htp_precision"


@dataclass(frozen=True, slots=True)
class QnnRequest:
    """Settings of one compilation; None leaves the choice to the compiler.

    ``optimization_level`` is 1 to 3, ``vtcm_mb`` megabytes of tightly coupled memory.
    """

    graph_name: str | None = None
    optimization_level: int | None = None
    vtcm_mb: int | None = None

    def provider_options(self) -> dict[str, str]:
        """Return them as options of ONNX Runtime's provider."""
        options = {}
        if self.optimization_level is not None:
            options["htp_graph_finalization_optimization_mode"] = str(self.optimization_level)
        if self.vtcm_mb is not None:
            options["vtcm_mb"] = str(self.vtcm_mb)
        return options


def read_qnn_request(options: Options, *, runtime: str | None) -> QnnRequest:
    """Return what compile or link options ask for; ``runtime`` None means a link.

    Raises OptionError for QNN options of another runtime, for what is said twice and differs, for a
    name that is none, and for a QAIRT version that is not installed.
    """
    known = options.table.of(options.kind)
    if runtime is not None and runtime not in RUNTIMES:
        _refuse_foreign(options, runtime)
        return QnnRequest()
    if "qairt_version" in options.given:
        check_qairt(str(options.get("qairt_version")))
    pairs = options.get_pairs("qnn_options")
    dlc = runtime == "qnn_dlc"
    if dlc:
        _refuse_late(options, pairs)
    name = _one(
        ("--qnn_graph_name", _given(options, known, "qnn_graph_name")),
        (f"--qnn_options {_GRAPHS}", pairs.get(_GRAPHS)),
    )
    if name is not None and options.kind is not JobKind.LINK:
        _check_name(name)
    level = _one(
        (
            "--qnn_context_binary_optimization_level",
            _given(options, known, "qnn_context_binary_optimization_level"),
        ),
        (f"--qnn_options {_LEVEL}", pairs.get(_LEVEL, "").removeprefix("O=") or None),
    )
    vtcm = _one(
        ("--qnn_context_binary_vtcm", _given(options, known, "qnn_context_binary_vtcm")),
        (f"--qnn_options {_VTCM}", pairs.get(_VTCM)),
    )
    return QnnRequest(
        graph_name=name,
        optimization_level=None if level is None else int(level),
        # 0 is the compiler's own choice.
        vtcm_mb=None if vtcm in (None, "0") else int(vtcm),
    )


def default_graph_name(name: str | None) -> str:
    """Return the name of a graph for which none was asked: the source graph's, made plain."""
    plain = _FOREIGN.sub("_", name or "").strip("_")[:_LONGEST_DEFAULT]
    if not plain:
        return _DEFAULT_NAME
    return plain if not plain[0].isdigit() else f"{_DEFAULT_NAME}_{plain}"


def _refuse_foreign(options: Options, runtime: str) -> None:
    for name in _OPTIONS:
        if name in options.given:
            raise OptionError(
                f"Option --{name} is of the QNN runtimes, and the target runtime is {runtime}",
                remedy=f"Leave it out, or give --target_runtime {', '.join(RUNTIMES)}",
            )


def _refuse_late(options: Options, pairs: dict[str, str]) -> None:
    """A DLC is a model before the HTP compiler, whose settings come when it is linked."""
    late = [f"--qnn_options {key}" for key in (_LEVEL, _VTCM) if key in pairs]
    late += [f"--{name}" for name in _OPTIONS[1:3] if name in options.given]
    if late:
        raise OptionError(
            f"{late[0]} is a setting of a context binary, and a DLC has none yet",
            remedy="Give it where the DLC is linked, or compile to qnn_context_binary",
        )


def _given(options: Options, known: object, name: str) -> str | None:
    if name not in known or name not in options.given:  # type: ignore[operator]
        return None
    return str(options.get(name))


def _one(*said: tuple[str, str | None]) -> str | None:
    given = [(flag, value) for flag, value in said if value is not None]
    if len({value for _, value in given}) > 1:
        raise OptionError(
            " and ".join(f"{flag} {value}" for flag, value in given) + " contradict each other",
            remedy="Keep one of them",
        )
    return given[0][1] if given else None


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise OptionError(
            f"'{name[:100]}' cannot be the name of a QNN graph",
            remedy="Use up to 128 letters, digits, '_', '-' and '.', a letter first",
        )
