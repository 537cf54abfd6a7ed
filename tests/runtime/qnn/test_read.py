"""Reading context binaries back: what is told of sound ones, and errors for the others."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

import qdq
from qdq.base.qnn_files import QnnKind, looks_like_context_binary, qnn_kind
from qdq.frontend import ModelFormat, detect_format
from qdq.runtime.qnn import read_child
from qdq.runtime.qnn.context import read_context
from qdq.runtime.qnn.wrapper import make_wrapper


def test_a_sound_binary(binary: Path) -> None:
    context = read_context(binary)
    assert (context.soc_model, context.chipset, context.arch) == (57, "SM8650", "v75")
    assert context.backend == "HTP" and context.qairt_version == "2.51.0"
    assert 0 < context.blob_bytes < context.size == binary.stat().st_size
    (graph,) = context.graphs
    assert graph.name == "tiny"
    (image,) = graph.inputs
    assert (image.name, image.dtype, image.shape, image.zero_point) == (
        "image",
        "uint8",
        (1, 3, 8, 8),
        128,
    )
    with pytest.raises(qdq.SpecError, match="one of its graphs: 'tiny'"):
        context.graph("other")


def _cut(share: float) -> Callable[[bytes], bytes]:
    return lambda data: data[: int(len(data) * share)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:16],
        lambda data: data[:300],
        _cut(0.5),
        lambda data: data[:-4096],
        lambda data: bytes(256) + data[256:],
        lambda data: data[:64] + b"\xff" * 256 + data[320:],
        lambda data: data[:16] + bytes(len(data) - 16),
    ],
)
def test_damaged_files(binary: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "damaged.bin"
    path.write_bytes(damage(binary.read_bytes()))
    with pytest.raises((qdq.ModelCorruptError, qdq.ModelInvalidError, qdq.UnsupportedError)):
        read_context(path)


def test_random_damage_to_the_header_gives_a_clear_error_or_sound_fields(
    binary: Path, tmp_path: Path
) -> None:
    chance = random.Random(7)
    data = bytearray(binary.read_bytes())
    for _ in range(6):
        damaged = bytearray(data)
        for _ in range(8):
            damaged[chance.randrange(16, 2000)] = chance.randrange(256)
        path = tmp_path / "damaged.bin"
        path.write_bytes(damaged)
        try:
            context = read_context(path)
        except (qdq.ModelCorruptError, qdq.ModelInvalidError, qdq.UnsupportedError):
            continue
        assert context.graphs and context.size == len(damaged)


@pytest.mark.parametrize("data", [b"", b"hello", b"\0" * 64, b"\0\0\0\2\0\0\0\3" + b"\7" * 4096])
def test_foreign_files(binary: Path, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "foreign.bin"
    path.write_bytes(data)
    with pytest.raises(qdq.ModelCorruptError):
        read_context(path)


def test_counts_are_bounded() -> None:
    with pytest.raises(qdq.ModelInvalidError, match="claims 2000 graphs, and the limit is 1024"):
        read_child._bounded(2000, 1024, "graphs")
    assert read_child._text(b"a\x1b[0m\xff") == "a?[0m\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (bytes([0, 0, 0, 2, 0, 0, 0, 3]) + bytes(8), True),
        (bytes(16), False),
        (b"\x08\x07\x12\x00" + bytes(12), False),
        (bytes([0, 0, 0, 0x18]) + b"ftypmp42" + bytes(4), False),
        (bytes([0, 0, 0, 2, 0, 0, 0, 3]), False),
    ],
)
def test_the_first_bytes(head: bytes, expected: bool) -> None:
    assert looks_like_context_binary(head) is expected


def test_formats_are_told_by_content(binary: Path, dlcs: Path, tmp_path: Path) -> None:
    plain = tmp_path / "no_suffix"
    plain.write_bytes(binary.read_bytes())
    assert qnn_kind(plain) is QnnKind.CONTEXT_BINARY
    assert detect_format(plain) is ModelFormat.QNN_CONTEXT_BINARY
    assert detect_format(dlcs / "one.dlc") is ModelFormat.QNN_DLC
    folder = tmp_path / "model.onnx"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(make_wrapper(read_context(binary)))
    (folder / "model_qnn.bin").write_bytes(binary.read_bytes())
    assert detect_format(folder) is ModelFormat.QNN_PRECOMPILED
    assert detect_format(folder / "model.onnx") is ModelFormat.QNN_PRECOMPILED
    assert qnn_kind(dlcs / "one.source.onnx") is None


@pytest.mark.parametrize("name", ["../model_qnn.bin", "/etc/passwd", "sub/x.bin", "", "gone.bin"])
def test_a_wrapper_names_a_file_beside_it_only(binary: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "w.onnx"
    path.write_bytes(make_wrapper(read_context(binary), binary=name or "x"))
    if not name:
        model = onnx.load(path)
        for attribute in model.graph.node[0].attribute:
            if attribute.name == "ep_cache_context":
                attribute.s = b""
        onnx.save(model, path)
    with pytest.raises(qdq.ModelInvalidError):
        qdq.inspect(path)


def test_a_wrapper_of_more_than_one_node(binary: Path, tmp_path: Path) -> None:
    model = onnx.load_from_string(make_wrapper(read_context(binary)))
    model.graph.node.append(onnx.helper.make_node("Identity", ["scores"], ["y"]))
    onnx.save(model, tmp_path / "w.onnx")
    with pytest.raises(qdq.UnsupportedError, match="2 nodes"):
        qdq.inspect(tmp_path / "w.onnx")
