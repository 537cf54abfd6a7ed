"""onnx_ir comes without sympy, and sympy comes when a dim needs it."""

import subprocess
import sys

import pytest

CODE = """
import sys
{before}
import qdq.graph
import onnx_ir as ir
assert ('sympy' in sys.modules) == {early}, 'after the import'
{body}
import sympy
assert isinstance(sympy.Symbol('a'), sympy.Expr)
assert sympy.__version__ and sympy.polys.polytools
"""
DIMS = """
one = ir.SymbolicDim('a') + 1
assert one.value == 'a + 1' and one.evaluate({'a': 3}) == 4
assert ir.SymbolicDim('max(a, 2) * 3').evaluate({'a': 5}) == 15
assert ir.SymbolicDim(sys.modules['sympy'].Symbol('b') * 2).value == '2*b'
try:
    ir.SymbolicDim(1.5)
except TypeError:
    pass
else:
    raise AssertionError('no type error')
"""


def _run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("body", ["", DIMS], ids=["unused", "dims"])
@pytest.mark.parametrize("before", ["", "import sympy"], ids=["late", "early"])
def test_dims_are_computed_with_the_real_sympy(before, body):
    _run(CODE.format(before=before, early=bool(before), body=body))


def test_another_onnx_ir_that_needs_sympy_at_once_gets_it(tmp_path):
    package = tmp_path / "onnx_ir"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import sympy\nclass Dim(sympy.Symbol):\n    pass\nassert Dim('a') == Dim('a')\n"
    )
    _run(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from importlib.machinery import SourceFileLoader\n"
        "import qdq\n"
        "from pathlib import Path\n"
        "file = Path(qdq.__file__).with_name('graph') / 'light_ir.py'\n"
        "SourceFileLoader('light_ir', str(file)).load_module()\n"
        "import onnx_ir, sympy\n"
        "assert issubclass(onnx_ir.Dim, sympy.Symbol)\n"
    )


def test_a_compilation_loads_neither_sympy_nor_what_no_step_needs(tmp_path):
    _run(
        "import sys, onnx, qdq\n"
        "text = '<ir_version: 8, opset_import: [\"\" : 17]> '\n"
        "text += 'g (float[1,3] x) => (float[1,3] y) { y = Relu(x) }'\n"
        f"qdq.compile(onnx.parser.parse_model(text), {str(tmp_path / 'y.onnx')!r})\n"
        "heavy = {'sympy', 'onnxscript', 'h5py', 'torch', 'onnxruntime', 'qdq.quantizer',\n"
        "         'qdq.frontend.aimet', 'qdq.target.qnn.compile', 'qdq.target.tflite'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
