"""The room's public names, and what the profiling child does not import."""

import subprocess
import sys

import pytest

from qdq import runtime


@pytest.mark.parametrize("name", runtime.__all__)
def test_public_names_resolve(name):
    assert getattr(runtime, name).__name__ == name


def test_unknown_name():
    with pytest.raises(AttributeError, match="nope"):
        runtime.nope  # noqa: B018 - the access is the test


@pytest.mark.parametrize("child", ["profile_child", "litert.profile_child"])
def test_profiling_child_imports_no_graph_library(child):
    code = (
        f"import sys, qdq.runtime.{child}\n"
        "print([m for m in ('onnx', 'onnx_ir', 'onnxscript', 'h5py', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
