"""The server's process stays small: nothing that reads models is imported into it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import qdq.api, qdq.service
heavy = {"numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "h5py", "torch", "ml_dtypes"}
heavy |= {"ai_edge_litert", "flatbuffers"}
print(sorted(heavy & set(sys.modules)))
"""


def test_the_api_imports_nothing_heavy():
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
