"""The names of ``qdq``: lazy, complete, and not hidden by the rooms."""

from __future__ import annotations

import subprocess
import sys

import pytest

import qdq

FUNCTIONS = ("compare", "compile", "inspect", "lint", "profile", "quantize", "run")


def run_python(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_import_is_light() -> None:
    run_python(
        "import sys, qdq\n"
        "heavy = {'numpy', 'onnx', 'onnx_ir', 'onnxruntime', 'h5py', 'torch', 'typer', 'rich'}\n"
        "qdq.QdqError, qdq.__version__\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )


@pytest.mark.parametrize("name", qdq.__all__)
def test_every_name_exists(name: str) -> None:
    assert getattr(qdq, name) is not None
    assert name in dir(qdq)


@pytest.mark.parametrize(
    "before",
    [
        "import qdq.library",
        "from qdq.quantizer import quantize_model",
        "import qdq; qdq.compile",
        "import qdq; qdq.quantize; import qdq.quantizer.rules",
    ],
)
def test_functions_are_functions_whatever_was_imported_before(before: str) -> None:
    run_python(
        f"{before}\nimport qdq\nfor name in {FUNCTIONS}: assert callable(getattr(qdq, name)), name"
    )


def test_the_errors_are_the_leaves_of_the_tree() -> None:
    leaves = {leaf.__name__ for leaf in qdq.QdqError.__subclasses__()}
    # These three are answers of the service; no function of the library raises them.
    leaves -= {"NotFoundError", "RequestError", "TooLargeError"}
    assert leaves == {name for name in qdq.__all__ if name.endswith("Error")} - {"QdqError"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'quantise'"):
        qdq.quantise  # noqa: B018
