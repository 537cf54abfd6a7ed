"""Small models as ONNX text, with a header and the conversion to onnx_ir."""

import onnx
import onnx_ir as ir
import pytest


@pytest.fixture
def parse():
    """Return a function from the text of a graph to an ir.Model."""

    def to_model(text, *, opset=21, ir_version=10, domains=""):
        header = f'<ir_version: {ir_version}, opset_import: ["" : {opset}{domains}]>\n'
        return ir.from_proto(onnx.parser.parse_model(header + text))

    return to_model


@pytest.fixture
def float_model(parse):
    return parse(
        """
        g (float[N,4] x) => (float[N,3] y)
        <float[4,5] w1 = {0.9,-0.4,0.3,0.2,-0.6, 0.5,0.8,-0.7,0.1,0.4,
                          -0.3,0.6,0.2,-0.9,0.7, 0.1,-0.5,0.8,0.6,-0.2},
         float[5,3] w2 = {0.4,-0.8,0.6, 0.7,0.3,-0.2, -0.5,0.9,0.1, 0.2,-0.6,0.8, 0.3,0.5,-0.7}>
        {
            [first] h = MatMul(x, w1)
            [act] r = Relu(h)
            [second] y = MatMul(r, w2)
        }
        """
    )


@pytest.fixture
def qdq_model(parse):
    """The float model with activations quantized by hand; the output keeps its name."""
    return parse(
        """
        g (float[N,4] x) => (float[N,3] y)
        <float[4,5] w1 = {0.9,-0.4,0.3,0.2,-0.6, 0.5,0.8,-0.7,0.1,0.4,
                          -0.3,0.6,0.2,-0.9,0.7, 0.1,-0.5,0.8,0.6,-0.2},
         float[5,3] w2 = {0.4,-0.8,0.6, 0.7,0.3,-0.2, -0.5,0.9,0.1, 0.2,-0.6,0.8, 0.3,0.5,-0.7},
         float sx = {0.03125}, uint8 zx = {128}, float sr = {0.0625}, uint8 zr = {0},
         float sy = {0.0625}, uint8 zy = {128}>
        {
            [qx] x_q = QuantizeLinear(x, sx, zx)
            [dx] x_dq = DequantizeLinear(x_q, sx, zx)
            [first] h = MatMul(x_dq, w1)
            [act] r = Relu(h)
            [qr] r_q = QuantizeLinear(r, sr, zr)
            [dr] r_dq = DequantizeLinear(r_q, sr, zr)
            [second] y_raw = MatMul(r_dq, w2)
            [qy] y_q = QuantizeLinear(y_raw, sy, zy)
            [dy] y = DequantizeLinear(y_q, sy, zy)
        }
        """
    )
