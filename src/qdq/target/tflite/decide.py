"""Which nodes become integer kernels and which stay float, and why; reads only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from qdq.target.tflite.accumulator import (
    Product,
    computed_product_problem,
    product_problem,
)
from qdq.target.tflite.bias import bias_problem, factor_of, scaled
from qdq.target.tflite.ir import FLOATS, Clamp, Encoding, Graph, Node, Value
from qdq.target.tflite.rules import OpRow, WeightRow, op_row
from qdq.target.tflite.view import View, bounds_of, clamp_kind

__all__ = ["Admits", "Decision", "constant_weight", "data_inputs", "decide"]

# Says why a node cannot be a kernel of an integer dtype, "" where it can.
Admits = Callable[[Node, str], str]

# A kernel's fixed scale may be this much coarser than the model's before precision is lost: at
# 1/16 more, rounding twice still stays within one LSB nearly always.
MAX_COARSER = 1.0625


@dataclass(frozen=True, slots=True)
class Decision:
    """How one node runs.

    ``encodings`` holds one for each output where it is an integer kernel, else nothing, and
    ``why`` then tells why not; "" where the model itself computes in float there.  ``chain`` are
    the Relu and Clip nodes behind it that it absorbs: ``clamp`` is the fused one, ``bounds`` what
    a Clip of its own must do.
    """

    encodings: tuple[Encoding, ...] = ()
    why: str = ""
    chain: tuple[Node, ...] = ()
    clamp: Clamp | None = None
    bounds: tuple[float, float] | None = None

    @property
    def is_integer(self) -> bool:
        """Whether the node becomes an integer kernel."""
        return bool(self.encodings)


def decide(graph: Graph, view: View, admits: Mapping[str, Admits]) -> dict[Node, Decision]:
    """Decide for each node that is no Q or DQ and not absorbed by another."""
    decisions: dict[Node, Decision] = {}
    absorbed: set[Node] = set()
    for node in graph.nodes:
        if view.is_qdq(node) or node in absorbed:
            continue
        decision = _decide(node, view, admits.get(node.op_type, _admitted))
        decisions[node] = decision
        absorbed.update(decision.chain)
    return decisions


def data_inputs(node: Node, row: OpRow, view: View) -> tuple[Value, ...]:
    """Return the inputs that carry activations; a weight that is no constant is one of them."""
    if row.data is None:
        values = [value for value in node.inputs if value is not None]
    else:
        values = [node.data(index) for index in row.data if node.input(index) is not None]
    if row.weight is not None and constant_weight(node, row, view) is None:
        values.append(node.data(row.weight.input))
    return tuple(values)


def constant_weight(node: Node, row: OpRow, view: View) -> Value | None:
    """Return the fake-quantized constant weight of ``node``, None where it is computed or float."""
    if row.weight is None:
        return None
    weight = node.data(row.weight.input)
    dequantizer = view.dequantizer(weight)
    if dequantizer is None:
        return None
    integers = dequantizer.data(0)
    quantizer = view.producer(integers)
    if integers.data is None and (quantizer is None or quantizer.data(0).data is None):
        return None
    return weight


def _admitted(node: Node, dtype: str) -> str:
    del node, dtype
    return ""


def _decide(node: Node, view: View, admits: Admits) -> Decision:
    row = op_row(node.op_type)
    chain = view.clips_after(node.outputs[0]) if len(node.outputs) == 1 else []
    if not _is_quantized(node, row, chain, view):
        return _float(node, row, chain, "", view)
    if row is None:
        return _float(node, row, chain, "TFLite has no integer kernel for it", view)
    encodings = _output_encodings(node, row, chain, view)
    if not encodings:
        why = _formless(chain[-1] if chain else node, view)
        return _float(node, row, chain, why, view)
    why = admits(node, encodings[0].dtype) or _problem(node, row, encodings, view)
    if why:
        return _float(node, row, chain, why, view)
    return _integer(chain, encodings, fuses=_fuses(node, row, view))


def _is_quantized(node: Node, row: OpRow | None, chain: list[Node], view: View) -> bool:
    """Whether the model quantizes what the node reads and, unless it only moves, what it makes."""
    if not node.inputs or node.outputs[0].dtype not in FLOATS:
        return False
    floats = [v for v in node.inputs if v is not None and v.dtype in FLOATS]
    values = data_inputs(node, row, view) if row is not None else floats[:1]
    # A constant that the model forgot to quantize makes no float op of it unsaid.
    computed = [value for value in values if value.data is None]
    if not computed or not all(view.dequantizer(value) for value in computed):
        return False
    if row is not None and row.exact:
        return True
    tail = chain[-1].outputs[0] if chain else node.outputs[0]
    return any(reader.op_type == "QuantizeLinear" for reader in view.readers(tail))


def _output_encodings(
    node: Node, row: OpRow, chain: list[Node], view: View
) -> tuple[Encoding, ...]:
    tails = [chain[-1].outputs[0]] if chain else [v for v in node.outputs if view.is_needed(v)]
    found = [view.quantized_as(value) for value in tails]
    if any(encoding is None for encoding in found) and row.exact:
        own = view.encoding(data_inputs(node, row, view)[0])
        found = [encoding or own for encoding in found] if not chain else found
    if any(encoding is None for encoding in found):
        return ()
    return tuple(encoding for encoding in found if encoding is not None)


def _formless(node: Node, view: View) -> str:
    """Return why no one encoding stands for an output that the model quantizes."""
    for value in node.outputs:
        quantizers = [r for r in view.readers(value) if r.op_type == "QuantizeLinear"]
        whys = [why for reader in quantizers if (why := view.said(reader).why_not)]
        if whys:
            return f"its output '{value.name}' has no TFLite encoding: {whys[0]}"
        if quantizers and (len(quantizers) < len(view.readers(value)) or view.is_output(value)):
            return f"its output '{value.name}' is also read without being quantized"
        if quantizers:
            return f"its output '{value.name}' is quantized with several encodings"
    return ""


def _problem(node: Node, row: OpRow, encodings: tuple[Encoding, ...], view: View) -> str:
    """Return why the kernel does not take these dtypes, scales or zero points; "" if it does."""
    sources: list[Encoding] = []
    for value in data_inputs(node, row, view):
        dequantizer = view.dequantizer(value)
        if dequantizer is None:
            return f"its constant '{value.name}' is not quantized"
        said = view.said(dequantizer)
        if said.encoding is None:
            return f"its input '{value.name}' has no TFLite encoding: {said.why_not}"
        sources.append(said.encoding)
    for encoding in (*sources, *encodings):
        if encoding.axis is not None:
            return "activations with a scale for each channel have no kernel"
    dtypes = {encoding.dtype for encoding in (*sources, *encodings)}
    if len(dtypes) > 1:
        return f"its inputs and outputs have different integer types: {', '.join(sorted(dtypes))}"
    dtype = dtypes.pop()
    if dtype not in row.dtypes:
        return f"TFLite has no {dtype} kernel for it"
    why = _scale_problem(node, row, sources, encodings, view)
    return why or _weight_problem(node, row, sources[0], encodings[0], view)


def _scale_problem(
    node: Node, row: OpRow, sources: list[Encoding], outputs: tuple[Encoding, ...], view: View
) -> str:
    dtype, scale = outputs[0].dtype, min(output.scale[0] for output in outputs)
    if dtype in row.fixed:
        fixed = row.fixed[dtype][0]
        if fixed <= scale * MAX_COARSER:
            return ""
        return (
            f"TFLite's {dtype} kernel has the fixed output scale {fixed:.6g}, coarser than the "
            f"model's {scale:.6g}"
        )
    scales = [source.scale[0] for source in sources]
    weight = constant_weight(node, row, view)
    if weight is not None and (encoding := view.encoding(weight)) is not None:
        assert row.weight is not None
        scales.append(max(encoding.scale) * abs(factor_of(node, row.weight.factor)))
    multiplies = node.op_type == "Mul" or row.weight is not None
    coarsest = float(np.prod(scales)) if multiplies else max(scales)
    if coarsest / scale < row.ratio[dtype]:
        return ""
    return (
        f"TFLite's {dtype} kernel overflows: its inputs' scale {coarsest:.6g} is "
        f"{row.ratio[dtype]:g} times its output's {scale:.6g} or more"
    )


def _weight_problem(node: Node, row: OpRow, source: Encoding, output: Encoding, view: View) -> str:
    if row.weight is None:
        return ""
    weight, factor = constant_weight(node, row, view), factor_of(node, row.weight.factor)
    if weight is None:
        return _computed_weight_problem(node, row, source, output, view)
    if not factor > 0:
        return f"its {row.weight.factor} is not positive"
    dequantizer = view.dequantizer(weight)
    assert dequantizer is not None
    said = view.said(dequantizer)
    if said.encoding is None:
        return f"its weights have no TFLite encoding: {said.why_not}"
    axis, bias = weight_axis(node, row.weight), _bias(node, row)
    why = _weight_encoding_problem(said.encoding, axis, row.weight)
    why = why or _batch_problem(node, weight, said.encoding)
    if why:
        return why
    # Seen from the accumulator, a factor of the product divides the output and the bias.
    inner, share = scaled(output, 1 / factor), factor_of(node, row.bias_factor) / factor
    product = Product(source, said.encoding, inner)
    if bias is not None:
        why = bias_problem(bias, source, said.encoding, inner, view, factor=share)
    return why or product_problem(weight, bias, axis, product, view, factor=share)


def _computed_weight_problem(
    node: Node, row: OpRow, source: Encoding, output: Encoding, view: View
) -> str:
    assert row.weight is not None
    computed = view.encoding(node.data(row.weight.input))
    if computed is None:
        return "its weights are not quantized"
    if _bias(node, row) is not None or factor_of(node, row.weight.factor) != 1.0:
        return "TFLite's product of two computed operands has no bias and no factor"
    depth = node.data(0).shape[0 if node.int("transA") else -1]
    return computed_product_problem(depth, source, computed, output)


def _bias(node: Node, row: OpRow) -> Value | None:
    return None if row.bias is None else node.input(row.bias)


def _weight_encoding_problem(encoding: Encoding, axis: int, row: WeightRow) -> str:
    if encoding.dtype != "int8":
        return f"TFLite has no kernel for {encoding.dtype} weights"
    if encoding.axis is not None and encoding.axis != axis:
        return f"its weights have a scale for each index of axis {encoding.axis}"
    if any(encoding.zero_point) and (row.zero_point == "zero" or len(encoding.scale) > 1):
        return "its weights have a zero point, and the kernel takes 0 only"
    return ""


def _batch_problem(node: Node, weight: Value, encoding: Encoding) -> str:
    if node.op_type != "MatMul" or weight.rank == 2 or len(encoding.scale) == 1:
        return ""
    # BATCH_MATMUL computes with one scale, and says nothing.
    return "TFLite's product of batches of matrices has one scale for all weights"


def weight_axis(node: Node, row: WeightRow) -> int:
    """Return the axis of the weight along which each output channel may have its scale."""
    if row.axis == "gemm":
        return 0 if node.int("transB") else 1
    if row.axis == "last":
        return node.data(row.input).rank - 1
    return int(row.axis)


def _fuses(node: Node, row: OpRow, view: View) -> bool:
    """Whether the kernel has a fused activation; BATCH_MATMUL has none.

    That multiplies two computed operands, and matrices by the batch, constant or not.
    """
    if row.weight is None or not row.fuses:
        return row.fuses
    weight = node.data(row.weight.input)
    if weight.data is None and constant_weight(node, row, view) is None:
        return False
    return node.op_type != "MatMul" or (weight.rank == 2 and node.data(0).data is None)


def _integer(chain: list[Node], encodings: tuple[Encoding, ...], *, fuses: bool) -> Decision:
    if not chain:
        return Decision(encodings)
    low, high = _combined(chain)
    clamp = clamp_kind(low, high, encodings[0])
    if clamp is not None and clamp.kind == "NONE":
        return Decision(encodings, chain=tuple(chain))
    if clamp is not None and fuses:
        return Decision(encodings, chain=tuple(chain), clamp=clamp)
    return Decision(encodings, chain=tuple(chain), bounds=(low, high))


def _float(node: Node, row: OpRow | None, chain: list[Node], why: str, view: View) -> Decision:
    fuses = row is not None and _fuses(node, row, view)
    bounds = bounds_of(chain[0]) if chain and fuses else None
    clamp = None if bounds is None else clamp_kind(*bounds, None)
    return Decision(why=why, chain=tuple(chain[:1]) if clamp else (), clamp=clamp)


def _combined(chain: list[Node]) -> tuple[float, float]:
    low, high = -np.inf, np.inf
    for node in chain:
        bounds = bounds_of(node)
        assert bounds is not None
        low, high = (
            float(np.minimum(np.maximum(end, bounds[0]), bounds[1])) for end in (low, high)
        )
    return low, high
