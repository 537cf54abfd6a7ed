"""Gemm and MatMul: FULLY_CONNECTED on constant weights, BATCH_MATMUL on two computed operands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qdq.target.tflite import layout
from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Encoding, Node, Value
from qdq.target.tflite.lower.convolution import bias_tensor
from qdq.target.tflite.program import Tensor

__all__ = ["lower_gemm", "lower_matmul"]


def _gemm_admits(node: Node, dtype: str) -> str:
    del dtype
    bias = node.input(2)
    if bias is not None and bias.shape not in ((), (1,), *_bias_shapes(node)):
        return "its bias is not one number for each column"
    return ""


@lowers("Gemm", admits=_gemm_admits)
def lower_gemm(node: Node, b: Builder) -> None:
    """FULLY_CONNECTED; scaling goes into constant weights and bias."""
    source, weight = node.data(0), node.data(1)
    trans_a, trans_b = node.int("transA"), node.int("transB")
    tensor = b.get(source, (1, 0) if trans_a else (0, 1))
    if weight.data is None:
        _computed_gemm(node, b, tensor)
        return
    data, encoding = weight.data, weight.encoding
    if not trans_b:
        data, encoding = data.T, _turned(encoding)
    if encoding is None:
        data = data * np.float32(node.float("alpha", 1.0))
    columns = node.outputs[0].shape[-1]
    bias = node.input(2)
    is_vector = bias is None or bias.shape in ((), (1,), *_bias_shapes(node))
    filters = b.constant(data, name=weight.name, encoding=encoding)
    result = b.result(node.outputs[0])
    if is_vector and (bias is None or bias.data is not None):
        made, vector = result, _scaled_bias(node, b, columns)
        b.fully_connected([tensor, filters, vector], made, b.fused(node))
        return
    made = b.like(result)
    b.fully_connected([tensor, filters, None], made)
    _add_bias(node, b, made, result)


@lowers("MatMul")
def lower_matmul(node: Node, b: Builder) -> None:
    """FULLY_CONNECTED on a constant matrix, else BATCH_MATMUL."""
    source, weight, output = node.data(0), node.data(1), node.outputs[0]
    if weight.data is not None and weight.rank == 2 and source.data is None:
        tensor = b.logical(source)
        filters = b.constant(weight.data.T, name=weight.name, encoding=_turned(weight.encoding))
        bias = bias_tensor(node, b, weight.shape[1])
        result = b.result(output)
        made = result if source.rank > 1 else b.like(result, (1, weight.shape[1]))
        tensor = tensor if source.rank > 1 else b.reshape(tensor, (1, source.shape[0]))
        b.fully_connected([tensor, filters, bias], made, b.fused(node))
        if made is not result:
            b.emit_reshape(made, result)
        return
    _batch_matmul(node, b)


def _batch_matmul(node: Node, b: Builder) -> None:
    left, right, output = node.data(0), node.data(1), node.outputs[0]
    rank = max(left.rank, right.rank, 2)
    x, adjoint_x = _operand(left, b, rank, is_left=True)
    y, adjoint_y = _operand(right, b, rank, is_left=False)
    result = b.result(output)
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    rows = x.shape[-1] if adjoint_x else x.shape[-2]
    columns = y.shape[-2] if adjoint_y else y.shape[-1]
    shape = (*batch, rows, columns)
    made = result if result.shape == shape else b.like(result, shape)
    b.emit("BATCH_MATMUL", [x, y], [made], adjX=adjoint_x, adjY=adjoint_y)
    if made is not result:
        b.emit_reshape(made, result)


def _operand(value: Value, b: Builder, rank: int, *, is_left: bool) -> tuple[Tensor, bool]:
    """Return an operand of full rank, and whether its last two dims are stored swapped."""
    if value.rank == 1:
        shape = (1, value.shape[0]) if is_left else (value.shape[0], 1)
        tensor = b.reshape(b.logical(value), (*(1,) * (rank - 2), *shape))
        return tensor, False
    swapped = (*range(value.rank - 2), value.rank - 1, value.rank - 2)
    straight = layout.identity(value.rank)
    forms = b.forms(value)
    is_swapped = swapped in forms and straight not in forms
    tensor = b.get(value, swapped if is_swapped else straight)
    full = (*(1,) * (rank - value.rank), *tensor.shape)
    return b.reshape(tensor, full), is_swapped


def _computed_gemm(node: Node, b: Builder, tensor: Tensor) -> None:
    weight = node.data(1)
    y, adjoint = _operand(weight, b, 2, is_left=False)
    result = b.result(node.outputs[0])
    has_bias, alpha = node.input(2) is not None, node.float("alpha", 1.0)
    product = b.like(result) if has_bias or alpha != 1.0 else result
    b.emit(
        "BATCH_MATMUL", [tensor, y], [product], adjX=False, adjY=adjoint != bool(node.int("transB"))
    )
    if alpha != 1.0:
        made = b.like(result) if has_bias else result
        _scale(product, made, alpha, "NONE" if has_bias else b.fused(node), b)
        product = made
    if has_bias:
        _add_bias(node, b, product, result)


def _scale(tensor: Tensor, result: Tensor, factor: float, fused: str, b: Builder) -> None:
    number = b.constant(np.full((1, 1), factor, np.float32), name="factor")
    b.emit("MUL", [tensor, number], [result], fusedActivationFunction=fused)


def _add_bias(node: Node, b: Builder, made: Tensor, result: Tensor) -> None:
    bias = node.data(2)
    tensor = b.aligned([bias], layout.identity(2))[0]
    beta = node.float("beta", 1.0)
    if beta != 1.0:
        scaled = b.like(tensor)
        _scale(tensor, scaled, beta, "NONE", b)
        tensor = scaled
    b.emit(
        "ADD", [made, tensor], [result], fusedActivationFunction=b.fused(node), potScaleInt16=False
    )


def _scaled_bias(node: Node, b: Builder, columns: int) -> Tensor:
    bias, beta = node.input(2), node.float("beta", 1.0)
    if bias is None or bias.data is None or beta == 1.0:
        return bias_tensor(node, b, columns)
    scaled = np.broadcast_to(bias.data.reshape(-1) * np.float32(beta), (columns,))
    return b.constant(scaled, name=bias.name)


def _bias_shapes(node: Node) -> tuple[tuple[int, ...], ...]:
    columns = node.outputs[0].shape[-1]
    return ((columns,), (1, columns), (1, 1))


def _turned(encoding: Encoding | None) -> Encoding | None:
    if encoding is None or encoding.axis is None:
        return encoding
    return replace(encoding, axis=1 - encoding.axis)
