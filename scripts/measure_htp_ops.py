"""Measure which ONNX operators the HTP compiler takes, and write the table of the lint.

    .venv/bin/python scripts/measure_htp_ops.py [--check] [OP ...]

Each operator stands alone in a graph, in float and between Q/DQ pairs of 8 and 16 bits, and is
given to the compiler of onnxruntime-qnn for one chip of each architecture, with no fallback to the
CPU: it is taken when the session can be made.  A few forms of the same op are tried (signed or
unsigned parameters, int32 or float biases); one that is taken is enough.  ``--check`` writes
nothing and fails where the table says otherwise.  Einsum is left out, as it ends the process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from htp_op_calls import CALLS, FLAGS, OPSETS, OUTPUTS
from onnx import TensorProto, helper, numpy_helper
from onnx.defs import get_schema, onnx_opset_version

TABLE = Path(__file__).parents[1] / "src/qdq/target/lint/ops.json"
# One chip of each architecture, by the number that the compiler knows it by.
CHIPS = {"v68": 93, "v69": 36, "v73": 43, "v75": 57, "v79": 69, "v81": 87}
FORMS = ("float", "uint8", "uint16")
STEPS = {"uint8": (np.uint8, 128, 1 / 64), "uint16": (np.uint16, 32768, 1 / 16384)}
# Parameters that are quantized as weights, and biases; other float constants as activations.
WEIGHTS, BIASES = ("w", "r", "s"), ("b",)


def opset_of(op: str) -> int:
    if op in OPSETS:
        return OPSETS[op]
    return max(21, get_schema(op, onnx_opset_version(), "").since_version)


def graph_of(op: str, form: str, variant: int) -> onnx.ModelProto | None:
    """Return the op alone, between Q/DQ pairs where ``form`` is a dtype; None for no such form."""
    call, constants, shape = CALLS[op]
    prefix = "f = Greater (x, c)" if op in FLAGS else ""
    text = (
        f'<ir_version: 10, opset_import: ["" : {opset_of(op)}]> '
        f"g (float[{','.join(map(str, shape))}] x) => (y) "
        f"{{ {prefix} {OUTPUTS.get(op, 'y')} = {call} }}"
    )
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    for index, node in enumerate(model.graph.node):
        node.name = f"n{index}"
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    types = {it.name: it.type for it in (*model.graph.value_info, *model.graph.output)}
    output = model.graph.output[0]
    output.CopyFrom(helper.make_value_info("y", types["y"]) if "y" in types else output)
    if not output.type.tensor_type.elem_type:
        return None
    return model if form == "float" else quantized(model, form, variant)


def quantized(model: onnx.ModelProto, form: str, variant: int) -> onnx.ModelProto | None:
    graph = model.graph
    dtype, zero, scale = STEPS[form]
    nodes: list[onnx.NodeProto] = []
    renamed: dict[str, str] = {}

    def pair(name: str, *, source: str) -> str:
        encoding = (f"{name}_s", f"{name}_z")
        graph.initializer.extend(
            (
                numpy_helper.from_array(np.float32(scale), encoding[0]),
                numpy_helper.from_array(dtype(zero), encoding[1]),
            )
        )
        nodes.append(
            helper.make_node("QuantizeLinear", [source, *encoding], [f"{name}_q"], name=f"{name}_Q")
        )
        nodes.append(
            helper.make_node(
                "DequantizeLinear", [f"{name}_q", *encoding], [f"{name}_d"], name=f"{name}_D"
            )
        )
        return f"{name}_d"

    renamed["x"] = pair("x", source="x")
    for tensor in list(graph.initializer):
        value = numpy_helper.to_array(tensor)
        if value.dtype != np.float32 or tensor.name in ("scales", "low", "high", "i", "j"):
            continue
        if tensor.name.endswith(("_s", "_z")):
            continue
        encoded = encode(tensor.name, value, form, variant)
        if encoded is None:
            continue
        integers, step, point = encoded
        names = [f"{tensor.name}_i", f"{tensor.name}_is", f"{tensor.name}_iz"]
        for name, array in zip(names, (integers, step, point), strict=True):
            graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        nodes.append(
            helper.make_node(
                "DequantizeLinear", names, [f"{tensor.name}_d"], name=f"{tensor.name}_D"
            )
        )
        renamed[tensor.name] = f"{tensor.name}_d"
    for node in graph.node:
        inputs = [renamed.get(name, name) for name in node.input]
        del node.input[:]
        node.input.extend(inputs)
        nodes.append(node)
    if graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT:
        shape = graph.output[0].type.tensor_type.shape
        last = pair("y", source="y")
        graph.output[0].name = last
        graph.output[0].type.tensor_type.shape.CopyFrom(shape)
    # A float output without a pair would make the op one of floats.
    for name in [it for node in graph.node for it in node.output if it in ("z",)]:
        nodes.append(helper.make_node("Identity", [pair(name, source=name)], [f"{name}_end"]))
    del graph.node[:]
    # Topological: pairs of inputs come first, as they were made.
    graph.node.extend(nodes)
    return model


def encode(name: str, value: np.ndarray, form: str, variant: int) -> tuple[Any, ...] | None:
    dtype, zero, scale = STEPS[form]
    if name in BIASES:
        if variant & 1:
            return None
        step = np.float32(scale / 64)
        return np.rint(value / step).astype(np.int32), step, np.int32(0)
    if name in WEIGHTS and not variant & 2:
        step = np.float32(1 / 64)
        return np.rint(value / step).clip(-127, 127).astype(np.int8), step, np.int8(0)
    if name in WEIGHTS:
        step = np.float32(1 / 64)
        return (np.rint(value / step) + 128).clip(0, 255).astype(np.uint8), step, np.uint8(128)
    step = np.float32(scale)
    return (
        (np.rint(value / step) + zero).clip(0, np.iinfo(dtype).max).astype(dtype),
        step,
        dtype(zero),
    )


class Compiler:
    """Makes sessions of the provider; one process can make many."""

    def __init__(self) -> None:
        import onnxruntime as ort
        import onnxruntime_qnn as qnn

        self.ort = ort
        ort.set_default_logger_severity(4)
        ort.register_execution_provider_library("QNNExecutionProvider", qnn.get_library_path())
        self.devices = [it for it in ort.get_ep_devices() if it.ep_name == "QNNExecutionProvider"][
            :1
        ]
        self.backend = str(Path(qnn.LIB_DIR_FULL_PATH) / "libQnnHtp.so")
        self.versions = f"onnxruntime-qnn {qnn.__version__}, onnxruntime {ort.__version__}"

    def takes(self, model: onnx.ModelProto, soc: int) -> bool:
        options = self.ort.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        options.add_provider_for_devices(
            self.devices, {"backend_path": self.backend, "soc_model": str(soc)}
        )
        try:
            self.ort.InferenceSession(model.SerializeToString(), sess_options=options)
        except Exception:
            return False
        return True


def variants(op: str) -> Iterator[int]:
    constants = CALLS[op][1]
    yield 0
    if "b" in constants:
        yield 1
    if any(name in constants for name in WEIGHTS):
        yield 2
        if "b" in constants:
            yield 3


def measure(compiler: Compiler, op: str) -> dict[str, list[str]]:
    row: dict[str, list[str]] = {}
    for form in FORMS:
        taken: list[str] = []
        for arch, soc in CHIPS.items():
            for variant in variants(op) if form != "float" else (0,):
                model = graph_of(op, form, variant)
                if model is not None and compiler.takes(model, soc):
                    taken.append(arch)
                    break
        row[form] = taken
    return row


def main() -> int:
    words = [it for it in sys.argv[1:] if it != "--check"]
    check = "--check" in sys.argv
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {"ops": {}}
    compiler = Compiler()
    wrong = []
    for op in words or CALLS:
        row = measure(compiler, op)
        print(op, {form: " ".join(taken) or "-" for form, taken in row.items()}, flush=True)
        if check:
            wrong += [op] if table["ops"].get(op) != row else []
        else:
            table["ops"][op] = row
    if check:
        print("differ from the table:", ", ".join(wrong) or "none")
        return 1 if wrong else 0
    table["measured_with"] = compiler.versions
    table["chips"] = CHIPS
    table["ops"] = dict(sorted(table["ops"].items()))
    rows = ",\n".join(
        f"    {json.dumps(op)}: {json.dumps(row)}" for op, row in table["ops"].items()
    )
    head = {key: value for key, value in table.items() if key != "ops"}
    text = json.dumps(head, indent=2).removesuffix("\n}") + f',\n  "ops": {{\n{rows}\n  }}\n}}\n'
    TABLE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
