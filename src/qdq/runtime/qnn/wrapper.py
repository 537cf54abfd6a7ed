"""The ONNX model that stands for a compiled graph: one EPContext node over a context binary.

Its form is that of ONNX Runtime's EPContext design; attributes as its QNN provider reads them.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from qdq.base.qnn_files import EP_CONTEXT
from qdq.runtime.qnn.context import ContextBinary, ContextGraph, ContextTensor
from qdq.runtime.qnn.provider import EP_NAME

__all__ = ["BINARY_NAME", "SHA256_KEY", "WRAPPER_NAME", "make_wrapper"]

# The two files of a precompiled model, as ONNX Runtime names them too.
WRAPPER_NAME = "model.onnx"
BINARY_NAME = "model_qnn.bin"
# What guards the binary: neither it nor the simulator has a checksum.
SHA256_KEY = "qdq.qnn.sha256"
_DOMAIN = "com.microsoft"
_OPSET = 21
_IR_VERSION = 10


def make_wrapper(
    context: ContextBinary, graph: ContextGraph | None = None, *, binary: str = BINARY_NAME
) -> bytes:
    """Return the bytes of an ONNX model that runs ``graph``, or the first, of ``context``.

    ``binary`` is the name of the context binary's file, in the folder of the model.
    """
    chosen = graph or context.graph()
    node = helper.make_node(
        EP_CONTEXT,
        [tensor.name for tensor in chosen.inputs],
        [tensor.name for tensor in chosen.outputs],
        # The provider finds a graph of several by this name.
        name=chosen.name,
        domain=_DOMAIN,
        main_context=1,
        embed_mode=0,
        ep_cache_context=binary,
        source=EP_NAME,
        partition_name=chosen.name,
        ep_sdk_version=context.build_id,
    )
    model = helper.make_model(
        helper.make_graph(
            [node],
            chosen.name,
            [_value(tensor) for tensor in chosen.inputs],
            [_value(tensor) for tensor in chosen.outputs],
        ),
        opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(_DOMAIN, 1)],
        ir_version=_IR_VERSION,
        producer_name="qdq",
    )
    encoded = [it for it in (*chosen.inputs, *chosen.outputs) if it.scale is not None]
    props = {key: value for it in encoded for key, value in _encoding(it).items()}
    helper.set_model_props(model, {SHA256_KEY: context.sha256, **props})
    return bytes(model.SerializeToString(deterministic=True))


def _value(tensor: ContextTensor) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return helper.make_tensor_value_info(tensor.name, dtype, tensor.shape)


def _encoding(tensor: ContextTensor) -> dict[str, str]:
    # The keys of qdq.target.interface.marks, by which qdq tells scale and zero point of ONNX.
    return {
        f"qdq.io.{tensor.name}.scale": repr(tensor.scale),
        f"qdq.io.{tensor.name}.zero_point": str(tensor.zero_point),
    }
