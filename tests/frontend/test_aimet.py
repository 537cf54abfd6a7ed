"""AIMET folders: what the encodings files of each version say, and hostile ones."""

from __future__ import annotations

import json
import os

import onnx
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdq.base.errors import (
    ModelCorruptError,
    ModelInvalidError,
    QdqError,
    UnsupportedError,
)
from qdq.frontend import (
    AimetEncoding,
    InputSpec,
    ModelFormat,
    detect_format,
    import_aimet,
    import_model,
)
from qdq.frontend.aimet_encodings import MAX_BYTES, parse_encodings, read_encodings

MODEL = onnx.parser.parse_model(
    '<ir_version: 8, opset_import: ["" : 17]> g (float[1,3] x) => (float[1,3] y) { y = Relu(x) }'
).SerializeToString()
LEGACY = {"bitwidth": 8, "dtype": "int", "is_symmetric": "False", "max": 1.0, "min": -1.0}
LEGACY |= {"offset": -128, "scale": 0.5}
VERSIONED = {"bw": 8, "dtype": "INT", "enc_type": "PER_TENSOR", "is_sym": False}
VERSIONED |= {"name": "x", "offset": [-128], "scale": [0.5]}
ONNX_LIKE = {"name": "x", "output_dtype": "uint8", "y_scale": 0.5, "y_zero_point": 128}


def legacy(activations=None, params=None, version="0.6.1"):
    return {
        "version": version,
        "activation_encodings": activations or {},
        "param_encodings": params or {},
    }


def versioned(*entries, params=()):
    return {
        "version": "1.0.0",
        "activation_encodings": list(entries),
        "param_encodings": list(params),
        "excluded_layers": [],
        "quantizer_args": {"activation_bitwidth": 8},
    }


def onnx_like(*entries, version="2.0.0"):
    return {"version": version, "encodings": list(entries)}


def parsed(document):
    return parse_encodings(json.dumps(document).encode())


EXPECTED = AimetEncoding("x", (0.5,), (128,), 8, signed=False, symmetric=False)


@pytest.mark.parametrize(
    ("document", "symmetric"),
    [
        (legacy({"x": [LEGACY]}), False),
        (legacy({"x": [LEGACY | {"is_symmetric": "True"}]}), True),
        (versioned(VERSIONED), False),
        (versioned(params=[VERSIONED | {"is_sym": True}]), True),
        (onnx_like(ONNX_LIKE), True),
        (onnx_like(ONNX_LIKE, version="2.1.0"), True),
        # Strictly symmetric: from -127, which is the same grid around zero.
        (legacy({"x": [LEGACY | {"is_symmetric": "True", "offset": -127}]}), True),
    ],
)
def test_a_tensor_reads_the_same_in_each_version(document, symmetric):
    (found,) = parsed(document).tensors
    assert (found.scale, found.zero_point, found.bits) == ((0.5,), (128,), 8)
    assert not found.signed
    assert found.symmetric is symmetric
    assert found.shifted(signed=True).zero_point == (0,)
    assert found.shifted(signed=True).shifted(signed=False) == found


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_channels_read_the_same_in_each_version(bits):
    half = 1 << (bits - 1)
    entry = {"bitwidth": bits, "is_symmetric": "True", "offset": -half}
    channels = [LEGACY | entry | {"scale": scale} for scale in (0.5, 0.25)]
    entry = {"bw": bits, "is_sym": True, "enc_type": "PER_CHANNEL", "offset": [-half] * 2}
    listed = VERSIONED | entry | {"scale": [0.5, 0.25]}
    fields = {"name": "x", "output_dtype": f"int{bits}", "y_scale": [0.5, 0.25], "axis": 1}
    for document, axis in (
        (legacy(params={"x": channels}), None),
        (versioned(params=[listed]), None),
        (onnx_like(fields), 1),
        (onnx_like(fields | {"y_zero_point": [0, 0]}), 1),
    ):
        (found,) = parsed(document).tensors
        signed = found.shifted(signed=True)
        assert (signed.scale, signed.zero_point) == ((0.5, 0.25), (0, 0))
        assert (signed.bits, signed.axis, signed.symmetric) == (bits, axis, True)


@pytest.mark.parametrize(
    "document",
    [
        legacy({"x": [{"bitwidth": 16, "dtype": "float"}]}),
        versioned({"name": "x", "dtype": "FLOAT", "bw": 16, "enc_type": "PER_TENSOR"}),
        onnx_like({"name": "x", "output_dtype": "float16"}),
    ],
)
def test_float_tensors_are_told_apart(document):
    found = parsed(document)
    assert found.tensors == ()
    assert found.floats == ("x",)


def test_a_file_without_a_version_is_an_old_one():
    assert parsed({"activation_encodings": {"x": [LEGACY]}}).tensors == (EXPECTED,)


@pytest.mark.parametrize(
    ("document", "error", "part"),
    [
        ([], ModelInvalidError, "no JSON object"),
        ({}, ModelInvalidError, "no encodings"),
        ({"version": 1, "encodings": []}, ModelInvalidError, "no text"),
        (legacy(version="3.0.0"), UnsupportedError, "'3.0.0'"),
        ({"version": "1.0.0", "param_encodings": 3}, ModelInvalidError, "neither a list"),
        ({"version": "1.0.0", "param_encodings": [3]}, ModelInvalidError, "no name"),
        ({"version": "1.0.0", "param_encodings": [{"name": 3}]}, ModelInvalidError, "no name"),
        (onnx_like({"name": "x" * 5000}), ModelInvalidError, "endless"),
        (legacy({"x": LEGACY}), ModelInvalidError, "not a list of objects"),
        (legacy({"x": []}), ModelInvalidError, "not a list of objects"),
        (legacy({"x": [LEGACY, LEGACY | {"bitwidth": 4}]}), ModelInvalidError, "differ"),
        (legacy({"x": [LEGACY | {"dtype": ["int"]}]}), ModelInvalidError, "dtype"),
        (legacy({"x": [LEGACY | {"bitwidth": True}]}), ModelInvalidError, "bit width"),
        (legacy({"x": [LEGACY | {"bitwidth": 7}]}), UnsupportedError, "7 bits"),
        (legacy({"x": [LEGACY | {"bitwidth": 10**300}]}), UnsupportedError, "such bits"),
        (legacy({"x": [LEGACY | {"scale": 0}]}), ModelInvalidError, "scale"),
        (legacy({"x": [LEGACY | {"scale": -1.0}]}), ModelInvalidError, "scale"),
        (legacy({"x": [LEGACY | {"scale": 1e300}]}), ModelInvalidError, "scale"),
        (legacy({"x": [LEGACY | {"scale": 10**400}]}), ModelInvalidError, "scale"),
        (legacy({"x": [LEGACY | {"scale": "1"}]}), ModelInvalidError, "scale"),
        (legacy({"x": [LEGACY | {"scale": None}]}), ModelInvalidError, "scale"),
        (legacy({"x": [LEGACY | {"offset": 5}]}), ModelInvalidError, "does not fit 8 bits"),
        (legacy({"x": [LEGACY | {"offset": -256}]}), ModelInvalidError, "does not fit 8 bits"),
        (legacy({"x": [LEGACY | {"offset": -1.5}]}), ModelInvalidError, "no integer"),
        (legacy({"x": [LEGACY | {"offset": True}]}), ModelInvalidError, "no integer"),
        (legacy({"x": [LEGACY]}, {"x": [LEGACY]}), ModelInvalidError, "2 encodings"),
        (versioned(VERSIONED, VERSIONED), ModelInvalidError, "2 encodings"),
        (versioned(VERSIONED | {"scale": 0.5}), ModelInvalidError, "no list"),
        (versioned(VERSIONED | {"scale": []}), ModelInvalidError, "one zero point for each"),
        (
            versioned(VERSIONED | {"scale": [1.0, 2.0]}),
            ModelInvalidError,
            "one zero point for each",
        ),
        (versioned(VERSIONED | {"enc_type": "LPBQ"}), UnsupportedError, "LPBQ"),
        (versioned(VERSIONED | {"enc_type": {}}), ModelInvalidError, "enc_type"),
        (versioned(VERSIONED | {"zero_point_shift": [0.5]}), UnsupportedError, "Fractional"),
        (onnx_like(ONNX_LIKE | {"block_size": 32}), UnsupportedError, "blocks"),
        (onnx_like(ONNX_LIKE | {"y_scale": {"x": [1]}}), UnsupportedError, "blocks"),
        (onnx_like(ONNX_LIKE | {"output_dtype": "float8e5m2"}), UnsupportedError, "float8e5m2"),
        (onnx_like(ONNX_LIKE | {"output_dtype": "int2"}), UnsupportedError, "2 bits"),
        (onnx_like(ONNX_LIKE | {"output_dtype": 8}), ModelInvalidError, "no integer type"),
        (onnx_like(ONNX_LIKE | {"y_scale": [1.0, 2.0]}), ModelInvalidError, "no axis"),
        (onnx_like(ONNX_LIKE | {"y_scale": [[1.0]]}), ModelInvalidError, "scale"),
        (
            onnx_like(ONNX_LIKE | {"y_scale": [1.0, 2.0], "axis": 10**30}),
            ModelInvalidError,
            "axis",
        ),
    ],
)
def test_what_cannot_be_understood_is_refused(document, error, part):
    with pytest.raises(error, match=part) as caught:
        parsed(document)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "valid JSON"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"version": NaN}', "NaN is no number"),
        (b'{"version": -Infinity}', "no number"),
        (b'{"version": "0.6.1", "version": "0.6.1"}', "same key twice"),
        (b"[" * 200_000 + b"]" * 200_000, "too deeply"),
        (b'{"a":' * 200_000, "too deeply"),
        (b'{"a": ' + b"9" * 100_000 + b"}", "valid JSON"),
    ],
)
def test_hostile_text(data, part):
    with pytest.raises(ModelInvalidError, match=part):
        parse_encodings(data)


def test_an_overflowing_number_is_no_scale():
    text = json.dumps(legacy({"x": [LEGACY]})).replace("0.5", "1e999")
    with pytest.raises(ModelInvalidError, match="scale"):
        parse_encodings(text.encode())


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "m.encodings"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ModelInvalidError, match="larger than 128 MiB"):
        read_encodings(path)


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "m.encodings")
    with pytest.raises(ModelCorruptError, match="not a regular file"):
        read_encodings(tmp_path / "m.encodings")


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
FIELDS = (
    *("name", "scale", "offset", "bw", "bitwidth", "dtype", "is_sym", "enc_type", "output_dtype"),
    *("y_scale", "y_zero_point", "axis", "is_symmetric", "zero_point_shift"),
)
entries = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, values))


@settings(max_examples=300, deadline=None)
@given(
    version=st.sampled_from(["0.6.1", "1.0.0", "2.0.0"]),
    base=st.sampled_from([LEGACY, VERSIONED, ONNX_LIKE]),
    changes=entries,
    as_list=st.booleans(),
)
def test_random_entries_are_read_or_refused(version, base, changes, as_list):
    entry = base | changes
    group = {"x": [entry]} if not as_list else [entry]
    document = {"version": version, "param_encodings": group}
    try:
        found = parse_encodings(json.dumps(document).encode())
    except QdqError:
        return
    for it in found.tensors:
        assert len(it.scale) == len(it.zero_point) > 0
        assert all(scale > 0 for scale in it.scale)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode()))
def test_random_bytes_are_refused(data):
    with pytest.raises(QdqError):
        parse_encodings(data)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "m.onnx").write_bytes(MODEL)
    (tmp_path / "m.encodings").write_text(json.dumps(legacy({"x": [LEGACY]})))
    return tmp_path


def test_a_folder_is_recognised_and_read(folder):
    assert detect_format(folder) is ModelFormat.AIMET
    found = import_aimet(folder)
    assert [value.name for value in found.graph.graph.inputs] == ["x"]
    assert found.encodings.tensors == (EXPECTED,)
    with pytest.raises(UnsupportedError, match="qdq compile"):
        import_model(folder)


def test_encodings_follow_an_input_that_a_spec_renames(folder):
    found = import_aimet(folder, input_specs=[InputSpec("picture", (1, 3))])
    assert [value.name for value in found.graph.graph.inputs] == ["picture"]
    assert [it.name for it in found.encodings.tensors] == ["picture"]


def test_two_encodings_files_are_refused(folder):
    (folder / "n.encodings").write_text("{}")
    with pytest.raises(ModelInvalidError, match=r"m\.encodings, n\.encodings"):
        import_aimet(folder)


def test_two_models_are_refused(folder):
    (folder / "n.onnx").write_bytes(MODEL)
    with pytest.raises(ModelInvalidError, match="exactly one ONNX"):
        detect_format(folder)
