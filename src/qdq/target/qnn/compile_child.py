"""The child that compiles one ONNX file, or several into one context, with the HTP compiler.

One process for each: a second compilation in a process gives other bytes.  It also reads the binary
back, with Qualcomm's system library: what is told of it is what is in the file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qdq.base.child_side import child_main
from qdq.base.errors import QdqError
from qdq.base.progress import Progress
from qdq.runtime.qnn.library import HTP, IR, library_folder
from qdq.runtime.qnn.provider import ProviderError, open_provider_session
from qdq.target.qnn.errors import compile_error
from qdq.target.qnn.graph_name import GraphNamer
from qdq.target.qnn.op_trace import read_trace

__all__ = ["CONTEXT_NAME", "DLC_FOLDER", "PROFILE_NAME", "work"]

# The provider names the binary after the ONNX file that is to wrap the first graph.
_WRAPPERS = "model{}.onnx"
CONTEXT_NAME = "model_qnn.bin"
DLC_FOLDER = "dlc"
PROFILE_NAME = "prepare.csv"


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Compile the files ``models`` of ``spec`` into the folder ``output``.

    Return the seconds, and as ``context`` what the binary reads back as: None for a DLC, or where
    no binary was written.

    ``spec`` has ``graph_names``, one for each, ``soc_model``, provider ``options`` and ``dlc``,
    which makes a DLC in place of a binary.  Raises UnsupportedError that names what the compiler
    refused.
    """
    output = Path(spec["output"])
    libraries = [library_folder() / name for name in ((HTP, IR) if spec["dlc"] else (HTP,))]
    # Both are kept until the process ends: graphs call back into the namers, and graphs of one
    # context share the sessions' weights.
    kept: list[Any] = [GraphNamer(library, spec["graph_names"]) for library in libraries]
    began = time.perf_counter()
    for index, model in enumerate(spec["models"]):
        place = output / str(index)
        place.mkdir(exist_ok=True)
        kept.append(_compile(spec, model, place, index))
        progress.advance()
    seconds = time.perf_counter() - began
    binary = output / CONTEXT_NAME
    from qdq.runtime.qnn.read_child import describe

    context = None if spec["dlc"] or not binary.is_file() else describe(binary)
    return {"seconds": seconds, "context": context}


def _compile(spec: dict[str, Any], model: str, place: Path, index: int) -> Any:
    options = {
        "soc_model": str(spec["soc_model"]),
        "enable_framework_op_trace": "1",
        "framework_op_trace_dir": str(place),
        # What goes in and out is quantized on the NPU, by the compiled graph itself.
        "offload_graph_io_quantization": "0",
        **spec["options"],
    }
    if spec["dlc"]:
        config = {}
        options |= _dlc_options(place)
    else:
        count = len(spec["models"])
        several = count > 1
        wrapper = Path(spec["output"]) / _WRAPPERS.format(index or "")
        config = _context_config(wrapper, several=several, last=index == count - 1)
        if not several:
            options["enable_htp_prepare_only"] = "1"
        options |= {"profiling_level": "detailed", "profiling_file_path": str(place / PROFILE_NAME)}
    try:
        return open_provider_session(model, options=options, config=config)
    except ProviderError as error:
        raise _failure(error, place, spec["graph_names"]) from error


def _dlc_options(place: Path) -> dict[str, str]:
    return {
        "dump_qnn_ir_dlc": "1",
        "dump_qnn_ir_dlc_dir": str(place / DLC_FOLDER),
        "qnn_ir_backend_path": str(library_folder() / IR),
    }


def _context_config(wrapper: Path, *, several: bool, last: bool) -> dict[str, str]:
    config = {
        "ep.context_enable": "1",
        "ep.context_file_path": str(wrapper),
        "ep.context_embed_mode": "0",
    }
    if several:
        config["ep.share_ep_contexts"] = "1"
        if last:
            config["ep.stop_share_ep_contexts"] = "1"
    return config


def _failure(error: ProviderError, place: Path, names: Sequence[str]) -> QdqError:
    return compile_error(error.message, error.log, read_trace(place), names)


if __name__ == "__main__":
    child_main(work)
