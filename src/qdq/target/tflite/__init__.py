"""Target ``tflite``: a float or QDQ graph becomes a LiteRT model with the same scales.

The way through, one module a step, each a function of what came before::

    prepare      optimise, raise the opset, refuse what is dynamic          onnx_ir -> onnx_ir
    translate    constants and encodings read, integers made signed         onnx_ir -> ir.Graph
    join         MatMul + Add                                               Graph -> Graph
    decide       integer kernel or float, by rules/ops.json; and why        reads only
    absorb       Q/DQ pairs go, requantizations come                        Graph -> Graph
    edges        --quantize_io                                              Graph -> Graph
    assemble     lower/*: one function an op, over a Builder                Graph -> Program
    emit         flatbuffer                                                 Program -> bytes
"""

from qdq.target.tflite.compile import TensorSpec, TfliteModel, compile_tflite

__all__ = ["TensorSpec", "TfliteModel", "compile_tflite"]
