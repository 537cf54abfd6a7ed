"""Models and datasets: upload, look up, list, download."""

from __future__ import annotations

import datetime
import re
import zipfile
from pathlib import Path
from urllib.parse import urljoin

import h5py
import numpy as np
import onnx
import qai_hub as hub
from client_side import ASSETS, URL, WORK, main, spec

TYPES = hub.SourceModelType


def _recent(moment: datetime.datetime) -> bool:
    # The client shows the server's time in this machine's time zone, without a fraction.
    return abs(datetime.datetime.now() - moment) < datetime.timedelta(minutes=10)


def check_model_file() -> None:
    uploaded = hub.upload_model(str(ASSETS / "net.onnx"), name="a net")
    read = hub.get_model(uploaded.model_id)
    for model in (uploaded, read):
        assert re.fullmatch("m[a-z0-9]+", model.model_id)
        assert model.name == "a net"
        assert model.model_type is TYPES.ONNX
        assert _recent(model.date)
        assert model.url == urljoin(URL, f"models/{model.model_id}/")
        assert model.get_producer() is None
        assert model.producer is None
        assert model.wait() is True
        assert model.model_id in str(model)
    assert spec(read) == {"image": ["float32", [1, 3, 16, 16], None, None]}
    assert spec(read, "output_spec") == {"logits": ["float32", [1, 5], None, None]}
    assert isinstance(read.metadata, dict)
    assert "image: (1, 3, 16, 16) float32" in repr(read)


def check_model_download() -> None:
    sent = (ASSETS / "net.v2.final.onnx").read_bytes()
    model = hub.get_model(hub.upload_model(ASSETS / "net.v2.final.onnx").model_id)
    assert model.name == "net.v2.final.onnx"
    # A file name without an extension gets one, one that has it is kept as it is.
    plain = Path(model.download(str(WORK / "plain")))
    exact = Path(model.download(str(WORK / "exact.onnx")))
    assert (plain.name, exact.name) == ("plain.onnx", "exact.onnx")
    folder = WORK / "into"
    folder.mkdir()
    first, second = Path(model.download(str(folder))), Path(model.download(str(folder)))
    assert first != second
    assert {first.parent, second.parent} == {folder}
    assert {first.suffix, second.suffix} == {".onnx"}
    assert all(file.read_bytes() == sent for file in (plain, exact, first, second))


def check_model_in_memory() -> None:
    proto = onnx.load(ASSETS / "two_inputs.onnx")
    model = hub.get_model(hub.upload_model(proto).model_id)
    assert (model.name, model.model_type) == ("ONNX", TYPES.ONNX)
    assert list(spec(model)) == ["left", "right"]
    assert list(spec(model, "output_spec")) == ["sum", "difference"]
    assert onnx.load(model.download(str(WORK / "memory.onnx"))) == proto


def check_model_of_many_parts() -> None:
    sent = ASSETS / "heavy.onnx"
    model = hub.upload_model(str(sent))
    assert Path(model.download(str(WORK / "heavy.onnx"))).read_bytes() == sent.read_bytes()


def check_directory_and_zip() -> None:
    files = {file.name: file.read_bytes() for file in (ASSETS / "external.onnx").iterdir()}
    for source in ("external.onnx", "external.zip"):
        model = hub.get_model(hub.upload_model(str(ASSETS / source)).model_id)
        assert (model.name, model.model_type) == (source, TYPES.ONNX)
        assert spec(model) == {"image": ["float32", [1, 3, 16, 16], None, None]}
        got = Path(model.download(str(WORK / source.replace(".", "_"))))
        assert got.suffix == ".zip", got
        with zipfile.ZipFile(got) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            assert len({name.split("/")[0] for name in names}) == 1
            assert {name.split("/")[1]: archive.read(name) for name in names} == files


def check_other_types() -> None:
    for file, kind in {
        "traced.pt": TYPES.TORCHSCRIPT,
        "exported.pt2": TYPES.TORCH_EXPORTED_PROGRAM,
        "net.aimet": TYPES.AIMET_ONNX,
    }.items():
        model = hub.get_model(hub.upload_model(str(ASSETS / file)).model_id)
        assert (model.name, model.model_type) == (file, kind)
        assert isinstance(model.input_spec, dict)
    got = hub.upload_model(str(ASSETS / "traced.pt")).download(str(WORK / "traced"))
    assert got.endswith("traced.pt")
    assert Path(got).read_bytes() == (ASSETS / "traced.pt").read_bytes()


def check_model_lists() -> None:
    made = [hub.upload_model(str(ASSETS / "net.onnx"), name=f"list {i}") for i in range(3)]
    newest = [model.model_id for model in reversed(made)]
    listed = hub.get_models(limit=3)
    assert [model.model_id for model in listed] == newest
    assert [model.name for model in listed] == ["list 2", "list 1", "list 0"]
    assert [model.model_id for model in hub.get_models(offset=1, limit=2)] == newest[1:]
    assert hub.get_models(limit=0) == []
    assert hub.get_models(offset=100_000) == []


def _entries() -> dict[str, list[np.ndarray]]:
    # More than ten inputs: their groups' names do not sort as their numbers do.
    rng = np.random.default_rng(5)
    kinds = ["float32", "float16", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16"]
    kinds += ["float32", "int32", "uint8"]
    return {
        f"z{len(kinds) - index:02}": [
            rng.integers(0, 2, (1, 2 + sample)).astype(kind) for sample in range(3)
        ]
        for index, kind in enumerate(kinds)
    }


def _same(left: dict[str, list[np.ndarray]], right: dict[str, list[np.ndarray]]) -> None:
    assert list(left) == list(right)
    for name, arrays in left.items():
        assert len(arrays) == len(right[name])
        for a, b in zip(arrays, right[name], strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_array_equal(a, b)


def check_dataset_in_memory() -> None:
    sent = _entries()
    uploaded = hub.upload_dataset(sent, name="many inputs")
    # What was just uploaded is kept in memory, so only another object asks the server.
    read = hub.get_dataset(uploaded.dataset_id)
    for dataset in (uploaded, read):
        assert re.fullmatch("d[a-z0-9]+", dataset.dataset_id)
        assert dataset.name == "many inputs"
        assert _recent(dataset.creation_time)
        assert not dataset.is_expired()
        assert dataset.get_expiration_status() == "Not Expired"
        assert dataset.dataset_id in str(dataset)
        assert "many inputs" in repr(dataset)
        _same(dataset.download(), sent)
    assert uploaded.expiration_time is not None
    assert hub.upload_dataset({"x": [np.zeros((1,), "float32")]}).name == "h5-dataset"


def check_dataset_file() -> None:
    file = WORK / "samples.h5"
    sent = {"x": [np.arange(4, dtype="float32").reshape(1, 4) + i for i in range(2)]}
    hub.upload_dataset(sent).download(str(file))
    dataset = hub.get_dataset(hub.upload_dataset(str(file)).dataset_id)
    assert dataset.name == "samples.h5"
    got = Path(dataset.download(str(WORK / "again")))
    assert got.name == "again.h5"
    assert got.read_bytes() == file.read_bytes()
    with h5py.File(got) as read:
        np.testing.assert_array_equal(read["data/0/batch_1"], sent["x"][1])
    folder = WORK / "datasets"
    folder.mkdir()
    assert Path(dataset.download(str(folder))).parent == folder


def check_dataset_lists() -> None:
    made = [hub.upload_dataset({"x": [np.ones((1, i + 1), "int32")]}, f"n{i}") for i in range(3)]
    listed = hub.get_datasets(limit=2)
    assert [dataset.name for dataset in listed] == ["n2", "n1"]
    assert [dataset.dataset_id for dataset in hub.get_datasets(offset=2, limit=1)] == [
        made[0].dataset_id
    ]
    assert hub.get_datasets(limit=0) == []


if __name__ == "__main__":
    main(
        check_model_file,
        check_model_download,
        check_model_in_memory,
        check_model_of_many_parts,
        check_directory_and_zip,
        check_other_types,
        check_model_lists,
        check_dataset_in_memory,
        check_dataset_file,
        check_dataset_lists,
    )
