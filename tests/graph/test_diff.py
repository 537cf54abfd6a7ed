import numpy as np

from qdq.graph.diff import collect_encodings, same_encodings

TEXT = """g (float[2] x, float ds) => (float[2] y, float[2] z) {
  q = QuantizeLinear(x, s, p) y = DequantizeLinear(q, s, p)
  k = Constant<value_float=0.5>() r = QuantizeLinear(x, k) z = DequantizeLinear(r, ds) }"""


def model(build, scale=0.1, zero=3, dtype=np.uint8):
    return build(TEXT, s=np.array(scale, np.float32), p=np.array(zero, dtype))


def test_encodings_by_tensor(build):
    found = collect_encodings(model(build))
    assert sorted(found) == ["x", "y", "z"]
    first, second = found["x"]
    assert first.scale == np.float32(0.1).tobytes()
    assert first.zero_point == b"\x03"
    assert first.dtype == "UINT8"
    assert second.scale == np.float32(0.5).tobytes()
    assert second.zero_point == b""
    assert not found["z"][0].is_constant


def test_a_difference_in_any_part_is_seen(build):
    base = model(build)
    assert same_encodings(base, model(build))
    assert not same_encodings(base, model(build, scale=np.nextafter(np.float32(0.1), 1)))
    assert not same_encodings(base, model(build, zero=4))
    assert not same_encodings(base, model(build, dtype=np.int8))
