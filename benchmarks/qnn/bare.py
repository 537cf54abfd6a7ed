"""The same compilation with the library alone: ``python -m benchmarks.qnn.bare MODEL SOC FOLDER``.

This is what somebody writes who calls onnxruntime-qnn directly, and what our time is compared with.
Prints CPU seconds as JSON: of the imports, and of the call.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

BEGAN = time.process_time()

import onnxruntime as ort  # noqa: E402
import onnxruntime_qnn as provider  # noqa: E402

IMPORTED = time.process_time()


def compile_bare(model: str, soc_model: str, folder: str) -> None:
    ort.register_execution_provider_library("QNNExecutionProvider", provider.get_library_path())
    devices = [it for it in ort.get_ep_devices() if it.ep_name == "QNNExecutionProvider"]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_session_config_entry("ep.context_enable", "1")
    options.add_session_config_entry("ep.context_file_path", str(Path(folder, "model.onnx")))
    options.add_session_config_entry("ep.context_embed_mode", "0")
    settings = {
        "backend_path": provider.get_qnn_htp_path(),
        "soc_model": soc_model,
        "enable_htp_prepare_only": "1",
        "offload_graph_io_quantization": "0",
    }
    options.add_provider_for_devices(devices[:1], settings)
    ort.InferenceSession(model, sess_options=options)


if __name__ == "__main__":
    compile_bare(*sys.argv[1:4])
    told = {"import_cpu_s": IMPORTED - BEGAN, "call_cpu_s": time.process_time() - IMPORTED}
    print(json.dumps(told), flush=True)
